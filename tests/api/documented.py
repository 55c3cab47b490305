"""Holds an answer against the written contract: its operation, status, headers and body have to stand there."""

import re

import httpx
from jsonschema import Draft202012Validator

from outlast.api.contract import Operation, Response, contract, document

UNSAID = frozenset(
    {"content-length", "content-type", "connection", "date", "server", "transfer-encoding", "allow"}
)
"""Headers that HTTP itself is responsible for."""


def check(answer: httpx.Response, *, with_body: bool = True) -> None:
    """Fail if the contract does not know this answer. Paths that it does not have are let pass if they are 404."""
    found = operation(answer.request.method, answer.request.url.path)
    if found is None:
        assert answer.status_code in (204, 401, 404, 405, 421), (
            f"{answer.request.url.path} is not in the contract"
        )
        return
    written = _response(found, answer.status_code)
    _check_headers(written, answer)
    if with_body and answer.request.method != "HEAD":
        _check_body(written, answer)


def operation(method: str, path: str) -> Operation | None:
    """The operation that the contract has for a request."""
    for template, item in contract().paths.items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template.replace("{session_id}", ".+").replace("{step}", ".+"))
        if re.fullmatch(pattern, path.rstrip("/") or "/"):
            return item.operations.get("GET" if method == "HEAD" else method)
    return None


def _response(found: Operation, status: int) -> Response:
    written = found.responses.get(str(status))
    if written is None and status >= 500:
        written = found.responses.get("default")
    assert written is not None, f"{found.operation_id} is not said to answer {status}"
    return contract().response(written)


def _check_headers(written: Response, answer: httpx.Response) -> None:
    sent = {name.lower() for name in answer.headers} - UNSAID
    said = {name.lower() for name in written.headers}
    assert sent <= said, f"{sent - said} is not in the contract"
    if answer.status_code != 204:
        media = answer.headers["content-type"].partition(";")[0]
        assert media in written.content, f"{media} is not in the contract"


def _check_body(written: Response, answer: httpx.Response) -> None:
    media = answer.headers.get("content-type", "").partition(";")[0]
    content = written.content.get(media)
    if not media.endswith("json") or content is None or content.schema is None:
        return
    schema = {**_schema(written, media), "components": document()["components"]}
    Draft202012Validator(schema).validate(answer.json())


def _schema(written: Response, media: str) -> dict[str, object]:
    content = written.content[media].schema
    assert content is not None
    return {"$ref": content.ref} if content.ref else {}
