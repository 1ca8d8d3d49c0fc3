"""Results as files: JSON documents that say what they are, and are read with suspicion."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.files import read_bounded
from loadgen.strict import shown, write_unit

# A run of 600 intervals with 200 workers has a few megabytes.
MAX_RESULT_BYTES = 256 * 1024 * 1024


class Document(msgspec.Struct, frozen=True, tag_field="document"):
    """Base of what `result.json` may hold. The tag, first in the file, says which kind it is."""

    schema_version: int

    VERSION: ClassVar[int]  # what this program writes, and the newest that it reads


D = TypeVar("D", bound=Document)


def as_json(value: msgspec.Struct) -> str:
    """A Struct as JSON that people can read, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=write_unit), indent=2).decode() + "\n"


def read_document_untrusted(path: Path, *kinds: type[D]) -> D:
    """Read a result of one of these kinds.

    Args:
        path: the file, or the folder in which it is `result.json`.

    Raises:
        InputError: missing, truncated, foreign, of another kind, or written by a newer version.
    """
    if path.is_dir():
        path /= "result.json"
    tags = {str(kind.__struct_config__.tag): kind for kind in kinds}
    what = f"a result of kind {' or '.join(tags)}"
    raw = read_bounded(path, MAX_RESULT_BYTES, what)
    try:
        head = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(Problem(str(path), f"{what}, in JSON", str(error).lower())) from error
    found = head if isinstance(head, dict) else {}
    kind = tags.get(str(found.get("document")))
    if kind is None:
        other = f"kind {shown(found['document'])}" if "document" in found else "another file"
        raise InputError(Problem(str(path), what, other))
    version = found.get("schema_version")
    if version != kind.VERSION:
        raise InputError(Problem(str(path), f"schema_version {kind.VERSION}", shown(version)))
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.ValidationError, RecursionError) as error:
        message, _, inner = str(error).partition(" - at `$")
        where = f"{path}: {inner.strip('.`')}" if inner else str(path)
        expected, _, got = message.removeprefix("Expected ").replace("`", "").partition(", got ")
        raise InputError(Problem(where, expected, got or "something else")) from error
