"""Units and labels: every field of every message and record has them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from nmsp_samples import OTHER_TOML

from loadgen.cli.profile import profile as command
from loadgen.errors import InputError
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.fields import PUBLIC, PUBLIC_IN_HEADER, UNITS, Label, label_of
from loadgen.nmsp.messages import StationsNotify
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.profile_check import Shape

MESSAGES = {entry.message for entry in CATALOGUE.values()} | {StationsNotify}
RECORDS = {repeated[1] for message in MESSAGES if (repeated := Shape(message).repeated) is not None}
HEADER = {"msg_id", "msg_type", "msg_subtype", "length", "transaction", "frame_number", "acknowledged", "checksum"}
TERN = Path(__file__).parents[2] / "docs" / "wire-profile" / "tern.toml"


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    return set(Shape(struct).types)


def test_every_field_has_a_unit_and_every_unit_a_field() -> None:
    names = HEADER.union(*(fields_of(struct) for struct in MESSAGES | RECORDS))
    assert set(UNITS) == names
    assert all(UNITS.values())


def test_labels_are_of_fields_that_there_are() -> None:
    assert set(PUBLIC) <= MESSAGES | RECORDS
    assert PUBLIC_IN_HEADER <= HEADER
    for struct, names in PUBLIC.items():
        assert names <= fields_of(struct), struct
    assert label_of(None, "msg_id") is Label.PUBLIC
    assert label_of(None, "magic") is Label.OURS


def run(*arguments: object) -> tuple[int, str]:
    texts = [str(each) for each in arguments]
    result = CliRunner().invoke(command, texts, standalone_mode=False, catch_exceptions=False)
    return result.return_value, result.output


def test_show_prints_every_part_and_fits_eighty_columns() -> None:
    code, text = run("show")
    assert code == 0
    document = reference_profile().document
    assert all(f"message {message.id} {name} " in text for name, message in document.messages.items())
    assert all(f"record {name} " in text for name in document.records)
    assert max(map(len, text.splitlines())) <= 80


def test_show_is_what_the_page_shows() -> None:
    page = TERN.parent.with_suffix(".md").read_text("utf-8")
    _, text = run("show", TERN, "--only", "client_info_notify")
    assert "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines()) in page
    _, text = run("check", TERN)
    assert f"    {text}" in page


def test_show_as_json() -> None:
    _, text = run("show", "--json", "--only", "tag_info_notify")
    parts = msgspec.json.decode(text)["parts"]
    assert [part["name"] for part in parts] == ["tag_info_notify", "tag_info"]
    (payload,) = (row for row in parts[0]["rows"] if row["name"] == "payload")
    assert payload["offset"] is None
    assert (payload["id"], payload["size"], payload["label"]) == (1, 500, "public")


def test_what_is_not_there_cannot_be_shown() -> None:
    with pytest.raises(InputError, match=r'--only: expected one of header, .*, found "x"'):
        run("show", "--only", "x")


def test_check_says_everything_that_is_wrong(tmp_path: Path) -> None:
    assert run("check", "reference") == (0, f"ok: reference-1 {reference_profile().digest}, 40 messages\n")
    path = tmp_path / "bad.toml"
    path.write_text(OTHER_TOML.replace("id = 77", "id = 0x0101").replace("max = 11", "max = 0"), "utf-8")
    with pytest.raises(InputError) as refusal:
        run("check", path)
    assert len(refusal.value.problems) == 2


def test_diff_in_words(tmp_path: Path) -> None:
    assert run("diff", "reference", "reference") == (0, "")
    path = tmp_path / "other.toml"
    path.write_text(OTHER_TOML, "utf-8")
    code, text = run("diff", "reference", path)
    assert code == 1
    lines = text.splitlines()
    for line in (
        "byte_order: big, then little",
        "echo_request: id 6, then 77",
        "header: 12 bytes, then 19",
        "header: transaction: u32 at 8, then u64 at 9",
        "ap_info_notify: only in reference-1",
        "record heard: snr: i8 at 11, then i16 at 14",
    ):
        assert line in lines, text
    path.write_text(OTHER_TOML.replace("heard", "reading"), "utf-8")
    (tmp_path / "same.toml").write_text(OTHER_TOML, "utf-8")
    assert run("diff", path, tmp_path / "same.toml") == (0, "")
