"""What a command does, as functions of typed values. `run`, `capacity`, `compare`, `record`, `infer`: the public API.

They print nothing and end nothing: what came of it is returned, what was wrong with the input is raised. Importing
them is light; they import what they need when they are called. docs/python.md has examples.

Behind them: `options` (what is asked for, as values; `replaying`: of a capture; `replaying_raw`: without a profile) and
`source` (from there to a scenario that was read; `recorded`: with its capture); `runner`, `searcher` and `saved` do it,
and `onlooker` is whoever is told meanwhile. Commands of the command line, from options to an exit code: `showing_run`
(`loadgen run`), `showing_search` (`capacity`), `results` (`compare`, `export`), `pairing` (`ab`) with `target` (a
command that is one), `inquiry` (`status`), `recorder` and `showing_record` (`record`), `anonymizer` with
`anonymous_frames` and `showing_anonymous` (`record anonymize`), `inferrer` and `showing_inference` (`infer`);
`watching` (a run as it goes on), `tracing` (its handshakes), `key_log` (the secrets of its tunnels), `identities` (that
options name), `advice` (what to try next), `output` (what is printed).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loadgen.commands.onlooker import Onlooker
from loadgen.commands.options import CapacityOptions, RecordOptions, RunOptions, SourceOptions
from loadgen.errors import InputError, NotWritten, Problem

if TYPE_CHECKING:
    from loadgen.capacity.result import CapacityResult
    from loadgen.commands.inferrer import InferResult
    from loadgen.commands.recorder import RecordResult
    from loadgen.compare.result import Comparison
    from loadgen.measure.progress import Snapshot
    from loadgen.relay.recording import RecordProgress
    from loadgen.report.folder import ResultFolder
    from loadgen.results.result import RunResult

__all__ = ["DimensionName", "capacity", "compare", "infer", "record", "run"]

DimensionName = Literal["handshake.per_s", "notify.per_s", "sessions", "stations", "scale", "speed"]


def _nothing(_: object) -> None:
    """Nobody looks on."""


def run(
    scenario: str | PathLike[str] | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    target: str | None = None,
    serve: Literal["wlc", "mse"] | None = None,
    workers: int | Literal["auto"] = "auto",
    duration: str | None = None,
    wait_for_target: str | None = None,
    thresholds: Sequence[str] = (),
    results: str | PathLike[str] | None = None,
    keylog: str | PathLike[str] | None = None,
    on_progress: Callable[[Snapshot], None] = _nothing,
    on_line: Callable[[str], None] = _nothing,
    on_listening: Callable[[Sequence[tuple[str, int]]], None] = _nothing,
) -> RunResult:
    """Run a scenario once, as `loadgen run` does: both sides of it, or the one that is ours.

    To be called in the main thread, and not within trio: it runs one, and handles Ctrl-C, which ends the run in order.
    How it went is in the result's `verdict`, also where no session came up, or it was interrupted.

    Args:
        scenario: its file, or what would be in it, as tables of a TOML file are read.
        overrides: "path=value", as `--set` has them.
        target: "wlc=HOST:PORT[,...]": play the MSEs, at somebody else's WLCs.
        serve: play this side only.
        workers: processes per side.
        duration: of the load's last stage, instead of the scenario's, e.g. "30s".
        wait_for_target: how long to wait for a side that is not there yet, e.g. "30s".
        thresholds: beside the scenario's own, e.g. "notify.latency.p99 < 50ms".
        results: where the run's folder is made; None: nothing is written.
        keylog: what the secrets of all tunnels are appended to; None: what SSLKEYLOGFILE names, or nothing.
        on_progress: told twice a second what the run looks like.
        on_line: told a line for people now and then.
        on_listening: told where our WLCs listen, when they do and before anything is dialed; nothing if none are ours.

    Raises:
        InputError: something is not usable, with every problem that was found; nothing was sent.
        NotWritten: files of the result could not be written; it has the result.
        RuntimeError: in another thread, or within trio.
    """
    _check_thread()
    from loadgen.commands.runner import prepare_run

    source = _source(scenario, overrides, target, serve, workers)
    demands = _texts("thresholds", thresholds)
    options = RunOptions(source, duration, wait_for_target, _path(results), demands, _path(keylog))
    prepared = prepare_run(options)
    result = prepared.execute(Onlooker(on_progress, on_line), listening=on_listening)
    _check_written(prepared.folder, result)
    return result


def replay(
    capture: str | PathLike[str],
    *,
    profile: str | PathLike[str] | None = None,
    scale: int | None = None,
    speed: float | None = None,
    rate: float | None = None,
    macs: Literal["local", "oui"] | None = None,
    aps: bool = False,
    capture_keylog: str | PathLike[str] | None = None,
    listen: str | None = None,
    overrides: Sequence[str] = (),
    target: str | None = None,
    serve: Literal["wlc", "mse"] | None = None,
    workers: int | Literal["auto"] = "auto",
    duration: str | None = None,
    wait_for_target: str | None = None,
    thresholds: Sequence[str] = (),
    results: str | PathLike[str] | None = None,
    keylog: str | PathLike[str] | None = None,
    on_progress: Callable[[Snapshot], None] = _nothing,
    on_line: Callable[[str], None] = _nothing,
    on_listening: Callable[[Sequence[tuple[str, int]]], None] = _nothing,
) -> RunResult:
    """Play what WLCs said in a capture, as `loadgen replay` does. What is not said here is as for `run`.

    Args:
        capture: a pcap or pcapng file.
        profile: the wire profile that reads it; None: the one that comes with this package.
        scale: endpoints that play it.
        speed: times as fast as recorded, 0.1 to 100; or `rate`: notifications per second of all of them.
        macs: where MACs of devices are mapped to; aps: and those of access points.
        capture_keylog: the secrets of the tunnels in the capture, where they are not inside.
        listen: where the first of our WLCs does, e.g. "192.0.2.1:16113".
        duration: e.g. "30s"; None: as long as the capture.

    Raises:
        InputError, NotWritten, RuntimeError: as `run`.
    """
    _check_thread()
    from loadgen.commands.replaying import ReplayOptions, source_of
    from loadgen.commands.runner import prepare_run

    paths = Path(capture), _path(profile), _path(capture_keylog)
    source = source_of(
        ReplayOptions(
            *(paths[0], paths[1], scale, speed, rate, macs, aps, paths[2]),
            *(listen, _texts("overrides", overrides), target, serve, str(workers)),
        )
    )
    demands = _texts("thresholds", thresholds)
    prepared = prepare_run(RunOptions(source, duration, wait_for_target, _path(results), demands, _path(keylog)))
    result = prepared.execute(Onlooker(on_progress, on_line), listening=on_listening)
    _check_written(prepared.folder, result)
    return result


def capacity(
    scenario: str | PathLike[str] | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    target: str | None = None,
    serve: Literal["wlc", "mse"] | None = None,
    workers: int | Literal["auto"] = "auto",
    dimensions: Sequence[DimensionName] = (),
    slos: Sequence[str] = (),
    start: Mapping[DimensionName, float] | None = None,
    maximum: Mapping[DimensionName, float] | None = None,
    resolution: float | None = None,
    hold: str | None = None,
    confirm: str | None = None,
    wait_for_target: str | None = None,
    results: str | PathLike[str] | None = None,
    keylog: str | PathLike[str] | None = None,
    on_progress: Callable[[Snapshot], None] = _nothing,
    on_line: Callable[[str], None] = _nothing,
) -> CapacityResult:
    """Search for the limits of a target, as `loadgen capacity` does. What is not said here is as for `run`.

    Args:
        dimensions: what to raise; none: handshakes and notifications, as far as our side makes them.
        slos: what must hold under every load, instead of the scenario's `capacity.slo`.
        start, maximum: where to begin and to end, of dimensions that are searched.
        resolution: how exact the limit is to be, as a share, e.g. 0.05.
        hold, confirm: how long each load is held, and the limit in the end, e.g. "4s".
        on_line: told each load that was tried.

    Raises:
        InputError, NotWritten, RuntimeError: as `run`.
    """
    _check_thread()
    from loadgen.commands.searcher import search

    options = CapacityOptions(
        source=_source(scenario, overrides, target, serve, workers),
        dimensions=_texts("dimensions", dimensions),
        slos=_texts("slos", slos),
        starts=_sizes(start),
        maxima=_sizes(maximum),
        resolution=None if resolution is None else repr(resolution),
        hold=hold,
        confirm=confirm,
        wait=wait_for_target,
        results=_path(results),
        key_log=_path(keylog),
    )
    searched = search(options, lambda _: nullcontext(Onlooker(on_progress, on_line)))
    _check_written(searched.folder, searched.result)
    return searched.result


def compare(
    baseline: Sequence[str | PathLike[str] | RunResult],
    new: Sequence[str | PathLike[str] | RunResult],
    *,
    relevant_rate: float = 0.075,
    relevant_latency: float = 0.15,
) -> Comparison:
    """Judge results of runs by others of the same load, as `loadgen compare` does.

    Args:
        baseline, new: results, their files, or their folders; one or more of each.
        relevant_rate, relevant_latency: the smallest changes that matter, as shares.

    Raises:
        InputError: a side without a result; one that cannot be read, is given twice, or is of another load.
    """
    from loadgen.commands.saved import compare_results
    from loadgen.compare.metrics import Relevant

    for name, share in (("relevant_rate", relevant_rate), ("relevant_latency", relevant_latency)):
        if not 0 < share < float("inf"):
            raise InputError(Problem(name, "a share above 0, such as 0.075", repr(share)))
    sides = (_results("baseline", baseline), _results("new", new))
    return compare_results(*sides, Relevant(rate=relevant_rate, latency=relevant_latency))


def record(
    listen: str,
    target: str,
    identity: str | PathLike[str],
    out: str | PathLike[str],
    *,
    wlc_identity: str | PathLike[str] | None = None,
    trust: str | PathLike[str] | None = None,
    demand_certificate: bool = False,
    auth_list: str | PathLike[str] | None = None,
    key_hash: Literal["sha256", "sha1"] = "sha256",
    hash_over: Literal["spki", "public-key", "certificate"] = "spki",
    strong_cipher: bool = True,
    old_certificates: bool = False,
    max_size: str | None = None,
    max_time: str | None = None,
    rotate_size: str | None = None,
    rotate_time: str | None = None,
    files: int | None = None,
    timeout: str = "10s",
    force: bool = False,
    on_progress: Callable[[RecordProgress], None] = _nothing,
    on_line: Callable[[str], None] = _nothing,
    on_warning: Callable[[str], None] = _nothing,
    on_listening: Callable[[Sequence[tuple[str, int]]], None] = _nothing,
) -> RecordResult:
    """Record what MSEs and a WLC say, as `loadgen record` does, until a limit or a signal. Called where `run` may be.

    Args:
        listen: where MSEs dial, "192.0.2.1:16113"; target: the WLC, "wlc=192.0.2.7:16113".
        identity: key and certificate (PEM) shown to the WLC; wlc_identity: shown to MSEs; None: a new one.
        out: the file, of pcapng.
        trust: authorities of the WLC (PEM); None: any certificate will do.
        demand_certificate, auth_list: what an MSE must show; neither: anybody is let in.
        max_size, max_time: when it ends, e.g. "500MB", "30m".
        rotate_size, rotate_time, files: when the next file begins, and how many are kept.
        timeout: how long a session may take to come up, for each side.
        force: a file that is there may go.
        on_progress: told twice a second how far it is.
        on_line: told a line for people now and then; on_warning: and what nobody should miss.
        on_listening: told where MSEs can dial.

    Raises:
        InputError: something is not usable; nobody was listened to, and no file was made.
        RuntimeError: in another thread.
    """
    _check_thread()
    from loadgen.commands import recorder

    options = RecordOptions(
        listen=listen,
        target=target,
        identity=Path(identity),
        out=Path(out),
        wlc_identity=_path(wlc_identity),
        trust=_path(trust),
        demand_certificate=demand_certificate,
        auth_list=_path(auth_list),
        key_hash=key_hash,
        hash_over=hash_over,
        strong_cipher=strong_cipher,
        old_certificates=old_certificates,
        max_size=max_size,
        max_time=max_time,
        rotate_size=rotate_size,
        rotate_time=rotate_time,
        files=files,
        timeout=timeout,
        force=force,
    )
    return recorder.record(
        options, on_line=on_line, on_warning=on_warning, on_progress=on_progress, on_listening=on_listening
    )


def infer(
    captures: Sequence[str | PathLike[str]],
    *,
    hints: str | PathLike[str] | None = None,
    port: int = 16113,
    keylog: str | PathLike[str] | None = None,
    name: str = "found",
    on_line: Callable[[str], None] = _nothing,
) -> InferResult:
    """Find the layout of a device in captures of its sessions, as `loadgen infer` does. In any thread.

    Args:
        captures: pcap or pcapng, all of one device.
        hints: a TOML file with what is known of them.
        port: of the WLCs, where the beginning of a connection was not captured.
        keylog: the secrets of their tunnels (NSS format), beside those that captures have inside.
        name: of the profile.
        on_line: told what is being done.

    Raises:
        InputError: something is not usable, or all sessions are encrypted and their keys are missing.
    """
    from loadgen.commands import inferrer

    given = _texts("captures", [str(each) for each in captures] if not isinstance(captures, str) else captures)
    return inferrer.infer(given, hints=hints, port=port, keylog=keylog, name=name, on_progress=on_line)


def _source(
    scenario: str | PathLike[str] | Mapping[str, Any],
    overrides: Sequence[str],
    target: str | None,
    serve: str | None,
    workers: int | str,
) -> SourceOptions:
    given = scenario if isinstance(scenario, Mapping) else Path(scenario)
    return SourceOptions(given, _texts("overrides", overrides), target, serve, str(workers))


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _texts(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Refuse one text in the place of several: it would be a sequence of letters."""
    if isinstance(texts, str):
        raise TypeError(f'{name}: expected a sequence of texts, found "{texts}"')
    return tuple(texts)


def _sizes(given: Mapping[DimensionName, float] | None) -> tuple[str, ...]:
    """As options have them."""
    return tuple(f"{name}={value!r}" for name, value in (given or {}).items())


def _results(name: str, given: Sequence[str | PathLike[str] | RunResult]) -> list[Path | RunResult]:
    if isinstance(given, str):
        raise TypeError(f'{name}: expected a sequence of results, found "{given}"')
    return [Path(each) if isinstance(each, str | PathLike) else each for each in given]


def _check_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a run is led from the main thread: Python handles signals there, and nowhere else")


def _check_written(folder: ResultFolder | None, result: RunResult | CapacityResult) -> None:
    if folder is not None and (troubles := folder.troubles):
        raise NotWritten(result, troubles)
