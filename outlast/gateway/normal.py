"""What a text says beside the moment and the place it was written at: times, dates, ids and temporary paths go.

Only where the operator says that they mean nothing (`OUTLAST_JOURNAL=normalised`): two dates may be two questions.
"""

import hashlib
import re

from outlast.runs import Json

# Not `\b`: what stands before may be the `n` of an escaped line break.
_START = r"(?:(?<![0-9a-z])|(?<=\\[nrt]))"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"(?:(?:mon|tues?|wednes|wed|thurs?|fri|satur|sat|sun)(?:day)?,?\s+)?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[ap]\.?m\b\.?)?"
_ZONE = r"(?:\s?(?:z\b|utc|gmt|[+-]\d{2}:?\d{2}))?"
_CHANGING = re.compile(
    "|".join(
        (
            rf"(?P<uuid>{_START}[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}\b)",
            r"(?P<temp>(?:/private)?/(?:var/tmp|tmp|var/folders)/[^\s\"'\\<>)]+)",
            rf"(?P<iso>{_START}\d{{4}}-\d{{2}}-\d{{2}}(?:[t ]{_CLOCK}{_ZONE})?)",
            rf"(?P<dmy>{_START}{_DAY}\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH},?\s+\d{{4}}\b)",
            rf"(?P<mdy>{_START}{_DAY}{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b)",
            rf"(?P<slashed>{_START}\d{{1,4}}/\d{{1,2}}/\d{{2,4}}\b)",
            rf"(?P<clock>{_START}{_CLOCK}{_ZONE})",
        )
    ),
    re.IGNORECASE,
)


def normalised(request: Json) -> str:
    """A canonical request without what changes from one attempt to the next by itself."""
    return _CHANGING.sub(lambda found: f"<{found.lastgroup}>", request.decode())


def normal_hash(request: Json) -> bytes:
    """Two requests have the same one if they differ in nothing else."""
    return hashlib.sha256(normalised(request).encode()).digest()
