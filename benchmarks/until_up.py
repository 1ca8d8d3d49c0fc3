"""`python -m benchmarks.until_up DESCRIPTOR run ...`: `loadgen run ...` that writes there when its first session is up
(monotonic ns). Light: what is measured is how long that takes.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_COUNTS = "loadgen.measure.recorder"


class _Listening:
    """Finds the module that counts sessions, and has it tell of the first, in whichever process that is."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if name != _COUNTS:
            return None
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        spec = PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_listen(module: ModuleType) -> None:
            execute(module)
            _listen(module.Recorder)

        spec.loader.exec_module = execute_and_listen  # type: ignore[method-assign]
        return spec


def _listen(recorder: Any) -> None:
    count = recorder.count

    def count_and_tell(self: Any, name: str, amount: int = 1) -> None:
        count(self, name, amount)
        if name == "sessions.established":
            os.write(_DESCRIPTOR, f"{time.monotonic_ns()}\n".encode())
            recorder.count = count

    recorder.count = count_and_tell


if __name__ == "__main__":
    _DESCRIPTOR = int(sys.argv.pop(1))
    sys.argv[0] = "loadgen"
    sys.meta_path.insert(0, _Listening)  # type: ignore[arg-type]
    from loadgen.cli.main import main

    main()
