"""A profile that does not work is refused with its place; several things wrong are refused all at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nmsp_samples import OTHER_TOML, core_document, reference_document, to_toml

from loadgen.errors import ExitCode, InputError
from loadgen.nmsp.profile import load_profile, reference_profile

Edit = Callable[[dict[str, Any]], object]

NOTIFY = "messages.measurement_notify"


def field(document: dict[str, Any], message: str, name: str) -> dict[str, Any]:
    table = document["header"] if message == "header" else document["messages"][message]
    return next(f for f in table["fields"] if f["name"] == name)


def reading(document: dict[str, Any], name: str) -> dict[str, Any]:
    fields = document["records"]["reading"]["fields"]
    return next(f for f in fields if f["name"] == name)


def notify(document: dict[str, Any]) -> dict[str, Any]:
    return document["messages"]["measurement_notify"]


# What is changed -> every problem that must come of it, without the file name.
BAD: dict[str, tuple[Edit, list[str]]] = {
    "a field past its record": (
        lambda d: field(d, "capability", "subservices").update(offset=1),
        [
            "messages.capability.fields[0] (subservices): expected to end within the record of 8 bytes, "
            "found an end at byte 9"
        ],
    ),
    "a field before its record": (
        lambda d: field(d, "capability", "subservices").update(offset=-1),
        ["messages.capability.fields[0] (subservices).offset: expected 0 or more, found -1"],
    ),
    "an overlap": (
        lambda d: field(d, "version_request", "highest").update(offset=1),
        ["messages.version_request.fields[1] (highest): expected bytes of its own, found an overlap with lowest"],
    ),
    "an overlap in the readings": (
        lambda d: reading(d, "slot").update(offset=7),
        ["records.reading.fields[2] (band): expected bytes of its own, found an overlap with slot"],
    ),
    "two fields of one name": (
        lambda d: d["header"]["fields"][1].update(name="magic"),
        ["header.fields[1] (magic): expected a name of its own, found a second field of that name"],
    ),
    "a message missing": (
        lambda d: d["messages"].pop("echo_response"),
        ["messages.echo_response: expected a table, found nothing"],
    ),
    "an unknown message": (
        lambda d: d["messages"].update(echo=d["messages"]["echo_request"] | {"id": 99}),
        [
            "messages.echo: expected one of version_request, version_response, capability, subscribe_request, "
            "subscribe_response, echo_request, echo_response, measurement_notify, capability_request, "
        ],
    ),
    "one id twice": (
        lambda d: d["messages"]["echo_response"].update(id=6),
        ["messages.echo_response.id: expected an id of its own, found 6, the id of echo_request"],
    ),
    "an id out of range": (
        lambda d: d["messages"]["capability"].update(id=65536),
        ["messages.capability.id: expected a uint16, found 65536"],
    ),
    "a negative id": (
        lambda d: d["messages"]["capability"].update(id=-1),
        ["messages.capability.id: expected a uint16, found -1"],
    ),
    "a type that the code cannot work with": (
        lambda d: field(d, "header", "length").update(type="i32"),
        ["header.fields[3] (length).type: expected u8 or u16 or u32, found i32"],
    ),
    "a mac where a number belongs": (
        lambda d: (
            field(d, "measurement_notify", "subservice").update(type="mac", offset=32) or notify(d).update(size=38)
        ),
        [f"{NOTIFY}.fields[4] (subservice).type: expected an integer type, found mac"],
    ),
    "a number where a mac belongs": (
        lambda d: reading(d, "ap_mac").update(type="u32"),
        ["records.reading.fields[0] (ap_mac).type: expected mac, found u32"],
    ),
    "a type that does not exist": (
        lambda d: field(d, "header", "flags").update(type="u24"),
        ["header.fields[1].type: expected"],
    ),
    "an unknown key": (
        lambda d: d["header"].update(length_count="body"),
        ["header.length_count: expected one of fields, length_counts, size, found an unknown key"],
    ),
    "an unknown key of a field": (
        lambda d: d["header"]["fields"][2].update(offfset=1),
        ["header.fields[2].offfset: expected one of name, offset, size, type, value, found an unknown key"],
    ),
    "a constant that does not fit": (
        lambda d: field(d, "header", "flags").update(value=256),
        ["header.fields[1] (flags).value: expected a value that fits u8, found 256"],
    ),
    "a negative constant in an unsigned field": (
        lambda d: field(d, "header", "flags").update(value=-1),
        ["header.fields[1] (flags).value: expected a value that fits u8, found -1"],
    ),
    "a field that nobody fills": (
        lambda d: field(d, "header", "flags").pop("value"),
        ["header.fields[1] (flags): expected one of msg_id, length, transaction, or a constant value, found neither"],
    ),
    "a field missing": (
        lambda d: notify(d)["fields"].pop(1),
        [f"{NOTIFY}.fields: expected a field due_ns, found none"],
    ),
    "no readings": (
        lambda d: notify(d).pop("repeat"),
        [f"{NOTIFY}.repeat: expected a table (the AP readings), found nothing"],
    ),
    "readings where none belong": (
        lambda d: d["messages"]["capability"].update(repeat=copy.deepcopy(notify(d)["repeat"])),
        ["messages.capability.repeat: expected nothing: this message has no records, found a table"],
    ),
    "a count that is no field": (
        lambda d: notify(d)["repeat"].update(count="readings"),
        [
            f"{NOTIFY}.fields[5] (reading_count): expected one of sequence, due_ns, sent_ns, station_mac, subservice, "
            "readings, or a constant value, found neither",
            f"{NOTIFY}.fields: expected a field readings, found none",
        ],
    ),
    "too many readings": (
        lambda d: notify(d)["repeat"].update(max=256),
        [f"{NOTIFY}.repeat.max: expected 1 to 255, found 256"],
    ),
    "no reading at all": (
        lambda d: notify(d)["repeat"].update(max=0),
        [f"{NOTIFY}.repeat.max: expected 1 to 255, found 0"],
    ),
    "a frame limit below the largest notification": (
        lambda d: d.update(max_frame_bytes=267),  # 12 + 32 + 16 * 14 = 268
        [f"max_frame_bytes: expected room for {NOTIFY}, 268 bytes, found 267"],
    ),
    "a notification larger than a TLS record": (
        lambda d: d["records"]["reading"].update(size=1022),  # 12 + 32 + 16 * 1022 = 16,396
        [f"{NOTIFY}: expected at most 16384 bytes with header and records, found 16396"],
    ),
    "no frame limit": (
        lambda d: d.update(max_frame_bytes=(1 << 24) + 1),
        ["max_frame_bytes: expected 1 to 16777216, found 16777217"],
    ),
    "a message larger than the frame limit": (
        lambda d: d["messages"]["capability"].update(size=70000),
        ["max_frame_bytes: expected room for messages.capability, 70012 bytes, found 65536"],
    ),
    "a length that does not hold the largest frame": (
        lambda d: (d["header"]["fields"][3].update(type="u8"), d.update(max_frame_bytes=300)),
        [f"header.fields (length): expected a type that holds 268 ({NOTIFY}), found u8"],
    ),
    "a constant where a value varies": (
        lambda d: field(d, "version_request", "lowest").update(value=1),
        ["messages.version_request.fields[0] (lowest).value: expected nothing: this field varies, found 1"],
    ),
    "a count that means something else": (
        lambda d: (notify(d)["repeat"].update(count="subservice"), notify(d)["fields"].pop(5)),
        [f"{NOTIFY}.repeat.count: expected a field that only counts, found subservice"],
    ),
    "a count that does not hold the maximum": (
        lambda d: (
            field(d, "measurement_notify", "reading_count").update(type="i8"),
            notify(d)["repeat"].update(max=200),
        ),
        [f"{NOTIFY}.repeat.max: expected a number that reading_count holds, found 200"],
    ),
    "a name of the header in a notification": (
        lambda d: field(d, "measurement_notify", "reading_count").update(name="flags", value=0),
        [
            f"{NOTIFY}.fields: expected a field reading_count, found none",
            f"{NOTIFY}.fields[5] (flags): expected a name that neither the header nor the readings have, found flags",
        ],
    ),
    "a signal strength without a sign": (
        lambda d: reading(d, "rssi_a").update(type="u8"),
        ["records.reading.fields[4] (rssi_a).type: expected i8 or i16 or i32 or i64, found u8"],
    ),
    "a sequence number that comes round": (
        lambda d: field(d, "measurement_notify", "sequence").update(type="u32"),
        [f"{NOTIFY}.fields[0] (sequence).type: expected u64, found u32"],
    ),
    "a negative size": (
        lambda d: d["messages"]["echo_request"].update(size=-1),
        ["messages.echo_request.size: expected 0 to 16777216, found -1"],
    ),
    "a byte order that does not exist": (lambda d: d.update(byte_order="middle"), ["byte_order: expected"]),
    "a text for a number": (lambda d: d["header"].update(size="12"), ['header.size: expected int, found "12"']),
    "no header": (lambda d: d.pop("header"), ["header: expected a value, found nothing"]),
}


def problems_of(tmp_path: Path, document: dict[str, Any]) -> list[str]:
    """The texts of all problems, each without the file name that it must begin with."""
    path = tmp_path / "bad.toml"
    path.write_text(to_toml(document), "utf-8")
    with pytest.raises(InputError) as refusal:
        load_profile(path)
    assert refusal.value.exit_code is ExitCode.BAD_INPUT
    texts = [str(problem) for problem in refusal.value.problems]
    assert str(refusal.value) == "\n".join(texts)
    assert all(text.startswith(f"{path}: ") for text in texts)
    return [text.removeprefix(f"{path}: ") for text in texts]


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_and_nothing_else(tmp_path: Path, name: str) -> None:
    edit, wanted = BAD[name]
    document = core_document()
    edit(document)
    found = problems_of(tmp_path, document)
    assert len(found) == len(wanted), found
    for text, beginning in zip(found, wanted, strict=True):
        assert text.startswith(beginning)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    """All of those that the structure allows to be wrong together; order of the file, none twice."""
    together = [
        "a negative id",
        "a field before its record",
        "a message missing",
        "a negative constant in an unsigned field",
        "an overlap",
        "an overlap in the readings",
        "too many readings",
        "no frame limit",
        "a number where a mac belongs",
    ]
    document = reference_document()
    for name in together:
        BAD[name][0](document)
    found = problems_of(tmp_path, document)
    for name in together:
        for beginning in BAD[name][1]:
            assert sum(text.startswith(beginning) for text in found) == 1, (beginning, found)
    assert len(found) == len(together)


def test_unknown_keys_and_wrong_types_come_together(tmp_path: Path) -> None:
    document = reference_document()
    together = [
        "an unknown key",
        "an unknown key of a field",
        "a text for a number",
        "a byte order that does not exist",
    ]
    for name in together:
        BAD[name][0](document)
    found = problems_of(tmp_path, document)
    assert len(found) == 4
    for name in together:
        assert any(text.startswith(BAD[name][1][0]) for text in found), name


def test_the_same_document_unchanged_is_the_reference_profile(tmp_path: Path) -> None:
    """So that each refusal above is due to its edit."""
    path = tmp_path / "copy.toml"
    path.write_text(to_toml(reference_document()), "utf-8")
    assert load_profile(path).digest == reference_profile().digest


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(byte_order="little"),
        lambda d: field(d, "header", "magic").update(value=0x4F),
        lambda d: d["messages"]["capability"].update(id=33),
        lambda d: reading(d, "band").update(type="i8"),
        lambda d: d.update(max_frame_bytes=268),
    ],
)
def test_the_digest_changes_with_the_layout(tmp_path: Path, edit: Edit) -> None:
    document = core_document()
    edit(document)
    path = tmp_path / "changed.toml"
    path.write_text(to_toml(document), "utf-8")
    assert load_profile(path).digest != reference_profile().digest


def test_files_that_are_no_profile(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for content, wanted in (
        (b"name = ", "a wire profile in TOML"),
        (b"name = '\xff'", "a wire profile in UTF-8"),
        (b"#" * (4 * 1024 * 1024 + 1), "a wire profile of at most 4,194,304 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as refusal:
            load_profile(path)
        (problem,) = refusal.value.problems
        assert (problem.where, problem.expected) == (str(path), wanted)
    with pytest.raises(InputError, match="expected a wire profile, found no such file or directory"):
        load_profile(tmp_path / "missing.toml")
    with pytest.raises(InputError, match="expected a wire profile, found is a directory"):
        load_profile(tmp_path)


def test_the_second_profile_of_these_tests_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(OTHER_TOML, "utf-8")
    assert load_profile(path).digest != reference_profile().digest
