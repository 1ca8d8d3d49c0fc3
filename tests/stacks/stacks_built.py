"""Stacks that are libraries: each is met by a small program of ours, which is built here.

All of them are called alike: PROGRAM client|server KEY CERTIFICATE VERSION any|none [PORT].
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from stacks_programs import HERE, Make, needs, said, started

_INCLUDED = Path("/usr/include")
_GHC = Path("/var/lib/ghc/package.conf.d")
_RUSTLS = Path("/usr/share/cargo/registry/rustls-0.20.8")


class _Recipe(NamedTuple):
    """How a program is had.

    Attributes:
        source: a file of ours, or a folder.
        compiler: `SOURCE` and `PROGRAM` stand for theirs; of one word, it runs the source itself.
        suffix: of the files with its key and its certificate.
        inside: the program, where PROGRAM is a folder.
    """

    source: str
    compiler: tuple[str, ...]
    suffix: str
    inside: str

    def calls(self, port: int, version: str, trusts: bool, folder: Path) -> str:
        return said([*self._arguments("client", version, trusts, folder), str(port)])

    def waits(self, version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
        return started(self._arguments("server", version, trusts, folder), r"^port (\d+)")

    def _arguments(self, role: str, version: str, trusts: bool, folder: Path) -> list[str | Path]:
        name = "wlc" if role == "server" else "mse"
        keys = [folder / f"{name}.{kind}{self.suffix}" for kind in ("key", "crt")]
        runs = [self._program(folder)] if len(self.compiler) > 1 else [*self.compiler, HERE / self.source]
        return [*runs, role, *keys, version, "any" if trusts else "none"]

    def _program(self, folder: Path) -> Path:
        """It, built the first time that it is wanted."""
        source = HERE / self.source
        program = folder / self.source.replace(".", "-") / self.inside
        if not program.exists():
            if source.is_dir():
                # Some compilers leave files beside what they read.
                source = Path(shutil.copytree(source, folder / f"{source.stem}-source"))
            words = {"SOURCE": str(source), "PROGRAM": str(folder / self.source.replace(".", "-"))}
            where = source if source.is_dir() else folder
            subprocess.run([words.get(word, word) for word in self.compiler], check=True, cwd=where)
        return program


def built(
    name: str,
    missing: str,
    versions: str,
    source: str,
    compiler: str,
    heard: str,
    *,
    suffix: str = "",
    inside: str = "",
) -> Make:
    """A stack that is met by a program."""
    recipe = _Recipe(source, tuple(compiler.split()), suffix, inside)
    return Make(name, missing or needs(recipe.compiler[0]), tuple(versions.split()), recipe.calls, recipe.waits, heard)


def _needs_header(name: str, package: str) -> str:
    return "" if (_INCLUDED / name).exists() else f"{package} is not installed"


def _mbedtls() -> tuple[str, str]:
    """Why Mbed TLS 4 cannot be met, and what the compiler is told where it can: nng-ssl carries it whole."""
    try:
        files = importlib.metadata.files("nng-ssl") or []
    except importlib.metadata.PackageNotFoundError:
        return "nng-ssl is not installed", ""
    found = {file.name: Path(file.locate()).resolve().parent for file in files}
    folders = f"-I{found['net_sockets.h'].parent} -L{found['libmbedtls.a']}"
    return "", f"{folders} -lmbedtls -lmbedx509 -ltfpsacrypto"


_MBEDTLS_MISSING, _MBEDTLS_FLAGS = _mbedtls()
_C = "cc -O1 -Wall -Wextra -o PROGRAM SOURCE"
_CARGO = "cargo build --quiet --offline --config crates.toml --target-dir PROGRAM"
_CPP = "c++ -O1 -Wall -Wextra -I/usr/include/botan-2 -o PROGRAM SOURCE"

BUILT = (
    built("Go", "", "1.0 1.1 1.2 1.3", "peer.go", "go build -o PROGRAM SOURCE", "unknown certificate"),
    built(
        "wolfSSL", _needs_header("wolfssl/ssl.h", "libwolfssl-dev"), "1.2 1.3",
        "peer_wolfssl.c", f"{_C} -lwolfssl", "alert 46",
    ),
    built(
        "Botan", _needs_header("botan-2/botan/tls_client.h", "libbotan-2-dev"), "1.0 1.1 1.2",
        "peer_botan.cpp", f"{_CPP} -lbotan-2", "alert 46",
    ),
    built(
        "BearSSL", _needs_header("bearssl.h", "libbearssl-dev"), "1.0 1.1 1.2",
        "peer_bearssl.c", f"{_C} -lbearssl", r"error 302\b", suffix=".der",
    ),
    built(
        "rustls", "" if _RUSTLS.exists() else "librust-rustls-dev is not installed", "1.2 1.3",
        "peer_rustls", _CARGO, "CertificateUnknown", inside="debug/peer",
    ),
    built("Pike", "", "1.0 1.1 1.2", "peer.pike", "pike8.0", "alert 46", suffix=".der"),
    built(
        "Haskell tls", "" if any(_GHC.glob("tls-1*.conf")) else "libghc-tls-dev is not installed", "1.0 1.1 1.2 1.3",
        "peer.hs", "ghc -v0 -outputdir . -o PROGRAM SOURCE", "CertificateUnknown",
    ),
    built("Mbed TLS 4", _MBEDTLS_MISSING, "1.2 1.3", "peer_mbedtls.c", f"{_C} {_MBEDTLS_FLAGS}", "alert 46"),
)  # fmt: skip
