"""What `loadgen profile show` prints of layouts that are no tables: all that a decoder needs, in rows and sentences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from nmsp_samples import reference_document

from loadgen.cli.profile import profile as command
from loadgen.nmsp.layout import differences
from loadgen.nmsp.profile import load_profile, profile_untrusted

FOLDER = Path(__file__).parents[2] / "docs" / "wire-profile"
# Of each layout: some lines, without what is between their words.
LINES = {
    "heron": [
        "0 8 time time s, then µs since 1970 ours",
        "length counts header, body and trailer",
        "a frame is the header, the body of a message, and the trailer",
        "a time in two units is two numbers of 4 bytes, seconds first",
        "trailer 4 bytes",
        "checksum crc-32, over header and body: polynomial 0x04C11DB7, least significant bit first, begins with "
        "0xFFFFFFFF, inverted at the end",
    ],
    "wren": [
        "length counts what follows it, to the end of the frame",
        "id 18 4 time time s since 1970 ours",
        "each record in an element with id 32, at most 40",
        "then elements to the end: type u8, length u8 (the value alone), value",
        "elements come in another order each time",
        "text and bytes in an element are as long as they are",
        "id 48 ≤ 500 bytes payload bytes public",
    ],
    "stork": [
        "a message's number is msg_type * 256 + msg_subtype",
        "1 1 u8 flags by message ours",
        "text is UTF-8; text and bytes that are shorter than their field are filled up with zeros",
        "message 257 version_request 2 bytes in its header: flags 0x1, msg_type 0x1, msg_subtype 0x1",
        "message 511 echo_response 0 bytes in its header: flags 0x82, msg_type 0x1, msg_subtype 0xff",
        "9 1 u8 station_count records ours",
        "6 2 u16 reading_bytes bytes of records ours",
        "then records that fill reading_bytes bytes, at most 16 its record: reading",
    ],
    "plover": [
        "length counts header and body, in units of 4 bytes",
        "zeros at the end of the body: the frame is a multiple of 4 bytes",
        "frame_number is 1 in the first frame of a direction, then one more in each",
        "acknowledged is the number of the last frame that was received, before any 0x0",
        "checksum internet, over header and body, its own bytes as zeros: ones' complement",
        "16 2 u16 reading_words 4 bytes each ours",
        "then records that fill reading_words * 4 bytes, at most 30",
        "zeros at its end: the record is a multiple of 4 bytes",
        "then elements to the end: type u8, length u8 (the whole element), value",
        "an element's length counts units of 4 bytes: zeros at the end of its value",
        "zeros behind an element that no length counts: each begins at a multiple of 4 bytes",
        "fewer than 4 bytes at the end, all of them zeros, are no element",
        "words counts the whole record, in units of 4 bytes",
    ],
    "swift": [
        "no transaction: responses come in the order of their requests",
        "checksum crc-16/kermit, over header and body and trailer, its own bytes as zeros: polynomial 0x1021",
        "then a tail of 4 bytes, behind everything else: offset size type name unit label "
        "0 4 time time ms since session began ours",
        "bytes counts the whole record",
        "dialogue",
    ],
}


def shown(*arguments: object) -> str:
    done = CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)
    return done.output


@pytest.mark.parametrize("name", LINES)
def test_every_construct_is_a_row_or_a_sentence(name: str) -> None:
    text = shown("show", FOLDER / f"{name}.toml")
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for line in LINES[name]:
        assert line in words, line


def test_a_message_is_shown_with_the_records_of_its_records() -> None:
    text = shown("show", FOLDER / "stork.toml", "--only", "measurement_notify", "--json")
    assert [part["name"] for part in msgspec.json.decode(text)["parts"]] == ["measurement_notify", "station", "reading"]


def test_the_trailer_is_a_part_of_its_own_for_programs() -> None:
    parts = msgspec.json.decode(shown("show", FOLDER / "swift.toml", "--json"))["parts"]
    assert [part["what"] for part in parts[:3]] == ["header", "trailer", "message"]
    assert [(row["name"], row["value"]) for row in parts[1]["rows"]] == [("checksum", None), ("end", 0x0A0D)]
    (notify,) = (part for part in parts if part["name"] == "measurement_notify")
    assert notify["tail_size"] == 4
    assert [(row["name"], row["offset"], row["unit"]) for row in notify["tail"]] == [
        ("time", 0, "ms since session began")
    ]


Edit = Callable[[dict[str, Any]], object]
NOTIFY = "measurement_notify"
CHANGES: dict[str, tuple[Edit, str]] = {
    "a length of words": (
        lambda d: d["header"].update(length_unit=4),
        'header: now "length counts header and body, in units of 4 bytes"',
    ),
    "padding": (
        lambda d: d["header"].update(align=8),
        'header: now "zeros at the end of the body: the frame is a multiple of 8 bytes"',
    ),
    "a constant by side": (
        lambda d: d["header"]["fields"].__setitem__(
            1, {"name": "flags", "type": "u8", "offset": 1, "values": {"wlc": 1, "mse": 2}}
        ),
        "header: flags: u8 at 1, always 0, then u8 at 1, by message",
    ),
    "a tail": (
        lambda d: d["messages"]["capability"].update(
            tail={"size": 1, "fields": [{"name": "end", "type": "u8", "offset": 0, "value": 7}]}
        ),
        "capability: with end, u8 at 0, always 7 of the tail",
    ),
    "a count of bytes": (
        lambda d: d["messages"][NOTIFY]["repeat"].update(count_unit=1),
        f'{NOTIFY}: now "then records that fill reading_count bytes, at most 16"',
    ),
    "a record that is filled up": (
        lambda d: d["records"]["reading"].update(align=4),
        'record reading: now "zeros at its end: the record is a multiple of 4 bytes"',
    ),
    "a trailer": (
        lambda d: d.update(trailer={"size": 1, "fields": []}),
        "trailer: only in reference-1",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_in_words(name: str) -> None:
    edit, wanted = CHANGES[name]
    document = reference_document()
    changed = copy.deepcopy(document)
    edit(changed)
    assert wanted in differences(profile_untrusted(document, "a"), profile_untrusted(changed, "b"))


def test_constants_that_differ_in_one_message_and_times_that_count_otherwise() -> None:
    documents = []
    for flags, unit in ((0x82, "ns"), (0x83, "us")):
        text = (FOLDER / "stork.toml").read_text("utf-8").replace("0x82", f"{flags:#x}").replace('"ns"', f'"{unit}"')
        documents.append(text)
    import tomllib

    a, b = (profile_untrusted(tomllib.loads(text), "stork") for text in documents)
    assert differences(a, b) == [
        "echo_response: flags of its header: 130, then 131",
        "measurement_notify: time: time of 8 bytes, ns since 1970, at 0, then time of 8 bytes, µs since 1970, at 0",
    ]
    assert differences(a, load_profile(FOLDER / "stork.toml")) == []
