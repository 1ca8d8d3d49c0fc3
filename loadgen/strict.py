"""Untrusted documents (TOML) into Structs: unknown keys refused, and every problem found, not just the first.

msgspec stops at the first problem, so the walk over Struct fields is ours and the check of each value is msgspec's.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.files import read_bounded
from loadgen.foreign import plain
from loadgen.units import Duration, Offset

T = TypeVar("T", bound=msgspec.Struct)

# A scenario or profile written by hand has a few kilobytes; more is a mistake in the file name.
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_MAX_SHOWN = 60
# Of SequenceMatcher's ratio: what difflib takes for a close match.
_ALIKE = 0.6
_MOST_BITS = 64  # of an integer: what TOML promises at least, and what the widest field of a profile has


def read_toml_untrusted(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        what: what the file should be ("a scenario"), for the message.

    Raises:
        InputError: missing, unreadable, empty, too large or endless, not UTF-8 or not TOML (with line and column).
    """
    data = read_bounded(path, MAX_DOCUMENT_BYTES, what)
    try:
        return parse_toml_untrusted(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            Problem(
                str(path),
                f"{what} in UTF-8",
                f"byte 0x{error.object[error.start]:02x} at offset {error.start}",
            )
        ) from error
    except ValueError as error:
        raise InputError(Problem(str(path), f"{what} in TOML", str(error))) from error


