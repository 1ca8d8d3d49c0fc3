"""What is measured, against what, and what it should reach. Every figure comes from a process of its own."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import processes
from loadgen.identity.credentials import new_key, self_signed
from loadgen.nmsp.profile import reference_profile

Figures = dict[str, float]
Measure = Callable[[], Figures]
# What one case measured: variant -> one set of figures for each repeat.
Measured = Mapping[str, Sequence[Figures]]

NOTIFY_BYTES = reference_profile().notify_bytes(4)
_NOTIFY_ADDRESS, _NOTIFY_PORT = ip_address("127.0.22.1"), 22113
_LOCUST_WINDOW_S = 6.0
# A process that uses less of its core was waiting for the other side.
_BUSY = 0.9


class Row(NamedTuple):
    """A line of the table. `target` is a lower bound of the ratio or figure ("" if there is none)."""

    measure: str
    ours: str
    peer: str
    theirs: str
    ratio: str
    target: str
    met: bool | None
    note: str = ""


class Case(NamedTuple):
    """A group of variants that are measured in turn, `repeats` times round.

    Attributes:
        variants: by name; given what `surroundings` yields. The first is ours, the others are its peers.
        rows: of the table, from what was measured; a peer that is missing has no entry.
    """

    name: str
    repeats: int
    surroundings: Callable[[], AbstractContextManager[Any]]
    variants: Callable[[Any], dict[str, Measure]]
    rows: Callable[[Measured], list[Row]]


def median(measured: Sequence[Figures], name: str) -> float:
    return statistics.median(figures[name] for figures in measured)


def ratios(ours: Sequence[Figures], theirs: Sequence[Figures], name: str) -> list[float]:
    """Ours over theirs, round by round: both sides of a round met the same machine."""
    return [a[name] / b[name] for a, b in zip(ours, theirs, strict=False)]


def shown_ratio(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def spread(measured: Sequence[Figures], name: str, scale: float = 1.0, digits: int = 0) -> str:
    values = [figures[name] * scale for figures in measured]
    return f"{statistics.median(values):,.{digits}f} (best {max(values):,.{digits}f})"


# -- handshakes ----------------------------------------------------------------------------------------------------


class _Server(NamedTuple):
    """Where our WLC listens, and the client's PEM file."""

    address: str
    pem: Path


_HANDSHAKE_ADDRESS = "127.0.21.1:21113"
_S_TIME_S = 4


def _handshake_surroundings(key: str) -> Callable[[], AbstractContextManager[_Server]]:
    @contextmanager
    def surroundings() -> Iterator[_Server]:
        with tempfile.TemporaryDirectory() as folder:
            pem = client_pem(Path(folder), key)
            options = ("--set", f"tls.key={key}", "--duration", "20m")
            with processes.loadgen_wlc("handshakes", *options):
                yield _Server(_HANDSHAKE_ADDRESS, pem)

    return surroundings


def client_pem(folder: Path, key: str) -> Path:
    """A file with a new key and its self-signed certificate."""
    identity = self_signed("02:4d:53:00:00:01", new_key("p256" if key == "p256" else "rsa-2048"), datetime.now(UTC))
    path = folder / "client.pem"
    path.write_bytes(identity.key_pem + identity.certificate_pem)
    return path


def _handshake_variants(key: str) -> Callable[[_Server], dict[str, Measure]]:
    def variants(server: _Server) -> dict[str, Measure]:
        def ours() -> Figures:
            result = processes.loadgen_alone("handshakes", server.address, "--set", f"tls.key={key}")
            return _handshake_figures(result["counters"]["handshakes.completed"], _cpu_s(result), result)

        def s_time(*options: str) -> Figures:
            return _handshake_figures(*processes.s_time(server.address, server.pem, _S_TIME_S, *options))

        return {
            "loadgen": ours,
            "openssl s_time": s_time,
            # Without these it looks for its own authorities anew in every handshake, which is file system work.
            "openssl s_time, no CA lookups": lambda: s_time("-no-CAfile", "-no-CApath", "-no-CAstore"),
            "cryptography alone": lambda: processes.script("benchmarks.crypto", "handshake", key),
        }

    return variants


def _cpu_s(result: dict[str, Any]) -> float:
    """CPU time of the load: worker and supervisor."""
    return float(sum(worker["load_cpu_s"] for worker in result["workers"]) + result["supervisor_cpu_s"])


