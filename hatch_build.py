"""Builds the native turn (`loadgen/native`) at install: with the C compiler that is there, else with the one that the
package `ziglang` brings, else not at all. All works without it, in Python.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "loadgen" / "native"
LIBRARY, DECLARED = FOLDER / "_turn.so", FOLDER / "_declared.py"
MACHINES = ("x86_64", "aarch64")
IS_PORTABLE = os.environ.get("LOADGEN_PORTABLE_WHEEL") == "1"
# What a wheel from zig runs on: zig has the symbols of every glibc.
GLIBC = (2, 17)
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
# Times are Python's to the bit, and a square root is an instruction.
FLAGS += ("-ffp-contract=off", "-fno-math-errno")


def sources() -> list[Path]:
    return sorted([*FOLDER.glob("*.c"), *FOLDER.glob("*.h")])


def digest() -> str:
    """Of the sources: a library of others is not loaded (`loadgen/native/library.py`)."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources())).hexdigest()[:16]


def compiler() -> list[str] | None:
    """Of this machine; None: there is none."""
    named = os.environ.get("CC", "").split()
    found = next((name for name in (*named[:1], "cc", "gcc", "clang") if shutil.which(name)), None)
    return None if found is None else [found, *(named[1:] if named[:1] == [found] else ())]


def zig() -> list[str]:
    glibc = ".".join(map(str, GLIBC))
    return [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-gnu.{glibc}"]


class NativeHook(BuildHookInterface[Any]):
    """Of a wheel, also of an editable one."""

    def dependencies(self) -> list[str]:
        needed = self._is_for_here() and (IS_PORTABLE or not compiler())
        return ["ziglang"] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or not self._is_for_here():
            return
        command = zig() if IS_PORTABLE else compiler() or zig()
        try:
            self._compile(command)
            self._declare()
        except (OSError, subprocess.CalledProcessError) as error:
            if IS_PORTABLE:
                raise
            self.app.display_warning(f"loadgen's native turn was not built, so it will run in Python: {error}")
            return
        build_data["artifacts"] += [f"/loadgen/native/{path.name}" for path in (LIBRARY, DECLARED)]
        if version != "editable":
            build_data["pure_python"] = False
            machine = platform.machine()
            tag = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}" if IS_PORTABLE else f"linux_{machine}"
            build_data["tag"] = f"py3-none-{tag}"

    def _is_for_here(self) -> bool:
        return (
            sys.platform == "linux"
            and platform.machine() in MACHINES
            and sysconfig.get_config_var("SIZEOF_VOID_P") == 8
        )

    def _compile(self, command: list[str]) -> None:
        made = LIBRARY.with_suffix(f".{os.getpid()}")
        files = [str(path) for path in sources() if path.suffix == ".c"]
        flags = [*FLAGS, f'-DLG_SOURCES="{digest()}"', "-Wl,-z,defs"]
        subprocess.run([*command, *flags, *files, "-o", str(made)], check=True, capture_output=True, text=True)
        made.replace(LIBRARY)  # one that is in use stays as it is

    def _declare(self) -> None:
        """For cffi, which then has nothing to parse when the library is loaded."""
        from cffi import FFI

        ffi = FFI()
        ffi.cdef((FOLDER / "native.h").read_text("utf-8"))
        ffi.set_source("loadgen.native._declared", None)
        ffi.emit_python_code(str(DECLARED))
