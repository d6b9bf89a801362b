"""A route's signature is its contract: what it takes and what it replies stand in its annotations, and nowhere else.

    @blueprint.post("/functions")
    @takes()
    async def create_function(body: NewFunction) -> Created[Function]:
        '''Create a function.'''

`body` and `query` are `Input`s (`shapes`): what comes in is checked against them and given to the route; what does not
fit is a 400 that names the field. Replies are TypedDicts, which mypy holds the route's code to. `openapi` makes the
document of the same annotations, with the first sentence of the docstring as the route's title; so neither can say
anything else than the code does.

A reply that is no JSON object is `Annotated[Response, Media("text/plain")]`; a body that is none is named in `takes`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast, get_type_hints

import msgspec
import orjson
from msgspec import Meta
from quart import request
from quart.wrappers import Response

from host.admin.requests import small_body
from host.model.errors import UsageError

T = TypeVar("T")
S = TypeVar("S", bound="Input")
View = TypeVar("View", bound=Callable[..., Awaitable[Any]])

Created = tuple[T, Literal[201]]
Accepted = tuple[T, Literal[202]]
NoContent = tuple[Literal[""], Literal[204]]


class Media(NamedTuple):
    """Of a body or a reply that is no JSON object."""

    content_type: str
    description: str = ""


Lines = Annotated[Response, Media("application/x-ndjson", "One JSON object a line.")]

NonEmpty = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]
Moment = Annotated[datetime, Meta(tz=True, examples=["2027-01-31T00:00:00Z"])]


class Input(msgspec.Struct, kw_only=True):
    """Base of what a route takes: fields with a type, which those with a default may be left out of."""


class Taken(NamedTuple):
    """What a route takes: the types of its query and of its body, or what kind of body it reads itself."""

    query: type[Input] | None = None
    body: type[Input] | None = None
    media: Media | None = None


_TAKEN = "__tenure_takes__"


def takes(media: Media | None = None) -> Callable[[View], View]:
    """For a route with a parameter `query` or `body`, or one that reads a body of kind `media` itself."""

    def declare(view: View) -> View:
        hints = get_type_hints(view)
        taken = Taken(hints.get("query"), hints.get("body"), media)

        @wraps(view)
        async def checked(**arguments: Any) -> Any:
            if taken.query is not None:
                arguments["query"] = read_query(taken.query)
            if taken.body is not None:
                arguments["body"] = await read_body(taken.body)
            return await view(**arguments)

        setattr(checked, _TAKEN, taken)
        return cast(View, checked)

    return declare


def taken_by(view: Callable[..., Any]) -> Taken:
    return cast(Taken, getattr(view, _TAKEN, Taken()))


def read_query(shape: type[S]) -> S:
    """The running request's query. Raises UsageError."""
    given = {name: value for name, value in request.args.items() if name in shape.__struct_fields__}
    return _converted(shape, given, '"{}"', strict=False)


async def read_body(shape: type[S]) -> S:
    """The running request's body, an object with no other fields than `shape` has. Raises UsageError, TooLarge."""
    try:
        value = orjson.loads(await small_body())
    except orjson.JSONDecodeError as error:
        raise UsageError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError('The body has to be a JSON object, such as {"name": "account"}.')
    known = shape.__struct_fields__
    if unknown := [name for name in value if name not in known]:
        raise UsageError(f"Unknown fields: {', '.join(unknown)[:200]}. This route takes: {', '.join(known)}.")
    return _converted(shape, value, 'The field "{}"', strict=True)


def _converted(shape: type[S], given: Mapping[str, Any], called: str, *, strict: bool) -> S:
    values = {}
    for field in msgspec.structs.fields(shape):
        name = field.name
        if name not in given and not field.required:
            continue
        try:
            values[name] = _value(given.get(name), field.type, strict)
        except UnicodeEncodeError:
            raise UsageError(f"{called.format(name)} has to be valid Unicode.") from None
        except msgspec.ValidationError:
            raise UsageError(f"{called.format(name)} has to be {_in_words(field.type)}.") from None
    return shape(**values)


def _value(given: Any, kind: Any, strict: bool) -> Any:
    """Raises ValidationError, UnicodeEncodeError. A text of a query may be a number or a flag, and nothing else."""
    try:
        value = msgspec.convert(given, kind)
    except msgspec.ValidationError:
        if strict:
            raise
        value = msgspec.convert(given, kind, strict=False)
        if type(value) not in (int, float) and given not in ("true", "false"):
            raise
    if isinstance(value, str):
        value.encode()
    return value


def _in_words(kind: Any) -> str:
    """What a value of this type is, for somebody who gave another: `a number from 1 to 500`."""
    return _schema_in_words(msgspec.json.schema(kind))


def _schema_in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_schema_in_words(one) for one in schema["anyOf"])
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    if schema.get("format") == "date-time":
        return 'a time in UTC such as "2027-01-31T00:00:00Z"'
    match schema.get("type"):
        case "string":
            return "a non-empty string" if schema.get("minLength") else "a string"
        case "integer" | "number":
            return _number_in_words(schema)
        case "boolean":
            return "true or false"
        case "object":
            return "an object"
        case "array":
            return "an array"
    return "null"


def _number_in_words(schema: Mapping[str, Any]) -> str:
    number = "a whole number" if schema["type"] == "integer" else "a number"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{number} from {least} to {most}"
    return number if least is None else f"{number}, {least} or more"
