"""A profile that does not work is refused with its place; several things wrong are refused all at once."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from nmsp_bad_profiles import ALL_BAD, BAD, Edit, by_id, elements, field, payload, reading
from nmsp_samples import OTHER_TOML, REFERENCE_TOML, core_document, reference_document, to_toml

from loadgen.errors import ExitCode, InputError
from loadgen.nmsp import field_check, framing_check, profile_check
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import load_profile, reference_profile
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.strict import convert_leniently_untrusted


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


@pytest.mark.parametrize("name", ALL_BAD)
def test_what_is_wrong_is_said_and_nothing_else(tmp_path: Path, name: str) -> None:
    make, edit, wanted = ALL_BAD[name]
    document = make()
    edit(document)
    found = problems_of(tmp_path, document)
    assert len(found) == len(wanted), found
    for text, beginning in zip(found, wanted, strict=True):
        assert text.startswith(beginning)


def test_every_place_that_refuses_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of `add` in the modules that check, by its line: what no row reaches might say anything, or never be
    said.
    """
    places: set[tuple[str, int]] = set()
    for module in (profile_check, field_check, framing_check):
        assert module.__file__ is not None
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        # Sets have an `add`, too; those of problems have a place, what was expected, and what was found.
        found = {node.lineno for node in calls if node.func.attr == "add" and len(node.args) == 3}
        assert len(found) >= 5
        places |= {(module.__file__, line) for line in found}
    reached: set[tuple[str, int]] = set()
    add = field_check.FieldCheck.add

    def noted(self: field_check.FieldCheck, where: str, expected: str, found: str) -> None:
        caller = sys._getframe(1)
        reached.add((caller.f_code.co_filename, caller.f_lineno))
        add(self, where, expected, found)

    monkeypatch.setattr(field_check.FieldCheck, "add", noted)
    for make, edit, _ in ALL_BAD.values():
        document = make()
        edit(document)
        found_document, problems = convert_leniently_untrusted(document, ProfileDocument)
        if found_document is not None and not problems:
            assert profile_check.check(found_document)
    files = {file for file, _ in places}  # what is wrong with a dialogue is said elsewhere
    assert {(file, line) for file, line in reached if file in files} == places


def test_the_largest_that_just_fits_passes(tmp_path: Path) -> None:
    """The other side of what is refused above."""
    document = reference_document()
    elements(document, length="u8", length_counts="element")
    payload(document).update(size=252, id=65535)
    by_id(document, 255, type="u8", length="u8")
    document["records"]["client_info"]["size"] = 255
    # Its counted records, in a response, stay within the frame limit.
    document["messages"]["client_info_notify"]["repeat"]["max"] = 63  # 12 + 25 + 63 * (2 + 255) = 16,228
    path = tmp_path / "fits.toml"
    path.write_text(to_toml(document), "utf-8")
    assert load_profile(path).layouts[Kind.CLIENT_INFO_NOTIFY].elements is not None


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
        (b"#" * (4 * 1024 * 1024 + 1), "a wire profile, at most 4,194,304 bytes"),
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


# -- the bytes of opaque messages, in files ----------------------------------------------------------------------------

_HAIL = '\n[opaque.hail]\nid = 0x900\nsender = "wlc"\nfile = "hail.bin"\n'


def test_a_file_beside_the_profile_is_as_good_as_hex(tmp_path: Path) -> None:
    text = REFERENCE_TOML.read_text("utf-8")
    (tmp_path / "hail.bin").write_bytes(b"\x00\x11\xff")
    (tmp_path / "a.toml").write_text(text + _HAIL, "utf-8")
    (tmp_path / "b.toml").write_text(text + _HAIL.replace('file = "hail.bin"', 'hex = "0011ff"'), "utf-8")
    by_file, by_hex = (load_profile(tmp_path / name) for name in ("a.toml", "b.toml"))
    assert by_file.opaque["hail"].body == b"\x00\x11\xff"
    assert by_file.digest == by_hex.digest != reference_profile().digest


@pytest.mark.parametrize(("held", "found"), [(None, "no such file"), (b"", "an empty file"), (bytes(16385), "longer")])
def test_a_file_that_cannot_be_it(tmp_path: Path, held: bytes | None, found: str) -> None:
    if held is not None:
        (tmp_path / "hail.bin").write_bytes(held)
    (tmp_path / "a.toml").write_text(REFERENCE_TOML.read_text("utf-8") + _HAIL, "utf-8")
    with pytest.raises(InputError, match=rf"hail\.bin: expected the bytes of opaque\.hail.*{found}"):
        load_profile(tmp_path / "a.toml")