def _handshake_figures(count: int, cpu_s: float, result: dict[str, Any] | None = None) -> Figures:
    figures = {"count": count, "cpu_s": cpu_s, "per_cpu_s": count / cpu_s}
    if result is not None:
        figures["per_s"] = result["rates"]["handshake.completed_per_s"]
        figures["busy"] = cpu_s / result["load_s"]
    return figures


def _handshake_rows(key: str, target: float) -> Callable[[Measured], list[Row]]:
    def rows(measured: Measured) -> list[Row]:
        ours = measured["loadgen"]
        label = f"full mutual handshakes per CPU-second, {'P-256' if key == 'p256' else 'RSA-2048'}, TLS 1.2"
        found = []
        for peer, wanted in (("openssl s_time", target), ("openssl s_time, no CA lookups", None)):
            if theirs := measured.get(peer):
                values = ratios(ours, theirs, "per_cpu_s")
                found.append(
                    Row(
                        label,
                        spread(ours, "per_cpu_s"),
                        peer,
                        spread(theirs, "per_cpu_s"),
                        shown_ratio(values),
                        "" if wanted is None else f"≥ {wanted:g} x",
                        None if wanted is None else statistics.median(values) >= wanted,
                    )
                )
        if alone := measured.get("cryptography alone"):
            cost = [1e6 / figures["per_cpu_s"] for figures in ours]
            crypto = median(alone, "client_s") * 1e6
            found.append(
                Row(
                    f"CPU of one handshake, {'P-256' if key == 'p256' else 'RSA-2048'}, TLS 1.2",
                    f"{statistics.median(cost):.0f} µs (best {min(cost):.0f})",
                    "its cryptography alone",
                    f"{crypto:.0f} µs",
                    f"{statistics.median(cost) / crypto:.2f}",
                    "report",
                    None,
                )
            )
        return found

    return rows


def _handshake_case(key: str, target: float) -> Case:
    surroundings = _handshake_surroundings(key)
    return Case(f"handshake-{key}", 3, surroundings, _handshake_variants(key), _handshake_rows(key, target))


# -- notifications -------------------------------------------------------------------------------------------------


def notify_figures(result: dict[str, Any]) -> Figures:
    """Of a run of both sides: what arrived, and each worker's CPU time for it."""
    counters, load_s = result["counters"], result["load_s"]
    wlc, mse = result["workers"]
    received = counters["notify.received"]
    return {
        "received": received,
        "per_s": result["rates"]["notify.received_per_s"],
        "per_write": counters["notify.sent"] / max(1, counters["notify.writes"]),
        "lost": counters["notify.lost"],
        "sessions": counters["sessions.established"],
        "wlc_cpu_ns": wlc["load_cpu_s"] / received * 1e9,
        "mse_cpu_ns": mse["load_cpu_s"] / received * 1e9,
        "wlc_busy": wlc["load_cpu_s"] / load_s,
        "mse_busy": mse["load_cpu_s"] / load_s,
        "lag_p99_ns": result["metrics"]["notify.lag"]["p99"],
        "latency_p99_ns": result["metrics"]["notify.latency"]["p99"],
    }


def _locust_variant(pem: Path, wlcs: int, *options: str) -> Figures:
    """The same WLCs, and a Locust user for each of their sessions; a quiet first stage lets all users come up."""
    # The schedule begins with the first session, and Locust needs some seconds for the rest.
    quiet_s = 4 + wlcs // 200
    stages = f'load.stages=[{{hold="{quiet_s}s",rate={wlcs}}},{{hold="{_LOCUST_WINDOW_S + 8:.0f}s"}}]'
    processes.need_locust()
    with processes.loadgen_wlc("notifications", "--set", f"wlc.count={wlcs}", *options, "--set", stages):
        targets = [f"{_NOTIFY_ADDRESS + number}:{_NOTIFY_PORT}" for number in range(wlcs)]
        figures = processes.locust(targets, pem, wlcs, int(quiet_s + _LOCUST_WINDOW_S + 3))
    last = figures["samples"][-1]
    begin = next(sample for sample in figures["samples"] if sample[0] >= last[0] - _LOCUST_WINDOW_S * 1e9)
    seconds = (last[0] - begin[0]) / 1e9
    received, cpu_s = last[1] - begin[1], last[2] - begin[2]
    return {
        "received": received,
        "per_s": received / seconds,
        "lost": figures["lost"],
        "sessions": begin[3],
        "mse_cpu_ns": cpu_s / received * 1e9,
        "mse_busy": cpu_s / seconds,
    }


