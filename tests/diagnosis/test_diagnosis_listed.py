"""What `check --auth-list` takes out of a file, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from diagnosis_peers import MAC, MSE, hash_of

from loadgen.diagnosis.listed import judge, read_listed
from loadgen.errors import InputError

HASH, SHA1 = hash_of(MSE), hash_of(MSE, "sha1")
LISTS = {
    "AireOS, a command": f"(Cisco Controller) >config auth-list add sha256-lbs-ssc {MAC} {HASH}\n",
    "AireOS, a row": f"{MAC}         LBS-SSC-SHA256     {HASH}\n",
    "CMX": f"+----+----+\n| MAC Address | {MAC} |\n+----+----+\n| SHA2 Key | {HASH} |\n+----+----+\n",
    "IOS-XE among clients of MAC authentication": (
        "username 000c293c8dca aaa attribute list mab-local\n"
        "username 0050569c3489 aaa attribute list NMSP\n"
        'aaa attribute list mab-local\n attribute type inacl "CRITICAL-V4"\n'
        f"aaa attribute list NMSP\n attribute type password {HASH}\n"
    ),
}


@pytest.mark.parametrize("what", LISTS)
def test_what_our_own_hints_send_people_to_is_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(LISTS[what], "utf-8")
    listed = read_listed(path)
    assert [(entry.mac, entry.text) for entry in listed] == [(MAC, HASH)]
    assert judge(listed, MSE.certificate(), "sha256", "spki").agrees


@pytest.mark.parametrize("text", ["hostname c9800\n!\nend\n", "username admin privilege 15 secret 9 $9$abc\n"])
def test_a_file_in_which_nothing_is_an_entry_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as refusal:
        read_listed(path)
    (problem,) = refusal.value.problems
    assert (problem.where, problem.found) == (str(path), "none of them")
