"""The library of the native turn, if it was built, fits its sources and is wanted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from loadgen.errors import InputError, Problem

SWITCH = "LOADGEN_NATIVE"
_FOLDER = Path(__file__).parent


class Library(NamedTuple):
    """What cffi makes of it: `ffi` has its types, `lib` its functions."""

    ffi: Any
    lib: Any


class Stop(IntEnum):
    """Why a pass over links has ended: LG_* of native.h."""

    DONE = 0
    FAILED = 1
    FULL = 2
    LATE = 3
    ASKS = 4


STOPS = tuple(Stop)  # by number: a call of an enum costs 2 us


class Loaded(NamedTuple):
    """Attributes: library: None where there is none; words: which it is, or why there is none."""

    library: Library | None
    words: str


def native(folder: Path = _FOLDER) -> Library | None:
    """The library; None: everything is done in Python.

    Raises:
        InputError: it is demanded, and cannot be had; or the switch says neither 0 nor 1.
    """
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", "0", "1"):
        raise InputError([Problem(f"environment: {SWITCH}", "0 or 1", wanted)])
    if wanted == "0":
        return None
    found = load(folder)
    if found.library is None and wanted == "1":
        raise InputError([Problem(f"environment: {SWITCH}", "a native turn", f"none: {found.words}")])
    return found.library


def standing() -> str:
    """In words: "native", or "python" and why.

    Raises:
        InputError: as `native`.
    """
    if native() is not None:
        return "native"
    return f"python ({SWITCH}=0)" if os.environ.get(SWITCH) == "0" else f"python ({load(_FOLDER).words})"


def sources(folder: Path) -> list[Path]:
    """What a library is made of, as `hatch_build.py` has it."""
    return sorted([*folder.glob("*.c"), *folder.glob("*.h")])


def digest_of(files: Iterable[Path]) -> str:
    """The same."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


@cache
def load(folder: Path) -> Loaded:
    """The library of this folder, which has its sources, too."""
    library = folder / "_turn.so"
    if not library.exists():
        return Loaded(None, "it was not built at install")
    try:
        ffi = import_module("loadgen.native._declared").ffi
        lib = ffi.dlopen(str(library))
        made_of = ffi.string(lib.lg_sources()).decode()
    except (ImportError, OSError, AttributeError) as error:
        return Loaded(None, f"it cannot be loaded: {error}")
    if made_of != digest_of(sources(folder)):
        return Loaded(None, "it was built of other sources: install again")
    return Loaded(Library(ffi, lib), "native")