@contextmanager
def _with_pem() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield client_pem(Path(folder), "p256")


def _bulk_variants(pem: Path) -> dict[str, Measure]:
    return {
        "loadgen": lambda: notify_figures(processes.loadgen_both("notifications")),
        "Locust user": lambda: _locust_variant(pem, 100, "--set", "load.rate=500000"),
        "AES-128-GCM": lambda: processes.script("benchmarks.crypto", "gcm"),
    }


_SINGLE_SESSIONS = 1000
# What either receiver can take, so that no two notifications meet in one write.
_EVEN_PER_S = 30_000
_FLAT_OUT_PER_S = 150_000


def _single_variants(pem: Path) -> dict[str, Measure]:
    single = ("--set", "load.burst=1", "--set", "wlc.stations=20")
    count = ("--set", f"wlc.count={_SINGLE_SESSIONS}")

    def ours(per_s: int) -> Figures:
        options = (*single, *count, "--set", f"load.rate={per_s}")
        return notify_figures(processes.loadgen_both("notifications", *options))

    return {
        "loadgen": lambda: ours(_EVEN_PER_S),
        "Locust user": lambda: _locust_variant(pem, _SINGLE_SESSIONS, *single, "--set", f"load.rate={_EVEN_PER_S}"),
        "loadgen, flat out": lambda: ours(_FLAT_OUT_PER_S),
    }


def _single_rows(measured: Measured) -> list[Row]:
    label = f"notifications/s received and recorded, {_SINGLE_SESSIONS:,} sessions, one per write"
    ours, flat_out = measured["loadgen"], measured["loadgen, flat out"]
    figure, per_write = median(flat_out, "per_s"), median(flat_out, "per_write")
    note = f"{per_write:.2f} per write; {_bottleneck(flat_out[-1])}"
    met = figure >= 100_000 and per_write < 1.05
    found = [Row(label, spread(flat_out, "per_s"), "", "", "", "≥ 100,000", met, note)]
    if theirs := measured.get("Locust user"):
        values = ratios(theirs, ours, "mse_cpu_ns")
        found.append(
            Row(
                f"the same per CPU-second of the receiver, at {_EVEN_PER_S:,}/s",
                f"{1e9 / median(ours, 'mse_cpu_ns'):,.0f}",
                "Locust user",
                f"{1e9 / median(theirs, 'mse_cpu_ns'):,.0f}",
                shown_ratio(values),
                "≥ 3 x",
                statistics.median(values) >= 3,
                f"{median(ours, 'per_write'):.2f} per write",
            )
        )
    return found


def _bottleneck(figures: Figures) -> str:
    sender, receiver = figures["wlc_busy"], figures["mse_busy"]
    if max(sender, receiver) < _BUSY:
        return "neither side was busy: the offered rate is the limit"
    return "sender (the counterpart) is the bottleneck" if sender > receiver else "receiver is the bottleneck"


def _bulk_rows(measured: Measured) -> list[Row]:
    label = "notifications/s received and recorded, 100 sessions, 64 and more per write"
    ours, gcm = measured["loadgen"], measured["AES-128-GCM"]
    figure, figures = median(ours, "per_s"), spread(ours, "per_s")
    note = f"{median(ours, 'per_write'):.0f} per write; {_bottleneck(ours[-1])}"
    found = [Row(label, figures, "", "", "", "≥ 4,000,000", figure >= 4e6, note)]
    if theirs := measured.get("Locust user"):
        values, busy = ratios(ours, theirs, "per_s"), median(theirs, "mse_busy")
        note = "" if busy >= _BUSY else f"Locust used {busy:.0%} of its core: its counterpart is the bottleneck"
        met = statistics.median(values) >= 100
        found.append(
            Row(label, figures, "Locust user", spread(theirs, "per_s"), shown_ratio(values), "≥ 100 x", met, note)
        )
    rate = statistics.median(NOTIFY_BYTES * 1e9 / figures["wlc_cpu_ns"] for figures in ours)
    alone = median(gcm, "bytes_per_s")
    mb = (f"{rate / 1e6:,.0f}", "AES-128-GCM, 16 KiB blocks", f"{alone / 1e6:,.0f}", f"{rate / alone:.2f}")
    return [*found, Row("encode and send, MB per CPU-second", *mb, "report", None)]


# -- many sessions -------------------------------------------------------------------------------------------------


