"""The written contract, `openapi.yaml`: read once, when it is first asked for.

As the document it is, for `/openapi.json`; and as far as `/docs` shows it, in nouns.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec
import yaml

from outlast.runs import JsonObject


class Schema(msgspec.Struct, frozen=True, rename={"ref": "$ref", "any_of": "anyOf"}):
    """What a value looks like."""

    ref: str | None = None
    type: str | tuple[str, ...] | None = None
    description: str = ""
    properties: Mapping[str, "Schema"] = {}
    required: tuple[str, ...] = ()
    enum: tuple[str | None, ...] = ()
    any_of: tuple["Schema", ...] = ()
    items: "Schema | None" = None


class Header(msgspec.Struct, frozen=True, rename={"ref": "$ref"}):
    """A header of an answer."""

    ref: str | None = None
    description: str = ""


class Parameter(msgspec.Struct, frozen=True, rename={"ref": "$ref", "place": "in", "schema": "schema"}):
    """Something in the path, the query or a header."""

    ref: str | None = None
    name: str = ""
    place: str = ""
    description: str = ""
    schema: Schema = Schema()


class Content(msgspec.Struct, frozen=True):
    """A body."""

    schema: Schema | None = None


class Body(msgspec.Struct, frozen=True):
    """What a request carries."""

    content: Mapping[str, Content]


class Response(msgspec.Struct, frozen=True, rename={"ref": "$ref"}):
    """An answer."""

    ref: str | None = None
    description: str = ""
    headers: Mapping[str, Header] = {}
    content: Mapping[str, Content] = {}


class Operation(msgspec.Struct, frozen=True, rename="camel"):
    """A method of a path."""

    operation_id: str
    summary: str
    responses: Mapping[str, Response]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    request_body: Body | None = None


class PathItem(msgspec.Struct, frozen=True):
    """A path."""

    get: Operation | None = None
    post: Operation | None = None
    put: Operation | None = None
    patch: Operation | None = None
    delete: Operation | None = None
    parameters: tuple[Parameter, ...] = ()

    @property
    def operations(self) -> dict[str, Operation]:
        """By method."""
        named = {
            "GET": self.get,
            "POST": self.post,
            "PUT": self.put,
            "PATCH": self.patch,
            "DELETE": self.delete,
        }
        return {method: operation for method, operation in named.items() if operation is not None}


class Components(msgspec.Struct, frozen=True):
    """What is written once and referred to."""

    parameters: Mapping[str, Parameter]
    headers: Mapping[str, Header]
    responses: Mapping[str, Response]
    schemas: Mapping[str, Schema]


class Info(msgspec.Struct, frozen=True):
    """About the API."""

    title: str
    summary: str
    description: str


class Contract(msgspec.Struct, frozen=True):
    """The document."""

    info: Info
    paths: Mapping[str, PathItem]
    components: Components

    def parameter(self, at: Parameter) -> Parameter:
        return self.components.parameters[_name(at.ref)] if at.ref else at

    def header(self, at: Header) -> Header:
        return self.components.headers[_name(at.ref)] if at.ref else at

    def response(self, at: Response) -> Response:
        return self.components.responses[_name(at.ref)] if at.ref else at

    def schema(self, at: Schema) -> Schema:
        return self.components.schemas[_name(at.ref)] if at.ref else at


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]


@cache
def document() -> JsonObject:
    """The document as data."""
    text = files("outlast.api").joinpath("openapi.yaml").read_text(encoding="utf-8")
    loaded: JsonObject = yaml.load(text, yaml.CSafeLoader)
    return loaded


@cache
def contract() -> Contract:
    """The document in nouns."""
    return msgspec.convert(document(), Contract, strict=False)


@cache
def as_json() -> bytes:
    """The document as `/openapi.json` serves it."""
    return msgspec.json.encode(document())
