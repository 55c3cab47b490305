"""What other processes have to hear of a commit."""

from collections.abc import Iterable

from outlast.runs import TAKEN, RunState
from outlast.store.protocol import Rung
from outlast.transitions import Transition


def rungs_of(transitions: Iterable[Transition]) -> list[Rung]:
    """What others have to hear of these commits: one rung for each run."""
    found: dict[str, Rung] = {}
    for transition in transitions:
        run, attempt = transition.run, transition.attempt
        before = found.get(run.id, _NONE)
        is_taken = attempt is not None and attempt.end in TAKEN
        found[run.id] = Rung(
            run.id,
            run.state is RunState.QUEUED and run.ready,
            before.has_notice or transition.notice is not None,
            attempt.id if attempt is not None and is_taken else before.taken_from,
        )
    return list(found.values())


_NONE = Rung("")
