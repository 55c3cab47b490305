"""Signatures as Standard Webhooks defines them (`v1`, HMAC-SHA256), so any of its libraries verifies ours."""

import base64
import hashlib
import hmac

from outlast.errors import ConfigError

_PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The key a secret stands for: `whsec_` is followed by base64, any other string is used as its UTF-8 bytes."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ConfigError("OUTLAST_WEBHOOK_SECRET begins with whsec_, but what follows is not base64.")
    return key


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature` for a body sent under that id at that time."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
