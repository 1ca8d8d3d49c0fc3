"""An answer as text and in the names of the data model."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from loadgen.commands.inquiry import controller, read_peer
from loadgen.errors import InputError
from loadgen.report import status as shown
from loadgen.status.answer import (
    Answer,
    PeerRow,
    Question,
    Refusal,
    RunInfo,
    Side,
    SideCounts,
    Subject,
    add_counts,
    one_per_address,
)
from loadgen.status.model import STATISTICS, document, instance

RUN = RunInfo(4711, "campus", "abc", "serve-wlc", "notify", "load", "hold", 3.25, 30.0)
MESSAGES = {1: "version_request", 6: "echo_request", 7: "echo_response", 16: "measurement_notify"}


def row(**changes: Any) -> PeerRow:
    values: dict[str, Any] = {
        "owner": 0,
        "owner_mac": "02:57:4c:00:00:00",
        "address": "9.9.71.110",
        "port": 40212,
        "connection_id": 3,
        "phase": "active",
        "offered": 0x68EBE7,
        "granted": 0b1000000001,
        "connections": 2,
        "disconnections": 1,
        "sent": {7: 439, 16: 22965},
        "heard": {1: 20, 6: 439},
        "unsupported": 2,
        "echo_sent": 439,
        "echo_heard": 439,
    }
    return PeerRow(**values | changes)


def answer(*rows: PeerRow, role: str = "wlc", **changes: Any) -> Answer:
    counts = SideCounts(
        len(rows), sum(r.active for r in rows), len(rows), {}, {}, {"accept-success": 2, "accept-fail": 0}
    )
    values: dict[str, Any] = {
        "role": role,
        "endpoints": 1,
        "capability": 0x68EBE7 if role == "wlc" else 0,
        "transport": "TLS",
        "counts": counts,
        "rows": rows,
        "messages": MESSAGES,
        "missing": (),
    }
    return Answer(RUN, (Side(**values | changes),))


# As `show nmsp status` is read by those who parse what a controller prints; what follows is ours.
STATUS = re.compile(r"^(\S+)\s+(Active|Inactive)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(TLS|HTTPS)\s+(\d+)\s+(\d+)$")


class TestStatus:
    """`loadgen status` without an option."""

    def test_rows_are_those_of_show_nmsp_status(self) -> None:
        down = row(
            address="2001:bebe::1", phase="down", sent={1: 1}, heard={}, unsupported=0, echo_sent=0, echo_heard=0
        )
        text = shown.overview(answer(down, row())).splitlines()
        assert text[0] == "campus (pid 4711): our WLCs, for somebody else's MSEs, load · hold, 3.2 of 30.0 s"
        assert text[2] == "1 WLC of ours: 1 of 2 peers active"
        columns = [
            "DNA Spaces/CMX IP Address",
            "Active",
            "Tx Echo Resp",
            "Rx Echo Req",
            "Tx Data",
            "Rx Data",
            "Transport",
        ]
        assert re.split(r"\s{2,}", text[3].replace("Tx Echo Resp Rx", "Tx Echo Resp  Rx")) == [*columns, "Port", "WLC"]
        assert set(text[4]) == {"-"}
        rows = [found.groups() for line in text[5:] if (found := STATUS.match(line))]
        assert rows == [
            ("2001:bebe::1", "Inactive", "0", "0", "1", "0", "TLS", "40212", "0"),
            # Echo is not in the data counters; an unsupported message is data that came.
            ("9.9.71.110", "Active", "439", "439", "22965", "22", "TLS", "40212", "0"),
        ]

    def test_columns_stand_under_their_heads(self) -> None:
        text = shown.overview(answer(row(address="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"))).splitlines()
        for value, head in (("22965", "Tx Data"), ("TLS", "Transport"), ("40212", "Port")):
            assert text[5].index(value) == text[3].index(head)

    def test_an_mse_asks_where_a_wlc_answers(self) -> None:
        text = shown.overview(answer(row(), role="mse"))
        assert "WLC IP Address" in text
        assert "Tx Echo Req   Rx Echo Resp" in text

    def test_what_is_not_shown_is_told(self) -> None:
        counts = SideCounts(5000, 4990, 5000, {}, {}, {})
        text = shown.overview(answer(row(), counts=counts, missing=("worker wlc-1 died",)))
        assert "4,990 of 5,000 peers active" in text
        assert "  missing: worker wlc-1 died" in text
        assert text.endswith("... 4,999 more: --all, --limit N or --peer ADDRESS")
        assert shown.overview(answer(counts=SideCounts(5, 5, 0, {}, {}, {}))).endswith("no such peer")

    def test_of_handshakes(self) -> None:
        whole = answer(counts=SideCounts(0, 0, 0, {}, {}, {}))
        text = shown.overview(msgspec.structs.replace(whole, run=msgspec.structs.replace(RUN, kind="handshake")))
        assert "handshakes only: nobody has a session" in text

    def test_listing(self) -> None:
        preparing = msgspec.structs.replace(RUN, pid=12, scenario="x", stage="preparing", load_stage="")
        assert shown.listing([preparing, RUN], ["77.sock"]).splitlines() == [
            "      12  x       our WLCs, for somebody else's MSEs, preparing",
            "    4711  campus  our WLCs, for somebody else's MSEs, load · hold, 3.2 of 30.0 s",
            "      77  does not answer",
        ]


SEVERAL = (
    row(),
    row(
        owner=1,
        port=40213,
        connection_id=9,
        phase="down",
        granted=0b10,
        sent={7: 1, 16: 2},
        heard={6: 1},
        echo_sent=1,
        echo_heard=1,
    ),
    row(address="2001:bebe::1", phase="setting up", connections=1, disconnections=0, connection_id=4),
    row(address="::1"),
    row(address="2001:db8::"),
    row(address="fe80::1%eth0"),
)
# A line of `show nmsp status`, as those read it who parse what controllers print: from its first letter to its last.
CONTROLLERS_LINE = re.compile(
    r"^((?:\d{1,3}\.){3}\d{1,3}|[\da-f](?:[\da-f]|:(?!$))*)\s+(\w+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\w+)$"
)


def as_controller(*rows: PeerRow) -> Side:
    return msgspec.structs.replace(answer(*rows).sides[0], rows=one_per_address(rows))


class TestAsAController:
    """`--plain`, `--json --yang`."""

    def test_a_row_for_each_address(self) -> None:
        first, *others = one_per_address(SEVERAL)
        assert [each.address for each in (first, *others)] == list(dict.fromkeys(each.address for each in SEVERAL))
        one, other = SEVERAL[:2]
        assert first.active
        assert first.connection_id == 9
        assert first.granted == 0b1000000011
        assert first.sent == {7: 440, 16: 22967}
        assert first.heard == {1: 20, 6: 440}
        for name in ("connections", "disconnections", "unsupported", "echo_sent", "echo_heard", "data_sent"):
            assert getattr(first, name) == getattr(one, name) + getattr(other, name)
        assert tuple(others) == SEVERAL[2:]
        assert one_per_address(reversed(SEVERAL[:2])) == (first,)

    def test_plain_is_a_controllers_table_and_nothing_else(self) -> None:
        lines = shown.plain(as_controller(*SEVERAL)).splitlines()
        assert lines[0].split("  ")[0] == "DNA Spaces/CMX IP Address"
        assert lines[0].endswith("Transport")
        assert set(lines[1]) == {"-"}
        rows = [found.groups() for line in lines[2:] if (found := CONTROLLERS_LINE.match(line))]
        assert rows[0] == ("9.9.71.110", "Active", "440", "440", "22967", "24", "TLS")
        # Whoever parses it passes over an address that has "::" at an end, or a zone.
        addresses = ["2001:bebe::1", "0:0:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:0", "fe80::1"]
        assert [found[0] for found in rows[1:]] == addresses
        assert len(lines) == 2 + 5
        assert len(shown.plain(as_controller()).splitlines()) == 2

    def test_yang_is_the_model_and_nothing_else(self) -> None:
        value = instance(as_controller(*SEVERAL))
        assert list(value) == ["Cisco-IOS-XE-wireless-nmsp-oper:nmsp-oper-data"]
        fits(value.popitem()[1], MODEL)
        datagrams = instance(msgspec.structs.replace(as_controller(row()), transport="DTLS")).popitem()[1]
        fits(datagrams, MODEL)
        assert "transport" not in datagrams["cmx-connection"][0]

    def test_of_mses_alone_there_is_none(self) -> None:
        ours = msgspec.structs.replace(RUN, use="target-wlc")
        with pytest.raises(
            InputError, match=r"--plain: expected a run with WLCs of ours, .*, found a run of MSEs only"
        ):
            controller(Answer(ours, answer(row(), role="mse").sides), "plain", None)

    def test_while_the_run_is_prepared_it_has_no_peers(self) -> None:
        nobody = controller(Answer(RUN), "yang", None)
        fits(instance(nobody).popitem()[1], MODEL)
        assert len(shown.plain(nobody).splitlines()) == 2

    def test_as_many_addresses_as_were_asked_for(self) -> None:
        assert [each.address for each in controller(answer(*SEVERAL), "plain", 2).rows] == [
            "9.9.71.110",
            "2001:bebe::1",
        ]

    def test_what_we_know_besides_is_not_in_the_model(self) -> None:
        with pytest.raises(AssertionError):
            fits(document(answer(row()))["sides"][0].popitem()[1], MODEL)


U64, U32, U16, EMPTY = 1 << 64, 1 << 32, 1 << 16, [None]
SERVICES: dict[str, Any] = {"mask": U64} | dict.fromkeys(
    (
        *("rssi-ms", "rssi-rfid", "rssi-rogue", "rssi-interferer", "rssi-hs", "rssi-ms-associated-only"),
        *("spectrum-interferer", "spectrum-air-quality", "spectrum-aggregate-interferer", "info-ms", "info-rfid"),
        *("info-rogue", "info-hs", "stats-ms", "stats-rfid", "stats-rogue", "attach", "location", "fmchs"),
        *("ap-monitor", "wips", "on-demand", "ap-info"),
    ),
    EMPTY,
)
COUNTERS = [{"counter": U64, "msg-id": U16}]
# What there is of Cisco-IOS-XE-wireless-nmsp-oper (4.2.0, IOS-XE 17.18.1) in nmsp-oper-data, with its types: a number
# below which a leaf is; one of several words; a kind. A list has a key if it says so.
MODEL: dict[str, Any] = {
    "client-registration": [{"client-id": U32, "services": SERVICES, "key": "client-id"}],
    "cmx-connection": [
        {
            "peer-ip": str,
            "connection-id": U64,
            "active": bool,
            "con-stats": {
                "tx-msg-counter": COUNTERS,
                "rx-msg-counter": COUNTERS,
                **dict.fromkeys(("unsupported-msg-count", "tx-data-frames", "rx-data-frames"), U64),
                **dict.fromkeys(("connections", "disconnections"), U64),
            },
            "subscriptions": SERVICES,
            "transport": ("default-class-type2", "manual-changed-class-type1"),
            "key": "peer-ip",
        }
    ],
    "statistics": {container: dict.fromkeys(leaves, U64) for container, leaves in STATISTICS.items()},
}


def fits(value: Any, model: Any) -> None:
    """The value is one of the model, as RFC 7951 writes it."""
    match model:
        case dict():
            assert value.keys() <= model.keys() - {"key"}
            for name, each in value.items():
                fits(each, model[name])
        case [None]:
            assert value == [None]
        case [each]:
            for item in value:
                fits(item, each)
            if "key" in each:
                assert len({item[each["key"]] for item in value}) == len(value)
        case tuple():
            assert value in model
        case int():
            # 64-bit numbers are text.
            assert isinstance(value, str if model == U64 else int)
            assert 0 <= int(value) < model
        case kind:
            assert isinstance(value, kind)


class TestServices:
    """`--capability`, `--subscription`."""

    def test_capability(self) -> None:
        assert "offers 0x68ebe7 = rssi-ms, rssi-rfid, rssi-rogue, rssi-ms-associated-only" in shown.capability(
            answer(row())
        )
        counts = SideCounts(7, 7, 7, {0x3: 5, 0x1: 2}, {}, {})
        lines = shown.capability(answer(row(), role="mse", counts=counts)).splitlines()
        assert lines[-2:] == ["offered by 5 peers: 0x3 = rssi-ms, rssi-rfid", "offered by 2 peers: 0x1 = rssi-ms"]
        assert "no active WLC has told" in shown.capability(answer(role="mse"))

    def test_subscription(self) -> None:
        counts = SideCounts(3, 2, 3, {}, {0x201: 2}, {})
        lines = shown.subscription(answer(row(), row(granted=0), counts=counts)).splitlines()
        assert lines[3] == "subscribed by 2 peers: 0x201 = rssi-ms, info-ms"
        assert lines[4].split() == ["9.9.71.110", "40212", "WLC", "0", "rssi-ms,", "info-ms"]
        assert lines[5].split() == ["9.9.71.110", "40212", "WLC", "0", "-"]
        assert lines[6].startswith("... 1 more")


class TestStatistics:
    """`--statistics` and `--json`."""

    def test_text(self) -> None:
        text = shown.statistics(answer(row()))
        for line in (
            "9.9.71.110 port 40212, WLC 0 (02:57:4c:00:00:00): active",
            "  connections               2",
            "  tx-msg-counter            echo_response (7) 439, measurement_notify (16) 22965",
            "  unsupported-msg-count     2",
            "  tx-data-frames            22965",
            "  rx-data-frames            22",
            "  accept-fail               0",
            "  accept-success            2",
        ):
            assert f"{line}\n" in text
        # What nobody counts is said to be that, and is not 0.
        assert re.search(r"not counted: .*verify-count.*accept-attempts", text)
        assert "  verify-count " not in text
        assert "srv-stats\n  not counted: srv-restarts" in text

    def test_document(self) -> None:
        value = document(answer(row()))
        model = value["sides"][0]["Cisco-IOS-XE-wireless-nmsp-oper:nmsp-oper-data"]
        assert list(model) == ["client-registration", "cmx-connection", "statistics"]
        assert model["client-registration"][0]["services"]["mask"] == "6876135"
        (connection,) = model["cmx-connection"]
        assert list(connection) == [
            *("peer-ip", "connection-id", "active", "transport", "subscriptions", "con-stats", "loadgen"),
        ]
        assert connection["subscriptions"] == {"mask": "513", "rssi-ms": [None], "info-ms": [None]}
        assert connection["con-stats"] == {
            "tx-msg-counter": [{"msg-id": 7, "counter": "439"}, {"msg-id": 16, "counter": "22965"}],
            "rx-msg-counter": [{"msg-id": 1, "counter": "20"}, {"msg-id": 6, "counter": "439"}],
            "unsupported-msg-count": "2",
            "tx-data-frames": "22965",
            "rx-data-frames": "22",
            "connections": "2",
            "disconnections": "1",
        }
        assert model["statistics"] == {"ssl-stats": {"accept-fail": "0", "accept-success": "2"}}
        assert "client-registration" not in document(answer(row(), role="mse"))["sides"][0].popitem()[1]

    def test_bits_that_no_subservice_has_are_in_the_mask_only(self) -> None:
        (connection,) = document(answer(row(granted=1 << 40)))["sides"][0].popitem()[1]["cmx-connection"]
        assert connection["subscriptions"] == {"mask": str(1 << 40)}

    def test_every_leaf_of_the_model_has_a_place(self) -> None:
        leaves = [leaf for container in STATISTICS.values() for leaf in container]
        assert len(leaves) == len(set(leaves)) == 10 + 7 + 1
        counts = SideCounts(0, 0, 0, {}, {}, dict.fromkeys(leaves, 1))
        text = shown.statistics(answer(counts=counts))
        assert "not counted" not in text
        assert text.count(" 1\n") + text.endswith(" 1") == len(leaves)


def test_counts_of_workers_are_added_and_what_none_counts_stays_uncounted() -> None:
    parts = [
        SideCounts(10, 9, 4, {3: 9}, {1: 9}, {"accept-fail": 0, "accept-success": 9}),
        SideCounts(5, 5, 1, {3: 2, 1: 3}, {1: 5}, {"accept-fail": 0, "accept-success": 6}),
    ]
    assert add_counts(parts) == SideCounts(15, 14, 5, {3: 11, 1: 3}, {1: 14}, {"accept-fail": 0, "accept-success": 15})
    assert add_counts([]) == SideCounts(0, 0, 0, {}, {}, {})


def test_what_goes_over_the_socket_comes_back_as_it_was() -> None:
    whole = answer(row(), row(phase="down"))
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Answer | Refusal) == whole
    question = Question(Subject.PEERS, 20, "192.0.2.7", 16113)
    assert msgspec.json.decode(msgspec.json.encode(question), type=Question) == question


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("192.0.2.7", ("192.0.2.7", 0)),
        ("192.0.2.7:16113", ("192.0.2.7", 16113)),
        ("2001:DB8:0::1", ("2001:db8::1", 0)),
        ("[2001:db8::1]:16113", ("2001:db8::1", 16113)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
    ],
)
def test_peers_as_people_write_them(text: str, peer: tuple[str, int]) -> None:
    assert read_peer(text) == peer


@pytest.mark.parametrize(
    "text", ["", "wlc-7", "192.0.2", "192.0.2.7:", "192.0.2.7:x", "192.0.2.7:70000", "[::1", "[::1]7"]
)
def test_peers_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--peer: expected an IP address"):
        read_peer(text)
