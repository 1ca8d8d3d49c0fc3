"""The native turn with sanitizers, in a process of its own that is asked by pipes: its sources and `native_harness.c`.

What a sanitizer sees ends that process, and raises here with its report.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fuzz_corpus import Step, often

from loadgen.native import library

_NATIVE = Path(library.__file__).parent
_HARNESS = Path(__file__).with_name("native_harness.c")
_COUNTERS = 1 << 16  # as the harness has it
# As it is built (hatch_build.py), but so that a report names lines. What gcc calls undefined leaves out casts that do
# not fit, and divisions by 0.
_FLAGS = ["-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-fno-math-errno", f"-I{_NATIVE}"]
_FLAGS += ["-fsanitize=address,undefined,float-cast-overflow,float-divide-by-zero", "-fno-sanitize-recover=all"]
_FLAGS += ['-DLG_SOURCES="fuzzed"']
_WATCHED = ["-fsanitize-coverage=trace-pc"]
_OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
_NUMBER = struct.Struct("<q")


def packed(*parts: int | float | bytes | Iterable[int]) -> bytes:
    """Numbers of 64 bits and blobs, as the harness reads them."""
    found = bytearray()
    for part in parts:
        if isinstance(part, bytes):
            found += part
        elif isinstance(part, float):
            found += struct.pack("<d", part)
        elif isinstance(part, int):
            found += _NUMBER.pack(part)
        else:
            found += np.fromiter(part, np.int64).tobytes()
    return bytes(found)


class Answer:
    """What it has answered, from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._position < len(self._data)

    def blob(self, size: int) -> bytes:
        found = self._data[self._position : self._position + size]
        assert len(found) == size
        self._position += size
        return found

    def number(self) -> int:
        return int(_NUMBER.unpack(self.blob(8))[0])

    def numbers(self, count: int) -> list[int]:
        return np.frombuffer(self.blob(8 * count), np.int64).tolist()  # type: ignore[no-any-return]

    def column(self) -> list[int]:
        return self.numbers(self.number())


class Child:
    """Begins at the first request, and anew after it was ended by one."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._reports = folder / "reports"
        path = folder / "counters"
        path.write_bytes(bytes(_COUNTERS))
        self._counters_path = path
        with path.open("r+b") as file:
            self._counters = mmap.mmap(file.fileno(), _COUNTERS)
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes) -> Answer:
        """Raises: AssertionError: it has died of it, with what it said at last."""
        if self._process is None:
            with self._reports.open("wb") as reports:
                self._process = subprocess.Popen(
                    [self._program, self._counters_path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=reports,
                    env={**os.environ, **_OPTIONS},
                )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(_NUMBER.pack(len(request)) + request)
            process.stdin.flush()
            head = process.stdout.read(8)
            size = _NUMBER.unpack(head)[0]
            data = process.stdout.read(size)
        except (BrokenPipeError, struct.error):
            self.close()
            raise AssertionError(self._reports.read_text("utf-8", "replace")) from None
        return Answer(data)

    def close(self) -> None:
        if (process := self._process) is not None:
            self._process = None
            assert process.stdout is not None
            process.stdout.close()
            try:
                process.communicate(timeout=20)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                process.kill()
                process.wait()

    def steps(self) -> set[Step]:
        """Blocks that were entered since this was asked last, as the corpus counts steps."""
        counts = np.frombuffer(self._counters, np.uint8)
        found = {("native", 0, at, often(int(counts[at]))) for at in np.flatnonzero(counts).tolist()}
        self._counters[:] = bytes(_COUNTERS)
        return found

    def tell_libfuzzer(self) -> None:
        """Its counters are libFuzzer's as well, which is in this process (Atheris)."""
        functions = ctypes.CDLL(import_module("atheris.core_with_libfuzzer").__file__)
        counters = (ctypes.c_uint8 * _COUNTERS).from_buffer(self._counters)
        # Where each counter is in the program, and whether a function begins there: nobody looks it up.
        places = (ctypes.c_uint64 * (2 * _COUNTERS))(*(n for at in range(_COUNTERS) for n in (0x10000 + at, 0)))
        for function, region in (
            (functions["__sanitizer_cov_8bit_counters_init"], counters),
            (functions["__sanitizer_cov_pcs_init"], places),
        ):
            start = ctypes.addressof(region)
            function(ctypes.c_void_p(start), ctypes.c_void_p(start + ctypes.sizeof(region)))
        self._told = counters, places


def _compiler() -> str | None:
    named = os.environ.get("CC", "").split()
    return next((name for name in (*named[:1], "cc", "gcc", "clang") if shutil.which(name)), None)


class Built(NamedTuple):
    """Attributes: child: None if it cannot be built; words: why."""

    child: Child | None
    words: str


@cache
def _built() -> Built:
    """Once in a process, which takes it along when it ends."""
    compiler = _compiler()
    if compiler is None:
        return Built(None, "no C compiler")
    kept = tempfile.TemporaryDirectory(prefix="native-")
    atexit.register(kept.cleanup)
    folder = Path(kept.name)
    program, sources = folder / "harness", sorted(_NATIVE.glob("*.c"))
    objects = [folder / f"{path.stem}.o" for path in sources]
    try:
        for source, made in zip(sources, objects, strict=True):
            _run(compiler, *_FLAGS, *_WATCHED, "-c", str(source), "-o", str(made))
        _run(compiler, *_FLAGS, str(_HARNESS), *map(str, objects), "-o", str(program), "-lm")
    except subprocess.CalledProcessError as error:
        return Built(None, f"{compiler} does not build it with sanitizers: {error.stderr.strip()[-300:]}")
    made_child = Child(program, folder)
    atexit.register(made_child.close)
    try:
        made_child.ask(packed(ord("c"), 1, 2, 0))
    except AssertionError as error:
        return Built(None, f"it does not run with the sanitizers of {compiler}: {error}")
    return Built(made_child, compiler)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def child() -> Child:
    """One for all targets of this process."""
    found, words = _built()
    assert found is not None, words
    return found


def missing() -> str | None:
    """Why there is none; None: there is one."""
    found, words = _built()
    return words if found is None else None
