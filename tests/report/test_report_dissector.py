"""The dissector as text; what it does in Wireshark is `tests/interop/test_interop_tshark.py`'s business."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import prepared
import pytest

from loadgen.nmsp.profile import compiled, load_profile, reference_profile
from loadgen.report.dissector import dissector

ROOT = Path(__file__).parents[2]
TERN = ROOT / "docs" / "wire-profile" / "tern.toml"
PATIENCE_S = 60


@pytest.mark.parametrize("file", ["reference", None, TERN])
def test_the_command_prints_it(file: Path | str | None) -> None:
    words = ["profile", "dissector", *([] if file is None else [file])]
    done = prepared.loadgen().run(words, PATIENCE_S)
    profile = load_profile(TERN) if file == TERN else reference_profile()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == dissector(profile)


def test_a_profile_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    done = prepared.loadgen().run(["profile", "dissector", tmp_path / "none.toml"], PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such file or directory" in done.stderr


def test_whatever_a_text_holds_its_literal_ends_where_it_ends() -> None:
    every = "".join(map(chr, range(256))) + '"\\"]]--\u2028é'
    document = msgspec.structs.replace(reference_profile().document, name=every)
    head, _, _ = dissector(compiled(document)).partition("\n\n-- What follows")
    (line,) = re.findall(r'^  \["name"\] = "(.*)",$', head, re.MULTILINE)
    assert re.fullmatch(r"(?:[A-Za-z0-9_ ]|\\[0-9]{3})*", line)
    raw = re.sub(rb"\\([0-9]{3})", lambda found: bytes([int(found[1])]), line.encode("ascii"))
    assert raw.decode("utf-8") == every
    assert head.isascii()


def test_numbers_of_one_name_are_as_wide_as_the_widest_and_kinds_do_not_mix() -> None:
    """`signature` is a number of a wIPS alarm's and bytes of an interferer's."""
    text = dissector(reference_profile())
    fields = dict(re.findall(r'^    \["([a-z_0-9\\]+)"\] = \{.*?\["kind"\] = "(\w+)"', text, re.MULTILINE))
    assert (fields["signature"], fields[r"signature\046bytes"]) == ("uint16", "bytes")
    assert fields["rssi"] == "int8"
    assert fields["subservices"] == "uint64"
    assert fields["ap_mac"] == "ether"
    assert fields["address"] == "ipv6"