def _sessions_variants(_: None) -> dict[str, Measure]:
    def run(*options: str) -> Figures:
        result = processes.loadgen_both("sessions", *options)
        counters = result["counters"]
        wlc, mse = result["workers"]
        return {
            **notify_figures(result),
            "echo_sent": counters["echo.sent"],
            "echo_answered": counters["echo.answered"],
            "dropped": counters["notify.dropped"],
            "wlc_rss": wlc["rss_bytes"],
            "mse_rss": mse["rss_bytes"],
            "gave_up": counters["sessions.failed"] + counters["sessions.lost"],
        }

    return {
        # Every WLC tells each MSE ten notifications once a second, in one write: it aggregates, as controllers do.
        "10,000 sessions": lambda: run("--set", "load.burst=10"),
        "10,000 sessions, one per write": lambda: run("--duration", "20s"),
        "100 sessions": lambda: run("--set", "mse.count=1", "--duration", "5s"),
    }


def _sessions_rows(measured: Measured) -> list[Row]:
    many, few = measured["10,000 sessions"][-1], measured["100 sessions"][-1]
    found = []
    for side in ("wlc", "mse"):
        each = (many[f"{side}_rss"] - few[f"{side}_rss"]) / (many["sessions"] - few["sessions"]) / 1024
        label = f"resident memory per session, {side.upper()} side, {many['sessions']:,.0f} sessions"
        found.append(Row(label, f"{each:.1f} KiB", "", "", "", "≤ 40 KiB", each <= 40))
    found.append(_sessions_row("ten per write, for 60 s", many))
    if even := measured.get("10,000 sessions, one per write"):
        found.append(_sessions_row("one per write, for 20 s", even[-1]))
    return found


def _sessions_row(how: str, figures: Figures) -> Row:
    lag_ms = figures["lag_p99_ns"] / 1e6
    sessions, lost, dropped = (f"{figures[name]:,.0f}" for name in ("sessions", "lost", "dropped"))
    echo = f"{figures['echo_answered']:,.0f} of {figures['echo_sent']:,.0f} echoes answered"
    return Row(
        f"{sessions} sessions, 10 notifications/s each ({figures['per_s']:,.0f}/s in all), {how}",
        f"lost {lost}, dropped {dropped}, p99 of lag {lag_ms:.1f} ms",
        "",
        "",
        "",
        "lost 0, p99 ≤ 20 ms",
        figures["sessions"] == 10_000 and not figures["lost"] and not figures["gave_up"] and lag_ms <= 20,
        f"{echo}; {figures['per_write']:.2f} per write; {_bottleneck(figures)}",
    )


_TOTAL_PER_S = 20_000
SCALE = (100, 1_000, 10_000)


def _scale_variants(_: None) -> dict[str, Measure]:
    def run(sessions: int) -> Figures:
        mses = sessions // 100
        options = ("--set", f"mse.count={mses}", "--set", f"load.rate={_TOTAL_PER_S / mses}", "--duration", "6s")
        return notify_figures(processes.loadgen_both("sessions", *options))

    return {f"{sessions:,} sessions": lambda sessions=sessions: run(sessions) for sessions in SCALE}  # type: ignore[misc]


def cost_curve(measured: Measured) -> list[tuple[int, float, float]]:
    """(sessions, CPU of the WLC side, of the MSE side), in µs per notification; medians."""
    points = ((n, measured[f"{n:,} sessions"]) for n in SCALE)
    return [(n, median(found, "wlc_cpu_ns") / 1e3, median(found, "mse_cpu_ns") / 1e3) for n, found in points]


def _scale_rows(measured: Measured) -> list[Row]:
    curve = cost_curve(measured)
    found = []
    for column, side in ((1, "WLC"), (2, "MSE")):
        growth = curve[-1][column] / curve[0][column]
        figures = " → ".join(f"{point[column]:.1f}" for point in curve)
        label = f"CPU per notification, {side} side, 100 → 1,000 → 10,000 sessions at {_TOTAL_PER_S:,}/s in all"
        found.append(Row(label, f"{figures} µs", "itself", "", f"{growth:.2f}", "≤ 2 x", growth <= 2))
    return found


CASES = (
    _handshake_case("p256", 2.0),
    _handshake_case("rsa-2048", 1.7),
    Case("bulk", 3, _with_pem, _bulk_variants, _bulk_rows),
    Case("single", 3, _with_pem, _single_variants, _single_rows),
    Case("sessions", 1, nullcontext, _sessions_variants, _sessions_rows),
    Case("scale", 2, nullcontext, _scale_variants, _scale_rows),
)
