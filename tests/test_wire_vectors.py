"""The vectors of the reference profile, decoded by a decoder that knows docs/wire-profile.md and nothing else."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import wire_decoder
from wire_decoder import DecodeError, Decoder, Frame, check_order, decode_frames

VECTORS = json.loads(Path(__file__).with_name("vectors").joinpath("reference-1.json").read_text(encoding="utf-8"))
MESSAGES: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in VECTORS["messages"]}
STREAMS: dict[str, dict[str, Any]] = {stream["name"]: stream for stream in VECTORS["streams"]}

BODY = 12
READING_COUNT = BODY + 31
KINDS = {message.name: message for message in wire_decoder.MESSAGES.values()}
FIXED_SIZE = [name for name, vector in MESSAGES.items() if KINDS[vector["message"]].repeat is None]
REPEATING = [name for name, vector in MESSAGES.items() if KINDS[vector["message"]].repeat is not None]
NOTIFIES = [name for name, vector in MESSAGES.items() if vector["message"] == "measurement_notify"]


def wire(name: str) -> bytes:
    return bytes.fromhex(MESSAGES[name]["hex"])


def expected(name: str) -> Frame:
    return {key: MESSAGES[name][key] for key in ("message", "transaction", "fields")}


def patch(data: bytes, offset: int, replacement: bytes) -> bytes:
    return data[:offset] + replacement + data[offset + len(replacement) :]


def with_body(data: bytes, body: bytes) -> bytes:
    """The frame `data` with another body, and the length that this needs."""
    return patch(data[:BODY], 4, (BODY + len(body)).to_bytes(4, "big")) + body


def unsupported(msg_id: int, body: bytes = b"", transaction: int = 0) -> bytes:
    header = bytes([0x4E, 0]) + msg_id.to_bytes(2, "big") + bytes(4) + transaction.to_bytes(4, "big")
    return with_body(header, body)


def decode_pieces(*pieces: bytes) -> tuple[list[Frame], str | None]:
    """The frames that come of `pieces`, one fed after the other, and the error that ended them, if one did."""
    decoder, frames = Decoder(), []
    try:
        for piece in pieces:
            frames += decoder.feed(piece)
        decoder.finish()
    except DecodeError as error:
        return frames + error.frames, str(error)
    return frames, None


# --- the decoder is independent


def test_decoder_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(wire_decoder.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            imported.add(str(node.module).partition(".")[0])
        elif isinstance(node, ast.Name):
            assert node.id not in {"__import__", "exec", "eval"}
    assert "loadgen" not in imported
    assert "importlib" not in imported
    assert imported <= sys.stdlib_module_names


# --- the vectors


def test_vectors_cover_every_message() -> None:
    assert VECTORS["profile"] == "reference-1"
    assert {vector["message"] for vector in MESSAGES.values()} == set(wire_decoder.SENDERS)


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name: str) -> None:
    assert decode_frames(wire(name)) == [expected(name)]
    assert wire_decoder.SENDERS[MESSAGES[name]["message"]] == MESSAGES[name]["sender"]


@pytest.mark.parametrize("name", STREAMS)
def test_stream(name: str) -> None:
    stream = STREAMS[name]
    assert bytes.fromhex(stream["hex"]) == b"".join(map(wire, stream["messages"]))
    assert decode_frames(bytes.fromhex(stream["hex"])) == [expected(message) for message in stream["messages"]]


@pytest.mark.parametrize("name", STREAMS)
def test_stream_in_pieces(name: str) -> None:
    data, whole = bytes.fromhex(STREAMS[name]["hex"]), [expected(message) for message in STREAMS[name]["messages"]]
    for cut in range(len(data) + 1):
        assert decode_pieces(data[:cut], data[cut:]) == (whole, None), f"cut at byte {cut}"
    assert decode_pieces(*(data[at : at + 1] for at in range(len(data)))) == (whole, None)


@pytest.mark.parametrize("name", STREAMS)
def test_truncated_stream(name: str) -> None:
    data = bytes.fromhex(STREAMS[name]["hex"])
    whole: list[Frame] = []
    frame_start = 0
    for message in STREAMS[name]["messages"]:
        size = len(wire(message))
        assert decode_frames(data[:frame_start]) == whole
        for cut in range(frame_start + 1, frame_start + size):
            with pytest.raises(DecodeError, match=f"truncated: the stream ends {cut - frame_start} bytes") as caught:
                decode_frames(data[:cut])
            assert caught.value.frames == whole
        whole.append(expected(message))
        frame_start += size
    assert decode_frames(data) == whole


def test_every_byte_of_a_body_has_its_own_place() -> None:
    """With a different value in each byte no two fields can be mistaken for one another, as equal values can."""
    [request] = decode_frames(with_body(wire("version-request"), bytes([1, 2, 3, 4])))
    assert request["fields"] == {"lowest": 0x0102, "highest": 0x0304}

    body = patch(bytes(range(1, 33)), 31, b"\x01") + bytes(range(0x81, 0x8F))
    [notify] = decode_frames(with_body(wire("notify-no-readings"), body))
    assert notify["fields"] == {
        "sequence": 0x0102030405060708,
        "due_ns": 0x090A0B0C0D0E0F10,
        "sent_ns": 0x1112131415161718,
        "station_mac": "19:1a:1b:1c:1d:1e",
        "subservice": 0x1F,
        "readings": [
            {
                "ap_mac": "81:82:83:84:85:86",
                "slot": 0x87,
                "band": 0x88,
                "source": 0x89,
                "rssi_a": 0x8A - 256,
                "rssi_b": 0x8B - 256,
                "snr": 0x8C - 256,
                "age_s": 0x8D8E,
            }
        ],
    }


# --- what is skipped and what is ignored


@pytest.mark.parametrize("msg_id", [0, 12, 15, 19, 0x0100, 0x1000, 0xFFFF])
@pytest.mark.parametrize("size", [0, 1, 65_536 - BODY])
def test_unknown_message_is_skipped_by_its_length(msg_id: int, size: int) -> None:
    data = wire("echo-request") + unsupported(msg_id, b"\x4e" * size, transaction=9) + wire("echo-response")
    first, skipped, last = decode_frames(data)
    assert (first, last) == (expected("echo-request"), expected("echo-response"))
    assert skipped == {"message": "unsupported", "msg_id": msg_id, "transaction": 9, "fields": {}}


@pytest.mark.parametrize("name", ["subscribe-response", "subscribe-response-nothing"])
def test_unnamed_bytes_are_zero_when_sent_and_ignored_when_received(name: str) -> None:
    assert wire(name)[BODY + 10 :] == bytes(2)
    assert decode_frames(patch(wire(name), BODY + 10, b"\xff\xff")) == [expected(name)]


# --- documented errors


HEADER_ERRORS = [
    *((0, bytes([magic]), "magic") for magic in (0x00, 0x4D, 0x4F, 0xFF)),
    *((1, bytes([flags]), "flags") for flags in (0x01, 0x80, 0xFF)),
    *((4, length.to_bytes(4, "big"), "length") for length in (0, 11, 65_537, 0x0C000000, 0xFFFFFFFF)),
]


@pytest.mark.parametrize(("offset", "replacement", "reason"), HEADER_ERRORS)
@pytest.mark.parametrize("name", MESSAGES)
def test_header_error(name: str, offset: int, replacement: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=rf"^{reason}: expected .*, found "):
        decode_frames(patch(wire(name), offset, replacement))


def test_header_error_in_an_unknown_message() -> None:
    with pytest.raises(DecodeError, match=r"^length: "):
        decode_frames(unsupported(99, bytes(65_537 - BODY)))


@pytest.mark.parametrize("name", MESSAGES)
def test_truncated_frame(name: str) -> None:
    for size in range(1, len(wire(name))):
        with pytest.raises(DecodeError, match=r"^truncated: "):
            decode_frames(wire(name)[:size])


@pytest.mark.parametrize("name", FIXED_SIZE)
def test_body_of_another_size(name: str) -> None:
    data = wire(name)
    body = data[BODY:]
    others = [body + b"\0", body + bytes(14)] + [body[:size] for size in range(len(body))]
    for other in others:
        with pytest.raises(DecodeError, match=rf"expected a body of {len(body)} bytes, found {len(other)}"):
            decode_frames(with_body(data, other))


@pytest.mark.parametrize("name", REPEATING)
def test_records_of_another_size(name: str) -> None:
    data = wire(name)
    body, message = data[BODY:], KINDS[MESSAGES[name]["message"]]
    more = [] if message.elements else [body + b"\0", body + bytes(14)]
    least = message.body_bytes if message.elements else 0
    # A body that may go on with elements may also end where one would begin.
    ends = {len(body)} if not message.elements else {len(body), len(body) - payload_bytes(name)}
    for other in [*more, *(body[:size] for size in range(least, len(body)) if size not in ends)]:
        with pytest.raises(DecodeError, match=r"(expected a body|records need a body|element does not end)"):
            decode_frames(with_body(data, other))


def payload_bytes(name: str) -> int:
    """The element's bytes, its head included."""
    payload = MESSAGES[name]["fields"].get("payload", "")
    return wire_decoder.ELEMENT_HEAD_BYTES + len(payload) // 2 if payload else 0


