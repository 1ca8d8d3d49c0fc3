"""Which message is which: from who says it, when, how regularly, and who answers; the header is known here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.inference.bodies import CORE
from benchmarks.inference.layouts import Device, make_device
from benchmarks.inference.making import make_tunnels
from loadgen.infer.frames import Frame
from loadgen.infer.framing import FrameCut
from loadgen.infer.header import HeaderFound
from loadgen.infer.heads import Heads
from loadgen.infer.kinds import Named, by_bodies, name_messages
from loadgen.infer.layout_document import place_of
from loadgen.infer.layout_reading import LayoutReader

Keep = Callable[[str, int], bool]


def named_of(device: Device, keep: Keep = lambda name, at: True, *, transaction: bool = True) -> dict[str, str]:
    """The true names of messages, with those that are given. Args: keep: by name and second of the session."""
    reader = LayoutReader(device.layout())
    frames: list[Frame] = []
    names: list[tuple[bool, str]] = []
    for session, tunnel in enumerate(make_tunnels(device, "scoring", 900)):
        for of_mse in (True, False):
            at = 0
            for sent in tunnel.frames:
                if sent.of_mse != of_mse or not keep(sent.message, (sent.ns - tunnel.began_ns) // 10**9):
                    continue
                frames.append(Frame(session, of_mse, at, sent.ns, sent.data))
                names.append((of_mse, sent.message))
                at += len(sent.data)
    kinds = sorted({*names})
    kind = np.array([kinds.index(name) for name in names], np.int64)
    ids = [(of_mse, reader.message_id(frames[names.index((of_mse, name))].data)) for of_mse, name in kinds]
    known = None
    for each in reader.layout.header.fields:
        if each.role == "transaction" and transaction:
            at, size = place_of(each)
            known = {"at": at, "size": size, "order": each.order or device.order}
    framing = FrameCut(0, 2, "big", 1, 0)
    header = HeaderFound(reader.layout.header.size, device.order, [], framing, kind, ids, known)  # type: ignore[arg-type]
    named = name_messages(Heads(frames), header, reader.layout.trailer.size)
    given = dict(zip((name for _, name in kinds), named.names, strict=True))
    assert all(said in given.values() for _, said in named.dialogue)
    return given


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 6, 7, 10])
@pytest.mark.parametrize("transaction", [True, False])
def test_the_messages_that_a_session_needs(seed: int, transaction: bool) -> None:
    given = named_of(make_device(seed), transaction=transaction)
    assert {name: given[name] for name in CORE} == {name: name for name in CORE}
    assert not {*CORE} & {said for name, said in given.items() if name not in CORE}


def test_a_session_without_echoes_has_none() -> None:
    given = named_of(make_device(1), lambda name, at: not name.startswith("echo"))
    assert "echo_request" not in given.values()
    assert given["measurement_notify"] == "measurement_notify"


def test_without_beginnings_only_what_goes_on_is_named() -> None:
    given = named_of(make_device(1), lambda name, at: at > 5 and not name.startswith("subscribe"))
    assert {said for said in given.values() if not said.startswith(("wlc_", "mse_"))} == {
        *("echo_request", "echo_response", "measurement_notify"),
    }


def test_what_is_in_a_body_tells_who_a_station_is_and_what_it_has_sent() -> None:
    named = Named(["wlc_0x1", "wlc_0x2", "wlc_0x3", "mse_0x4", "wlc_0x5"], answers={3: 2})
    mac, text, counter = ({"role": role} for role in ("mac", "text", "counter"))
    statistics = {"fields": [mac, counter, counter, counter]}
    nodes = [{"fields": [mac, text]}, {"repeats": [{"record": statistics}]}, statistics, {"fields": [mac]}, {}]
    assert by_bodies(named, nodes, [False, False, False, True, False]) == [
        *("client_info_notify", "client_statistics_notify", "client_statistics_response", "statistics_request"),
        "wlc_0x5",
    ]


def test_a_notification_in_between_is_no_answer() -> None:
    """Without transactions, notifications go on while a second subscription waits for its answer."""
    ids = {"V": (True, 1), "v": (False, 1), "c": (False, 2), "S": (True, 3), "s": (False, 3), "m": (False, 4)}
    frames, kind = [], []
    for session in range(4):
        for at, letter in enumerate("VvcSs" + 20 * "m" + "Sms" + 20 * "m" + "Smms" + 20 * "m"):
            of_mse, number = ids[letter]
            offset = 0 if letter in "Vv" else 1
            frames.append(Frame(session, of_mse, offset, (60 * session + at) * 10**8, bytes([number]).ljust(50, b"\0")))
            kind.append([*ids].index(letter))
    header = HeaderFound(4, "big", [], FrameCut(0, 1, "big", 1, 0), np.array(kind, np.int64), [*ids.values()], None)  # type: ignore[arg-type]
    named = name_messages(Heads(frames), header, 0)
    assert named.names[3:] == ["subscribe_request", "subscribe_response", "measurement_notify"]


def test_of_a_few_requests_one_may_be_without_its_answer() -> None:
    """A segment of one of three sessions was lost."""
    ids = {"V": (True, 1), "v": (False, 1), "c": (False, 2), "S": (True, 3), "s": (False, 3), "m": (False, 4)}
    frames, kind = [], []
    for session, opening in enumerate(("VvcSs", "VcSs", "VvcSs")):
        for at, letter in enumerate(opening + 20 * "m"):
            of_mse, number = ids[letter]
            offset = 0 if letter in "Vv" else 1
            data = bytes([number, at]).ljust(50, b"\0")
            frames.append(Frame(session, of_mse, offset, (60 * session + at) * 10**8, data))
            kind.append([*ids].index(letter))
    header = HeaderFound(4, "big", [], FrameCut(0, 1, "big", 1, 0), np.array(kind, np.int64), [*ids.values()], None)  # type: ignore[arg-type]
    named = name_messages(Heads(frames), header, 0)
    assert named.names == [
        *("version_request", "version_response", "capability", "subscribe_request", "subscribe_response"),
        "measurement_notify",
    ]
