"""What commands are asked for, as values. Light: it is imported for `--help`, and with `loadgen.commands`.

Lengths, sizes and addresses are texts here, as options have them: whoever does it checks them, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class SourceOptions(NamedTuple):
    """The scenario and who plays which side of it, as they were given.

    Attributes:
        scenario: its file, or what would be in it.
    """

    scenario: Path | Mapping[str, Any]
    overrides: tuple[str, ...]
    target: str | None
    serve: str | None
    workers: str


class RunOptions(NamedTuple):
    """Of a run.

    Attributes:
        results: where its folder goes; None: nothing is written.
        key_log: what gets the secrets of its tunnels; None: what SSLKEYLOGFILE names, if anything.
    """

    source: SourceOptions
    duration: str | None
    wait: str | None
    results: Path | None
    thresholds: tuple[str, ...]
    key_log: Path | None = None


class CapacityOptions(NamedTuple):
    """Of a search. results, key_log: as of a run."""

    source: SourceOptions
    dimensions: tuple[str, ...]
    slos: tuple[str, ...]
    starts: tuple[str, ...]
    maxima: tuple[str, ...]
    resolution: str | None
    hold: str | None
    confirm: str | None
    wait: str | None
    results: Path | None
    key_log: Path | None = None


class AnonymizeOptions(NamedTuple):
    """Of a capture that is written anew without names.

    Attributes:
        profile: how its messages lie; list: file of MACs and addresses. One of them.
        key: file by which names are made; None: a key that nobody learns, another one each time.
        keep_unknown: what the profile does not know stays.
        keylog: beside the secrets that the capture has inside.
        force: a file that is there may go.
    """

    source: Path
    out: Path
    profile: Path | None = None
    list: Path | None = None
    key: Path | None = None
    keep_unknown: bool = False
    keylog: Path | None = None
    force: bool = False


class RecordOptions(NamedTuple):
    """Of a recording.

    Attributes:
        listen, target: where MSEs dial, and the WLC ("wlc=HOST:PORT").
        identity: shown to the WLC; wlc_identity: shown to MSEs; None: a new one.
        trust: authorities of the WLC; None: any will do.
        demand_certificate, auth_list: what MSEs must show; neither: anybody is let in.
        key_hash, hash_over: what a list compares, and what is told of certificates.
        max_size, max_time: when it ends; rotate_size, rotate_time, files: when the next file begins, how many are kept.
        timeout: how long a session may take to come up, for each side.
        force: a file that is there may go.
    """

    listen: str
    target: str
    identity: Path
    out: Path
    wlc_identity: Path | None = None
    trust: Path | None = None
    demand_certificate: bool = False
    auth_list: Path | None = None
    key_hash: str = "sha256"
    hash_over: str = "spki"
    strong_cipher: bool = True
    old_certificates: bool = False
    max_size: str | None = None
    max_time: str | None = None
    rotate_size: str | None = None
    rotate_time: str | None = None
    files: int | None = None
    timeout: str = "10s"
    force: bool = False


class InferOptions(NamedTuple):
    """Of an inference.

    Attributes:
        out, as_json, report: files for the profile, the layout and the page; force: those that are there may go.
    """

    captures: tuple[Path, ...]
    hints: Path | None
    port: int
    key_log: Path | None
    out: Path
    as_json: Path | None = None
    report: Path | None = None
    force: bool = False
