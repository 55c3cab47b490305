"""Signatures, beside the reference implementation of Standard Webhooks."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from outlast.errors import ConfigError
from outlast.webhooks.sign import key_of, signature

BODY = '{"result":"ü\\n\\"quoted\\""}'
AT = 1_800_000_000


@pytest.mark.parametrize(
    ("secret", "reference"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
        ("whsec_AAECAw", Webhook(bytes([0, 1, 2, 3]))),
        ("any string, ü", Webhook("any string, ü".encode())),
    ],
)
def test_a_signature_is_the_one_of_standard_webhooks(secret: str, reference: Webhook) -> None:
    ours = signature(key_of(secret), "msg_run_1", AT, BODY.encode())

    assert ours == reference.sign("msg_run_1", datetime.fromtimestamp(AT, UTC), BODY)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whsec_ü"])
def test_a_secret_that_is_no_base64_after_its_prefix_is_refused_at_start(secret: str) -> None:
    with pytest.raises(ConfigError, match="OUTLAST_WEBHOOK_SECRET begins with whsec_"):
        key_of(secret)
