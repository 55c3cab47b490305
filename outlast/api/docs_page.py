"""`/docs`: the written contract as one page of HTML. No script, no font, no address outside of this server."""

import re
from collections.abc import Sequence
from functools import cache
from html import escape

from outlast import errors
from outlast.api.contract import Contract, Operation, Parameter, Response, Schema, contract
from outlast.api.problems import STATUS

_CODE = re.compile(r"`([^`]+)`")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h2 { margin-top: 3rem; border-top: 1px solid #d0d7de; padding-top: 1rem } h3 { margin-bottom: .3rem }
code { font: .9em ui-monospace, monospace; background: #eff1f3; padding: .1em .3em; border-radius: .2em }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #d0d7de; padding: .3rem .6rem .3rem 0;
vertical-align: top } td:first-child { white-space: nowrap } a { color: #0550ae }
@media (prefers-color-scheme: dark) { body { color: #d8dee4; background: #14171b } code { background: #272c33 }
h2, td { border-color: #3b424b } a { color: #79b8ff } }
"""


@cache
def html() -> bytes:
    """The page."""
    written = contract()
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(written.info.title)} API</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style><h1>{escape(written.info.title)} API</h1>",
        f"<p>{_prose(written.info.summary)}</p>{_paragraphs(written.info.description)}",
        '<p>As a document for programs: <a href="openapi.json">openapi.json</a>.</p>',
        _contents(written),
        *[
            _operation(written, method, path, operation, item.parameters)
            for path, item in written.paths.items()
            for method, operation in item.operations.items()
        ],
        "<h2 id=schemas>Schemas</h2>",
        *[_schema(name, schema) for name, schema in written.components.schemas.items()],
        "<h2 id=codes>Error codes</h2>",
        _table([(f"<code>{code}</code>", str(STATUS[code]), _prose(says)) for code, says in _codes()]),
    ]
    return "\n".join(parts).encode()


def _contents(written: Contract) -> str:
    return _table(
        [
            (f'<a href="#{operation.operation_id}">{method} {escape(path)}</a>', _prose(operation.summary))
            for path, item in written.paths.items()
            for method, operation in item.operations.items()
        ]
    )


def _operation(
    written: Contract, method: str, path: str, operation: Operation, shared: tuple[Parameter, ...]
) -> str:
    parameters = [written.parameter(parameter) for parameter in (*shared, *operation.parameters)]
    return "".join(
        (
            f"<h2 id={operation.operation_id}>{_prose(operation.summary)}</h2>",
            f"<p><code>{method} {escape(path)}</code></p>{_paragraphs(operation.description)}",
            _section("Parameters", [_parameter(parameter) for parameter in parameters]),
            "" if operation.request_body is None else f"<p>Body: {_kind_of_body(operation)}</p>",
            _section(
                "Answers", [_response(written, status, at) for status, at in operation.responses.items()]
            ),
        )
    )


def _parameter(parameter: Parameter) -> tuple[str, ...]:
    where = f"{parameter.place}, {_kind(parameter.schema)}"
    return f"<code>{escape(parameter.name)}</code>", where, _prose(parameter.description)


def _kind_of_body(operation: Operation) -> str:
    assert operation.request_body is not None
    return ", ".join(
        f"{escape(media)}, {_kind(content.schema or Schema())}"
        for media, content in operation.request_body.content.items()
    )


def _response(written: Contract, status: str, at: Response) -> tuple[str, ...]:
    response = written.response(at)
    headers = "".join(
        f"<br><code>{escape(name)}</code>: {_prose(written.header(header).description)}"
        for name, header in response.headers.items()
    )
    bodies = ", ".join(
        f"{escape(media)} {_kind(content.schema or Schema())}" for media, content in response.content.items()
    )
    return f"<code>{status}</code>", bodies, _prose(response.description) + headers


def _schema(name: str, schema: Schema) -> str:
    rows = [
        (
            f"<code>{escape(field)}</code>",
            _kind(value) + (", required" if field in schema.required else ""),
            _prose(value.description),
        )
        for field, value in schema.properties.items()
    ]
    plain = "" if rows else f"<p>{_kind(schema)}</p>"
    return f'<h3 id="{name}">{name}</h3>{_paragraphs(schema.description)}{plain}{_table(rows)}'


def _kind(schema: Schema) -> str:
    if schema.ref is not None:
        name = schema.ref.rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if schema.enum:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema.enum if value is not None)
    if schema.any_of:
        return " | ".join(_kind(choice) for choice in schema.any_of if choice.type != "null")
    if schema.items is not None:
        return f"list of {_kind(schema.items)}"
    kinds = (schema.type,) if isinstance(schema.type, str) else schema.type or ()
    return escape(" | ".join(kind for kind in kinds if kind != "null") or "any JSON")


def _codes() -> list[tuple[str, str]]:
    """Every code a client can meet, with the sentence of its class."""
    found = {
        kind.code: (kind.__doc__ or "").partition("\n")[0]
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OutlastError)
    }
    return [(code, found.get(code, "")) for code in STATUS]


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    return f"<h3>{title}</h3>{_table(rows)}" if rows else ""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_prose(part)}</p>" for part in text.strip().split("\n\n") if part)


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text.strip()))
