"""What the operator knows of a capture (`hints.toml`), and what of it the capture contradicts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise
from statistics import median

import msgspec

from loadgen.capture.streams import Exchange
from loadgen.errors import InputError, Problem
from loadgen.infer.frames import Frame
from loadgen.infer.inference import Hints
from loadgen.infer.layout_document import LayoutDocument
from loadgen.infer.layout_reading import LayoutReader
from loadgen.strict import convert_untrusted
from loadgen.units import Duration

__all__ = ["HintsDocument", "contradicted", "hints_untrusted"]

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}")
# An interval may be off by this factor.
_OFF = 2.0
_FEW = 5
_NOTIFY = "measurement_notify"


class HintsDocument(msgspec.Struct, frozen=True):
    """The file.

    Attributes:
        aps, stations: MAC addresses that occur. mse: its address. interval: between notifications about one station.
    """

    aps: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    mse: str | None = None
    interval: str | None = None


def hints_untrusted(data: object, source: str) -> tuple[HintsDocument, Hints]:
    """Hints from a parsed file.

    Raises:
        InputError: every problem with its place.
    """
    document = convert_untrusted(data, HintsDocument, source)
    problems: list[Problem] = []

    def macs(name: str, texts: Sequence[str]) -> frozenset[bytes]:
        bad = [(i, text) for i, text in enumerate(texts) if not _MAC.fullmatch(text)]
        problems.extend(Problem(f"{source}: {name}[{i}]", "a MAC address", f'"{text}"') for i, text in bad)
        return frozenset(bytes.fromhex(re.sub("[:-]", "", text)) for text in texts if _MAC.fullmatch(text))

    aps, stations = macs("aps", document.aps), macs("stations", document.stations)
    addresses: set[bytes] = set()
    if document.mse is not None:
        try:
            address = ip_address(document.mse)
            addresses |= {address.packed} if address.version == 4 else set()
        except ValueError:
            problems.append(Problem(f"{source}: mse", "an IP address", f'"{document.mse}"'))
    interval_s = None
    if document.interval is not None:
        try:
            interval_s = Duration.parse(document.interval) / 1e9
        except ValueError:
            problems.append(Problem(f"{source}: interval", Duration.EXPECTED, f'"{document.interval}"'))
    if problems:
        raise InputError(problems)
    return document, Hints(aps, stations, frozenset(addresses), interval_s)


def contradicted(
    document: HintsDocument,
    hints: Hints,
    exchanges: Sequence[Exchange],
    layout: LayoutDocument | None,
    frames: Sequence[Frame],
) -> Iterator[str]:
    """Hints that do not fit the capture, each with what it has instead."""
    for name, texts in (("aps", document.aps), ("stations", document.stations)):
        for text in texts:
            if not _occurs(bytes.fromhex(re.sub("[:-]", "", text)), exchanges):
                yield f"{name}: {text} occurs nowhere in what was captured"
    clients = {exchange.conversation.client[0] for exchange in exchanges}
    if document.mse is not None and clients and document.mse not in clients:
        yield f"mse: {document.mse} began none of the sessions; {', '.join(sorted(clients)[:_FEW])} did"
    if hints.interval_s and layout is not None and (found := _interval_s(layout, frames)) is not None:
        times = found / hints.interval_s
        if not 1 / _OFF <= times <= _OFF:
            yield f"interval: {document.interval}, but a station is told of every {found:.1f} s, in the median"


def _occurs(mac: bytes, exchanges: Sequence[Exchange]) -> bool:
    return any(
        mac in run for exchange in exchanges for stream in (exchange.client, exchange.server) for _, run in stream.runs
    )


def _interval_s(layout: LayoutDocument, frames: Sequence[Frame]) -> float | None:
    """Between two notifications about one station, the median. None: it cannot be told."""
    reader = LayoutReader(layout)
    told: dict[tuple[int, str], list[int]] = {}
    for frame in frames:
        message = reader.message_of(frame.data, of_client=frame.of_client)
        if message is None or message.name != _NOTIFY:
            continue
        macs = [s for s in reader.read(frame.data, of_client=frame.of_client).spans if s.role == "mac"]
        if macs:
            told.setdefault((frame.session, frame.data[macs[0].start : macs[0].end].hex()), []).append(frame.ns)
    gaps = [later - earlier for times in told.values() for earlier, later in pairwise(times)]
    return median(gaps) / 1e9 if len(gaps) >= _FEW else None
