"""What can be wrong with the opaque messages of a wire profile; and the files that hold their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen.files import read_bounded
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.field_check import UNSIGNED, FieldCheck
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile_document import MAX_NOTIFY_BYTES, SIDES, OpaqueDocument, ProfileDocument
from loadgen.strict import one_of
from loadgen.units import Duration

# What can be filled in, and as what.
_FILLS: dict[str, tuple[str, ...]] = {
    "transaction": UNSIGNED,
    "mac": ("mac",),
    "time": ("time",),
    "counter": UNSIGNED,
}


def with_files(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A parsed profile in which the bytes of opaque messages stand where their files were named.

    Raises:
        InputError: a file that is not there, or too long.
    """
    tables = data.get("opaque")
    if not isinstance(tables, dict):
        return data
    read = dict(tables)
    for name, table in tables.items():
        file = table.get("file") if isinstance(table, dict) else None
        if isinstance(file, str) and "hex" not in table and _is_beside(file):
            held = read_bounded(folder / file, MAX_NOTIFY_BYTES, f"the bytes of opaque.{name}")
            read[name] = {**{key: value for key, value in table.items() if key != "file"}, "hex": held.hex()}
    return {**data, "opaque": read}


def _is_beside(file: str) -> bool:
    return Path(file).name == file


def check_opaque(
    problems: FieldCheck,
    document: ProfileDocument,
    taken: Mapping[tuple[Role, int], str],
    senders: Mapping[str, frozenset[Role]],
    id_bits: int,
) -> dict[str, int]:
    """Tell every problem of the opaque messages; returns the bytes of each.

    Args:
        taken: ids of the others, each with who says it. senders: who says each message.
    """
    sizes: dict[str, int] = {}
    ids = dict(taken)
    for name, each in document.opaque.items():
        where = f"opaque.{name}"
        if name in {kind.label for kind in CATALOGUE}:
            problems.add(where, "a name that no message has", name)
        if not 0 <= each.id < 1 << id_bits:
            problems.add(f"{where}.id", f"a uint{id_bits}", str(each.id))
        for role in senders[name]:
            if (other := ids.setdefault((role, each.id), name)) != name:
                problems.add(f"{where}.id", "an id of its own", f"{each.id}, the id of {other}")
        sizes[name] = _check_bytes(problems, where, each)
        problems.layout(where, each.fields, sizes[name], _FILLS, [])
        if each.every is not None and (wrong := _why_no_period(each.every)):
            problems.add(f"{where}.every", Duration.EXPECTED, wrong)
        by_side = [field.name for field in document.header.fields if field.values.keys() == set(SIDES)]
        if each.sender == "either" and (alike := [field for field in by_side if field not in each.header]):
            problems.add(f"{where}.header", f"a value of {alike[0]}, which differs by side", "none")
        if each.answers:
            _check_answer(problems, where, each, document)
    return sizes


def _check_bytes(problems: FieldCheck, where: str, each: OpaqueDocument) -> int:
    """The bytes of one; returns how many."""
    if each.file is not None:
        found = "both" if each.hex is not None else f'"{each.file}"'
        problems.add(f"{where}.file", "either hex, or the name of a file beside the profile", found)
    elif each.hex is None:
        problems.add(where, "its bytes, as hex or file", "neither")
    try:
        size = len(bytes.fromhex(each.hex or ""))
    except ValueError:
        problems.add(f"{where}.hex", "pairs of hexadecimal digits", f'"{(each.hex or "")[:60]}"')
        return MAX_NOTIFY_BYTES
    if size > MAX_NOTIFY_BYTES:
        problems.add(f"{where}.hex", f"at most {MAX_NOTIFY_BYTES} bytes", str(size))
    return size


def _why_no_period(text: str) -> str | None:
    try:
        return None if Duration.parse(text) > 0 else f'"{text}"'
    except ValueError:
        return f'"{text}"'


def _check_answer(problems: FieldCheck, where: str, each: OpaqueDocument, document: ProfileDocument) -> None:
    asked = document.opaque.get(each.answers)
    if asked is None:
        others = [name for name in document.opaque if document.opaque[name] is not each]
        expected = one_of(each.answers, others) if others else "another opaque message"
        problems.add(f"{where}.answers", expected, f'"{each.answers}"')
    elif "either" in (each.sender, asked.sender) or each.sender == asked.sender:
        expected = f'"{"mse" if asked.sender == "wlc" else "wlc"}", who hears {each.answers} from the other side'
        problems.add(f"{where}.sender", expected, f'"{each.sender}"')
    elif asked.answers or each.every is not None:
        problems.add(f"{where}.answers", "a message that answers nothing, and has no period here", f'"{each.answers}"')
