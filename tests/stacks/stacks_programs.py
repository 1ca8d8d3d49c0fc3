"""A TLS stack of other make, and how the program that has it is started and heard out."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stacks_peers import MSE, PATIENCE_S, WLC

HERE = Path(__file__).parent
# With TLS 1.3 a refusal comes when the client's own part is over.
REFUSAL_S = 0.5
SECRET = ("-passout", "pass:secret")

Calls = Callable[[int, str, bool, Path], str]
Waits = Callable[[str, bool, Path], contextlib.AbstractContextManager[int]]


class Make(NamedTuple):
    """A stack.

    Attributes:
        missing: why it cannot be met here; empty if it can.
        calls: (port, version, trusts, folder) -> what it says at last, as an MSE that takes any WLC, or none.
        waits: (version, trusts, folder) -> a context with its port, as a WLC that takes any certificate, or none.
        heard: what `calls` says where it was told certificate_unknown (46).
        quick: in this process.
    """

    name: str
    missing: str
    versions: tuple[str, ...]
    calls: Calls
    waits: Waits
    heard: str
    quick: bool = False

    def __str__(self) -> str:
        return self.name


def files_in(folder: Path) -> Path:
    """Keys, certificates and key stores of both ends, for those who read files."""
    for name, identity in (("mse", MSE), ("wlc", WLC)):
        pem = folder / f"{name}.pem"
        pem.write_bytes(identity.key_pem + identity.certificate_pem)
        for kind, text in (("key", identity.key_pem), ("crt", identity.certificate_pem)):
            (folder / f"{name}.{kind}").write_bytes(text)
            (folder / f"{name}.{kind}.der").write_bytes(base64.b64decode(b"".join(text.splitlines()[1:-1])))
        subprocess.run(
            ["openssl", "pkcs12", "-export", "-name", name, "-in", pem, "-out", f"{pem.with_suffix('.p12')}", *SECRET],
            check=True,
        )
    return folder


def said(command: list[str | Path]) -> str:
    """All that a program says."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.stdout


@contextmanager
def started(command: list[str | Path], port: str) -> Iterator[int]:
    """A program that tells its port. Args: port: the line that does, with a group for it."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            told = None
            while told is None:
                line = process.stdout.readline()
                assert line, f"{command[0]} ended"
                told = re.search(port, line)
            yield int(told[1] or 0)
        finally:
            process.kill()


def needs(program: str) -> str:
    return "" if shutil.which(program) else f"{program} is not installed"


def needs_module(name: str) -> str:
    return "" if importlib.util.find_spec(name) else f"{name} is not installed"
