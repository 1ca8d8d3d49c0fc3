"""The scenario file, and the plan, as JSON Schemas: for editors and for programs that write scenarios or read plans.

msgspec makes no schema of a Struct whose defaults are of our own types, and knows nothing of how they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from loadgen.scenario.plan import Plan
from loadgen.scenario.schema import Scenario
from loadgen.units import Duration, Offset

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DURATION = r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+"


def scenario_schema() -> dict[str, Any]:
    """What a scenario file may hold, as far as each value by itself decides."""
    return {"$schema": _DIALECT, "title": "loadgen scenario", **_of_struct(Scenario, nulls=False)}


def plan_schema() -> dict[str, Any]:
    """What `plan.json` of a run holds."""
    return {"$schema": _DIALECT, "title": "loadgen plan", **_of_struct(Plan, nulls=True)}


def _of_struct(struct: type[msgspec.Struct], *, nulls: bool) -> dict[str, Any]:
    """Args: nulls: what is not there is null; in a scenario it is left out."""
    fields = msgspec.structs.fields(struct)
    document: dict[str, Any] = {"type": "object"}
    if struct.__doc__:
        document["description"] = " ".join(struct.__doc__.split())
    document["properties"] = {
        field.encode_name: {**_of(field.type, nulls=nulls), **_default(field.default)} for field in fields
    }
    if required := [field.encode_name for field in fields if field.required]:
        document["required"] = required
    return document | {"additionalProperties": False}


def _of(kind: Any, *, nulls: bool) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _of_struct(kind, nulls=nulls)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [each.value for each in kind]}
    if origin in (Union, UnionType):
        options = [_of(arg, nulls=nulls) for arg in args if nulls or arg is not type(None)]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is tuple:
        size = {} if args[-1] is Ellipsis else {"minItems": len(args), "maxItems": len(args)}
        return {"type": "array", "items": _of(args[0], nulls=nulls), **size}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(args[1], nulls=nulls)}
    if origin is Literal:
        return {"enum": [form for arg in args for form in _forms(arg)]}
    return msgspec.json.schema(kind, schema_hook=_of_unit)


def _forms(choice: str) -> list[str | float]:
    """version = 1.2 is read without the quotes, too."""
    forms: list[str | float] = [choice]
    with suppress(ValueError):
        forms.append(float(choice))
    return forms


def _of_unit(kind: type) -> dict[str, Any]:
    if kind not in (Duration, Offset):
        raise NotImplementedError(kind)
    sign = "-?" if kind is Offset else ""
    return {"type": "string", "pattern": f"^{sign}{_DURATION}$", "description": kind.EXPECTED}


def _default(value: object) -> Mapping[str, Any]:
    if value in (msgspec.NODEFAULT, None) or isinstance(value, msgspec.Struct) or _has_structs(value):
        return {}
    return {"default": _written(value)}


def _written(value: object) -> object:
    """As a document has it."""
    if isinstance(value, Duration | Offset):
        return value.written()
    return [_written(item) for item in value] if isinstance(value, tuple) else value


def _has_structs(value: object) -> bool:
    return isinstance(value, tuple) and any(isinstance(item, msgspec.Struct) for item in value)