def parse_toml_untrusted(text: str) -> dict[str, Any]:
    """TOML as dicts and lists.

    Raises:
        ValueError: it is none (with line and column), is nested too deep to be read, or has a number that is too large
            to be worked with, or even shown.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ValueError("arrays or tables that are nested too deep") from None
    values: list[Any] = [document]
    while values:  # dotted keys may be nested deeper than Python recurses
        value = values.pop()
        if isinstance(value, dict):
            values.extend(value.values())
        elif isinstance(value, list):
            values.extend(value)
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise ValueError(f"an integer of {value.bit_length():,} bits")
    return document


def convert_untrusted(data: object, struct: type[T], source: str) -> T:
    """Make `struct` of parsed TOML.

    Raises:
        InputError: every problem, each with its path, e.g. "x.toml: wlc.count: expected `int` >= 1, found -3".
    """
    value, problems = convert_leniently_untrusted(data, struct)
    if problems:
        raise InputError(in_source(problems, source))
    assert value is not None
    return value


def convert_leniently_untrusted(data: object, struct: type[T]) -> tuple[T | None, list[Problem]]:
    """Make `struct` of parsed TOML as far as it goes: a wrong value is replaced by its default.

    For callers that check more than types, so that all problems can be told at once. None: a value without a default
    is missing or wrong.
    """
    problems: list[Problem] = []
    return _struct(data, struct, "", problems), problems


def in_source(problems: list[Problem], source: str) -> list[Problem]:
    """The same problems with the name of the file before their path."""
    return [Problem(f"{source}: {p.where}" if p.where else source, p.expected, p.found) for p in problems]


def shown(value: object) -> str:
    """A value from a document as a message shows it, cut to a readable length."""
    if isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        try:
            text = repr(value)
        except RecursionError:
            text = "something that is nested too deep"
    return plain(text, _MAX_SHOWN)


def one_of(found: object, choices: Collection[str]) -> str:
    """What was expected where a name was to be chosen: all choices, and those first that look like what was found."""
    return f"one of {', '.join(dict.fromkeys([*nearest(found, choices), *choices]))}"


def nearest(found: object, choices: Iterable[str]) -> list[str]:
    """Those of the choices that look like what was found, the nearest ones first."""
    text = str(found)[:_MAX_SHOWN]
    likeness = {choice: SequenceMatcher(None, text, choice, autojunk=False).ratio() for choice in choices}
    return sorted((c for c, ratio in likeness.items() if ratio >= _ALIKE), key=lambda choice: -likeness[choice])


def _struct(data: object, struct: type[msgspec.Struct], path: str, problems: list[Problem]) -> Any:
    if not isinstance(data, dict):
        problems.append(Problem(path, "a table", shown(data)))
        return None
    fields = _fields(struct)
    problems.extend(
        Problem(_join(path, key), one_of(key, sorted(fields)), "an unknown key") for key in data if key not in fields
    )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            before = len(problems)
            value = _value(data[name], field.type, _join(path, name), problems)
            if len(problems) == before or isinstance(value, msgspec.Struct):
                values[field.name] = value
        elif field.required:
            problems.append(Problem(_join(path, name), "a value", "nothing"))
    complete = all(field.name in values for field in fields.values() if field.required)
    return struct(**values) if complete else None


@cache
def _fields(struct: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """The fields of a Struct, by the names of the document. To find their types takes longer than to read a table."""
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _value(data: object, kind: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(data, kind, path, problems)
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(data, list) and any(map(_is_struct, get_args(args[0]))):
        return tuple(_value(item, args[0], f"{path}[{i}]", problems) for i, item in enumerate(data))
    if origin in (tuple, dict) and _is_struct(args[-2] if origin is tuple else args[1]):
        if origin is tuple:
            if not isinstance(data, list):
                problems.append(Problem(path, "an array of tables", shown(data)))
                return None
            return tuple(_struct(item, args[0], f"{path}[{i}]", problems) for i, item in enumerate(data))
        if not isinstance(data, dict):
            problems.append(Problem(path, "a table", shown(data)))
            return None
        return {key: _struct(item, args[1], _join(path, key), problems) for key, item in data.items()}
    if (chosen := _struct_alternative(args, data)) is not None:
        return _value(data, chosen, path, problems)
    if origin is Literal and isinstance(data, int | float) and str(data) in args:
        data = str(data)  # version = 1.2, without the quotes
    try:
        return msgspec.convert(data, kind, dec_hook=read_unit)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        expected = message.removeprefix("Expected ").partition(", got ")[0]
        found = data
        for index in re.findall(r"\[(\d+)\]", inner):
            found = found[int(index)]  # type: ignore[index]
        expected = expected.replace("`", "").removesuffix(" | null").replace(" | object", " or a table")
        expected = expected.replace("array", "an array").replace(" | ", " or ")
        if choices := _choices(kind, elements=bool(inner)):
            expected = one_of(found, choices) + (", or an array" if not inner and _may_be_array(kind) else "")
        problems.append(Problem(path + inner.rstrip("`"), expected, shown(found)))
        return None


def _struct_alternative(args: tuple[Any, ...], data: object) -> Any:
    """For `A | None` or `str | tuple[A, ...]`: the alternative that holds Structs, if the document uses it."""
    for arg in args:
        if isinstance(data, dict) and _is_struct(arg):
            return arg
        if isinstance(data, list) and get_origin(arg) is tuple and _is_struct(get_args(arg)[0]):
            return arg
    return None


def _choices(kind: Any, *, elements: bool) -> list[str]:
    """What a value may be that is not free. Args: elements: of those of the array that it may be."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [] if elements else [str(arg) for arg in args]
    if origin is tuple:
        return _choices(args[0], elements=False) if elements else []
    if origin in (Union, UnionType):
        return [choice for arg in args for choice in _choices(arg, elements=elements)]
    return []


def _may_be_array(kind: Any) -> bool:
    return any(get_origin(arg) is tuple for arg in get_args(kind))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def read_unit(kind: type, value: Any) -> Any:
    """For decoders: what msgspec does not know."""
    if kind is Duration or kind is Offset:
        if not isinstance(value, str):
            raise ValueError("Expected " + kind.EXPECTED)
        return kind.parse(value)
    raise NotImplementedError(kind)  # pragma: no cover - a Struct here uses a type that msgspec cannot read


def write_unit(value: object) -> str:
    """For encoders: what msgspec does not know, as a document has it."""
    if isinstance(value, Duration | Offset):
        return value.written()
    raise NotImplementedError(type(value))  # pragma: no cover - a Struct here uses a type that msgspec cannot write


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