@pytest.mark.parametrize("name", [name for name in REPEATING if not KINDS[MESSAGES[name]["message"]].elements])
def test_count_that_does_not_fit(name: str) -> None:
    message = KINDS[MESSAGES[name]["message"]]
    assert message.repeat is not None
    counter = next(field for field in message.fields if field.name.endswith("_count"))
    right = len(MESSAGES[name]["fields"][message.repeat.name])
    for count in set(range(256)) - {right}:
        with pytest.raises(DecodeError, match=rf"^{counter.name}: "):
            decode_frames(patch(wire(name), BODY + counter.offset, bytes([count])))


def with_elements(data: bytes) -> bytes:
    frame = wire("tag-info-notify-no-payload")
    return with_body(frame, frame[BODY:] + data)


def test_elements_in_any_order_and_unknown_ones_are_skipped() -> None:
    unknown, payload = bytes.fromhex("0002 0003 aabbcc"), bytes.fromhex("0001 0002 0100")
    for data in (payload, unknown + payload, payload + unknown, unknown + unknown + payload + unknown):
        [frame] = decode_frames(with_elements(data))
        assert frame["fields"] == {**MESSAGES["tag-info-notify-no-payload"]["fields"], "payload": "0100"}
    [frame] = decode_frames(with_elements(unknown + b"\xff\xff\0\0"))
    assert frame["fields"]["payload"] == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("00", "does not end"),
        ("0001 00", "does not end"),
        ("0001 0001", "does not end"),
        ("0007 0004 aabbcc", "does not end"),
        ("0001 0002 0100 00", "does not end"),
        ("0001 0001 aa 0001 0001 bb", "found a second one"),
        ("0001 01f5" + "00" * 501, "found 501"),
    ],
)
def test_elements_that_are_wrong(data: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_frames(with_elements(bytes.fromhex(data)))


def test_text_ends_with_its_nuls_and_is_read_even_if_it_is_none() -> None:
    at = BODY + 26 + 30  # an attachment's user name
    frame = wire("attachment-notify-full-texts")
    for raw, text in ((b"a\0b", "a\0b"), (b"\xff\xfe", "\ufffd\ufffd"), (b"", "")):
        [found] = decode_frames(patch(frame, at, raw.ljust(32, b"\0")))
        assert found["fields"]["records"][0]["user_name"] == text


@pytest.mark.parametrize("count", [17, 255])
def test_more_readings_than_sixteen_that_fit_the_length(count: int) -> None:
    body = patch(wire("notify-no-readings")[BODY:], 31, bytes([count])) + bytes(14 * count)
    with pytest.raises(DecodeError, match=rf"^reading_count: expected 0 to 16, found {count}$"):
        decode_frames(with_body(wire("notify-no-readings"), body))


def test_a_frame_that_claims_its_neighbour() -> None:
    data = patch(wire("echo-request"), 4, (24).to_bytes(4, "big")) + wire("echo-request")
    with pytest.raises(DecodeError, match="echo_request: expected a body of 0 bytes, found 12"):
        decode_frames(data)


def test_no_going_on_after_an_error() -> None:
    bad = patch(wire("echo-response"), 0, b"\x00")
    data = wire("version-response") + bad + wire("echo-response")
    for cut in range(len(data) + 1):
        frames, error = decode_pieces(data[:cut], data[cut:])
        assert frames == [expected("version-response")]
        assert error == "magic: expected 0x4e, found 0x00"

    decoder = Decoder()
    with pytest.raises(DecodeError, match="magic"):
        decoder.feed(bad)
    with pytest.raises(DecodeError, match="lost"):
        decoder.feed(wire("echo-response"))


# --- the order of the exchange


OPENING = ["version-request", "version-response", "capability-catalyst-9800", "subscribe-request", "subscribe-response"]
SESSION = [
    *OPENING,
    "notify-no-readings",
    "echo-request",
    "notify-four-readings",
    "echo-response",
    "notify-sixteen-readings",
]
SKIPPED: Frame = {"message": "unsupported", "msg_id": 99, "transaction": 5, "fields": {}}


def sent(name: str, **changed: Any) -> tuple[str, Frame]:
    """A vector as (sender, frame), decoded; `changed` are a transaction or fields to replace."""
    [frame] = decode_frames(wire(name))
    frame["transaction"] = changed.pop("transaction", frame["transaction"])
    frame["fields"] |= changed
    return MESSAGES[name]["sender"], frame


def session(*names: str) -> list[tuple[str, Frame]]:
    return [sent(name) for name in names]


def test_order_of_a_session() -> None:
    for size in range(len(SESSION) + 1):
        check_order(session(*SESSION[:size]))


@pytest.mark.parametrize("pair", ["session", "everything"])
def test_order_of_two_streams(pair: str) -> None:
    """A stream holds one direction; with the request before each response it is a session."""
    asked = {MESSAGES[name]["transaction"]: name for name in STREAMS[f"{pair}-mse-to-wlc"]["messages"]}
    assert len(asked) == len(STREAMS[f"{pair}-mse-to-wlc"]["messages"])
    names = []
    for message in STREAMS[f"{pair}-wlc-to-mse"]["messages"]:
        request = asked.pop(MESSAGES[message]["transaction"], None)
        names += [request, message] if request is not None else [message]
    assert not asked
    check_order(session(*names))


def test_the_streams_hold_every_message() -> None:
    names = [name for stream in STREAMS.values() for name in stream["messages"]]
    assert {MESSAGES[name]["message"] for name in names} == set(wire_decoder.SENDERS)


def test_an_active_session_asks_for_more_than_once() -> None:
    check_order([*session(*OPENING), *(sent("subscribe-more-request", transaction=n) for n in (3, 4, 5))])


def test_the_response_that_a_request_gets() -> None:
    """By its subservice; and only once."""
    opening = session(*OPENING)
    for response in ("client-info-response", "tag-info-response", "rogue-info-response"):
        pair = [sent("client-info-request", transaction=5), sent(response, transaction=5)]
        check_order([*opening, *pair])
        with pytest.raises(DecodeError, match="no request is waiting with transaction 5"):
            check_order([*opening, *pair, pair[1]])
    with pytest.raises(DecodeError, match="no request is waiting"):
        check_order([*opening, sent("client-info-request", transaction=5), sent("measurement-response", transaction=5)])


def test_echo_without_measurements_and_several_at_once() -> None:
    echoes = [("request", 3), ("request", 4), ("response", 3), ("response", 4), ("request", 3), ("response", 3)]
    check_order([*session(*OPENING), *(sent(f"echo-{kind}", transaction=number) for kind, number in echoes)])


def test_unknown_messages_may_come_anywhere() -> None:
    for at in range(len(SESSION) + 1):
        for sender in ("mse", "wlc"):
            frames = session(*SESSION)
            frames.insert(at, (sender, SKIPPED))
            check_order(frames)


@pytest.mark.parametrize("at", range(len(OPENING)))
def test_opening_with_a_message_missing_twice_or_too_early(at: int) -> None:
    missing = session(*OPENING[:at], *OPENING[at + 1 :], "notify-no-readings")
    twice = session(*OPENING[: at + 1], *OPENING[at:])
    with pytest.raises(DecodeError, match="in state"):
        check_order(missing)
    # A second subscribe response comes in an active session, where nobody asked for it.
    with pytest.raises(DecodeError, match="in state" if OPENING[at] != "subscribe-response" else "no request"):
        check_order(twice)
    for later in [*OPENING[at + 1 :], "notify-no-readings", "echo-request", "echo-response"]:
        with pytest.raises(DecodeError, match=f"frame {at}, .* in state"):
            check_order(session(*OPENING[:at], later))


@pytest.mark.parametrize("name", OPENING[:2])
def test_version_exchange_in_a_running_session(name: str) -> None:
    with pytest.raises(DecodeError, match="in state 'active'"):
        check_order(session(*SESSION, name))


@pytest.mark.parametrize("at", range(len(SESSION)))
def test_message_of_the_wrong_sender(at: int) -> None:
    frames = session(*SESSION)
    sender, frame = frames[at]
    frames[at] = ("wlc" if sender == "mse" else "mse", frame)
    with pytest.raises(DecodeError, match=f"frame {at}, .* is sent by {sender} only"):
        check_order(frames)


@pytest.mark.parametrize("name", MESSAGES)
def test_nothing_follows_when_no_version_is_common(name: str) -> None:
    refused = [sent("version-request", transaction=7), sent("version-response-refused")]
    check_order(refused)
    with pytest.raises(DecodeError, match="expected nothing in state 'no common version'"):
        check_order([*refused, sent(name)])


@pytest.mark.parametrize("at", [at for at, name in enumerate(SESSION) if "response" in name])
def test_response_of_another_transaction(at: int) -> None:
    frames = session(*SESSION)
    frames[at] = sent(SESSION[at], transaction=99)
    with pytest.raises(DecodeError, match=f"frame {at}, .* no request is waiting with transaction 99"):
        check_order(frames)


def test_echo_response_without_or_twice_to_a_request() -> None:
    for names in (["echo-response"], ["echo-request", "echo-response", "echo-response"]):
        with pytest.raises(DecodeError, match="no request is waiting"):
            check_order(session(*OPENING, *names))


@pytest.mark.parametrize("name", ["capability-catalyst-9800", "notify-no-readings"])
def test_transaction_where_there_is_none(name: str) -> None:
    with pytest.raises(DecodeError, match="expected transaction 0, found 1"):
        check_order([sent(each, transaction=1) if each == name else sent(each) for each in SESSION])


@pytest.mark.parametrize("sequence", [0, 2])
def test_sequence_that_repeats_or_skips(sequence: int) -> None:
    frames = [*session(*OPENING, "notify-no-readings"), sent("notify-four-readings", sequence=sequence)]
    with pytest.raises(DecodeError, match=f"expected sequence 1, found {sequence}"):
        check_order(frames)


def test_first_sequence_is_zero() -> None:
    with pytest.raises(DecodeError, match="expected sequence 0, found 1"):
        check_order(session(*OPENING, "notify-four-readings"))
