"""What devices print: read as they print it, refused where it is wrong, written so that it is read back."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_samples import (
    AUTH_INFO_ENGLISH,
    AUTH_INFO_JAPANESE,
    BROKEN_SHA2,
    IOS_XE_CONFIGURATION,
    IOS_XE_SESSION,
    MAC,
    REPEATABLE,
    SHA1,
    SHA2,
)

from loadgen.errors import InputError, Problem
from loadgen.identity.authlist import AuthEntry
from loadgen.identity.credentials import Identity
from loadgen.identity.device_reader import EXPECTED_TEXT
from loadgen.identity.devices import (
    aireos_config,
    ios_xe_config,
    load_auth_list,
    read_device_text,
    server_auth_blocks,
    server_auth_info,
)
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes, key_hash
from loadgen.identity.mac import mac_from_int

EITHER_HASH = "40 hex digits (SHA-1) or 64 hex digits (SHA-256)"
A_MAC = "a MAC address such as 00:50:56:9c:34:89 or 0050569c3489"


def _entry(line: int, algorithm: HashAlgorithm, mac: str = MAC) -> AuthEntry:
    return AuthEntry(mac, algorithm, SHA1 if algorithm == "sha1" else SHA2, f"text: line {line}")


def _facts(entries: tuple[AuthEntry, ...]) -> list[tuple[str, str, str]]:
    return [(entry.mac, entry.algorithm, entry.key_hash) for entry in entries]


def _problems(text: str) -> list[tuple[int, str, str]]:
    """Line, expected and found of everything that is wrong with a text."""
    with pytest.raises(InputError) as refusal:
        read_device_text(text, "text")
    problems = refusal.value.problems
    assert all(problem.where.startswith("text: line ") for problem in problems)
    return [(int(problem.where.rsplit(" ", 1)[1]), problem.expected, problem.found) for problem in problems]


def _list(password: str, name: str = "NMSP") -> str:
    return f"aaa attribute list {name}\n attribute type password {password}\n"


# --- reading


def test_server_auth_info_in_english() -> None:
    assert read_device_text(AUTH_INFO_ENGLISH, "text") == (_entry(10, "sha1"), _entry(11, "sha256"))


def test_server_auth_info_in_japanese() -> None:
    assert read_device_text(AUTH_INFO_JAPANESE, "text") == (_entry(2, "sha1"), _entry(3, "sha256"))


def test_labels_however_they_are_spaced_and_spelt() -> None:
    half_width = "SHA1 \uff77\uff70\uff8a\uff6f\uff7c\uff6d"  # the katakana of the Japanese label
    text = f"  mac  address\t\uff1a 0050.569C.3489 \r\n\r\n{half_width} :{SHA1.upper()}\r\n"
    assert read_device_text(text, "text") == (_entry(3, "sha1"),)
    assert read_device_text(f"MACアドレス:{MAC}\nSHA1 key hash:{SHA1}", "text") == (_entry(2, "sha1"),)


def test_a_block_ends_with_the_first_line_of_something_else() -> None:
    text = f"MAC Address: {MAC}\ncmd> something\nSHA1 Key Hash: {SHA1}\n"
    assert [line for line, _, _ in _problems(text)] == [1, 3]


def test_a_session_at_the_controller() -> None:
    assert read_device_text(IOS_XE_SESSION, "text") == (_entry(1, "sha256"),)


def test_a_whole_configuration() -> None:
    assert read_device_text(IOS_XE_CONFIGURATION, "text") == (_entry(14, "sha256"),)


def test_a_capture_with_a_pager_and_windows_line_ends() -> None:
    text = (
        "9800#show running-config | section aaa\r\n"
        "username 0050569c3489 aaa attribute list NMSP\r\n"
        "aaa attribute list NMSP\r\n"
        f" --More-- \x08\x08\x08\x08\x08         \x08\x08\x08\x08 attribute type password {SHA2}\r\n"
        "9800#\r\n"
    )
    assert read_device_text(text, "text") == (_entry(2, "sha256"),)


def test_sha1_in_an_attribute_list() -> None:
    text = "username 0050569c3489 aaa attribute list A\n" + _list(SHA1.upper(), "A")
    assert read_device_text(text, "text") == (_entry(1, "sha1"),)


def test_several_users_and_lists_in_any_order() -> None:
    text = (
        _list(SHA2, "B")
        + "username 020000000001 aaa attribute list B\n"
        + "username 020000000002 aaa attribute list A\n"
        + _list(SHA1, "A")
        + "username 020000000003 aaa attribute list B\n"
    )
    assert read_device_text(text, "text") == (
        _entry(3, "sha256", "02:00:00:00:00:01"),
        _entry(4, "sha1", "02:00:00:00:00:02"),
        _entry(7, "sha256", "02:00:00:00:00:03"),
    )


def test_a_hash_printed_by_both_sides_counts_once() -> None:
    assert read_device_text(AUTH_INFO_ENGLISH + IOS_XE_SESSION, "text") == (
        _entry(10, "sha1"),
        _entry(11, "sha256"),
    )


def test_a_list_entered_again_is_continued() -> None:
    text = f"aaa attribute list N\n!\nusername 0050569c3489 aaa attribute list N\n{_list(SHA2, 'N')}"
    assert read_device_text(text, "text") == (_entry(3, "sha256"),)


def test_a_commented_out_line_stays_one() -> None:
    text = IOS_XE_SESSION + "# username 020000000001 aaa attribute list MISSING\n! username x aaa attribute list Y\n"
    assert read_device_text(text, "text") == (_entry(1, "sha256"),)


MAB = f"""\
aaa authorization network MAC local
aaa attribute list wlan_lobby_access
 attribute type ssid "Guest"
username 0050569c3489 mac aaa attribute list NMSP
username a483e7aabbcc mac
username a483e7aabbcd mac wlan-profile-name corp
username a483.e7aa.bbce mac aaa attribute list wlan_lobby_access
username 000c293c8dca password 0 000c293c8dca
username 000c293c8dca aaa attribute list mab-local
aaa attribute list mab-local
 attribute type tunnel-medium-type all-802
 attribute type tunnel-private-group-id "150"
 attribute type inacl "CRITICAL-V4"
{_list(SHA2)}"""


def test_clients_of_mac_authentication_are_none_of_our_business() -> None:
    assert read_device_text(MAB, "text") == (_entry(4, "sha256"),)


def test_a_session_in_which_somebody_asked_for_help() -> None:
    text = (
        "wlc(config)#aaa attribute list NMSP\n"
        "wlc(config-attr-list)#attribute type password ?\n"
        "  LINE  attribute value\n"
        f"wlc(config-attr-list)#attribute type password {SHA2.upper()}\n"
        "wlc(config)#username 0050569c3489 aaa attribute list NMSP\n"
    )
    assert read_device_text(text, "text") == (_entry(5, "sha256"),)


def test_a_password_of_type_0_is_in_clear() -> None:
    text = "username 0050569c3489 aaa attribute list NMSP\n" + _list(f"0 {SHA2}")
    assert read_device_text(text, "text") == (_entry(1, "sha256"),)


def test_the_tables_of_cmx() -> None:
    rule = f"+-------------+{'-' * 66}+\n"
    rows = (("MAC Address", MAC), ("SHA1 Key", SHA1), ("SHA2 Key", SHA2))
    text = rule + "".join(f"| {label:<11} | {value:<64} |\n{rule}" for label, value in rows)
    assert read_device_text(text, "text") == (_entry(4, "sha1"), _entry(6, "sha256"))
    assert read_device_text(text.replace("\n", "\r\n"), "text") == (_entry(4, "sha1"), _entry(6, "sha256"))


def test_auth_lists_of_aireos() -> None:
    text = (
        f"(Cisco Controller) >config auth-list add lbs-ssc {MAC} {SHA1}\n"
        "(Cisco Controller) >config auth-list add mic 58:bf:ea:00:00:01\n"
        "(Cisco Controller) >show auth-list\n\n"
        "Authorize MIC APs against Auth-list or AAA ...... disabled\n"
        "Mac Addr                  Cert Type          Key Hash\n"
        "-----------------------   ----------------   ------------------------------------------\n"
        f"{MAC}         LBS-SSC            {SHA1}\n"
        f"{MAC}         LBS-SSC-SHA256     {SHA2}\n"
        "58:bf:ea:00:00:01         MIC\n"
        f"58:bf:ea:00:00:02         SSC                {SHA1}\n"
    )
    assert read_device_text(text, "text") == (_entry(1, "sha1"), _entry(9, "sha256"))


def test_a_heading_that_ran_on() -> None:
    text = f"---------------Server Auth Info ---------------MAC Address: {MAC}\nSHA1 Key Hash: {SHA1}\n"
    assert read_device_text(text, "text") == (_entry(2, "sha1"),)


# --- refusing


def test_the_password_that_the_document_prints() -> None:
    assert _problems(AUTH_INFO_JAPANESE + IOS_XE_SESSION.replace(SHA2, BROKEN_SHA2)) == [
        (7, EITHER_HASH, "61 hex digits and 1 blank")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"MAC Address: 00:50:56:9c:34\nSHA1 Key Hash: {SHA2}\nSHA2 Key Hash:\nCertificate Type: X509\n",
            [
                (1, A_MAC, "'00:50:56:9c:34'"),
                (2, "40 hex digits (SHA-1)", "64 hex digits"),
                (3, "64 hex digits (SHA-256)", "nothing"),
                (4, "the certificate type SSC, MIC or LSC", "'X509'"),
            ],
        ),
        (
            f"\nSHA1 Key Hash: {SHA1}\n",
            [(2, "a MAC Address in the server-auth-info block that begins here", "none")],
        ),
        (
            f"MAC Address: {MAC}\nCertificate Type: SSC\n",
            [(1, "a key hash in the server-auth-info block that begins here", "none")],
        ),
        (
            "username 0050569c348 aaa attribute list NMSP\n" + _list(SHA2),
            [(1, A_MAC + " as user name", "'0050569c348'")],
        ),
        (
            "username 0050569c3489 aaa attribute list NMPS\n" + _list(SHA2),
            [
                (1, "the name of an aaa attribute list in the same text", "'NMPS'"),
                (2, "a username with the aaa attribute list 'NMSP'", "none"),
            ],
        ),
        (
            "username 0050569c3489 aaa attribute list",
            [(1, "the name of an aaa attribute list in the same text", "nothing")],
        ),
        (
            "username 0050569c3489 aaa attribute list NMSP\naaa attribute list NMSP\n!\n",
            [(2, "an attribute type password in the attribute list 'NMSP'", "none")],
        ),
        (
            # With any entry in the text it would be somebody else's, as of a client of MAC authentication.
            "username 0050569c3489 aaa attribute list N\naaa attribute list N\n attribute type inacl 101\n",
            [(2, "an attribute type password in the attribute list 'N'", "other attributes only")],
        ),
        (
            "username 0050569c3489 aaa attribute list N\n" + _list("7 0822455D0A16", "N"),
            [(3, f"{EITHER_HASH} in clear", "an encrypted password (type 7)")],
        ),
        (
            f"config auth-list add lbs-ssc {MAC} {SHA2}\nconfig auth-list add sha256-lbs-ssc 00:50 {SHA2}\n",
            [(1, "40 hex digits (SHA-1)", "64 hex digits"), (2, A_MAC, "'00:50'")],
        ),
        (
            "(Cisco Controller) >config auth-list add sha256-lbs-ssc\n",
            [(1, A_MAC, "nothing"), (1, "64 hex digits (SHA-256)", "nothing")],
        ),
        (
            f"attribute type password {SHA2}\n",
            [(1, "an aaa attribute list above this password", "none")],
        ),
        (
            f"username 0050569c3489 aaa attribute list N\n{_list(SHA2, 'N')}!\nattribute type password {SHA1}\n",
            [(5, "an aaa attribute list above this password", "none")],
        ),
        (
            "username 0050569c3489 aaa attribute list N\naaa attribute list N\n attribute type password\n",
            [(3, EITHER_HASH, "nothing")],
        ),
        (
            f"username 0050569c3489 aaa attribute list N\n{_list('7' * 64, 'N')}{AUTH_INFO_JAPANESE}",
            [(6, f"for {MAC} the key hash of text: line 1, {'7' * 64}", SHA2)],
        ),
    ],
)
def test_what_is_refused(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert _problems(text) == expected


def test_all_problems_come_in_the_order_of_the_text() -> None:
    text = f"{_list(SHA2[:-1])}username 1 aaa attribute list NMSP\nSHA2 Key Hash: z\nMAC Address: {MAC}\n"
    assert [line for line, _, _ in _problems(text)] == [2, 3, 4, 4, 5]


def test_a_block_without_a_mac_does_not_take_the_next_ones() -> None:
    text = f"SHA1 Key Hash: {SHA1}\nMAC Address: {MAC}\nSHA1 Key Hash: {SHA1}\n"
    assert [line for line, _, _ in _problems(text)] == [1]


def test_two_passwords_in_one_list_are_two_hashes_of_one_mac() -> None:
    text = f"username 0050569c3489 aaa attribute list N\n{_list(SHA2, 'N')} attribute type password {'7' * 64}\n"
    assert [line for line, _, _ in _problems(text)] == [1]


def test_control_characters_of_a_text_do_not_reach_the_terminal() -> None:
    text = "username \x1b[31mevil aaa attribute list \x1b[2J" + "x" * 500
    for _, expected, found in _problems(text):
        assert "\x1b" not in expected + found
        assert len(found) < 80


@pytest.mark.parametrize("text", ["", "\n\n", "hostname c9800\n!\nend\n", "Certificate Type: SSC\n"])
def test_nothing_recognised(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_device_text(text, "text")
    assert refusal.value.problems == (Problem("text", EXPECTED_TEXT, "none of them"),)
    assert "AireOS auth-list lines" in EXPECTED_TEXT


# --- files


def test_a_file_becomes_an_auth_list(tmp_path: Path) -> None:
    path = tmp_path / "auth.txt"
    path.write_bytes(b"\xef\xbb\xbf" + AUTH_INFO_JAPANESE.encode())
    auth_list = load_auth_list(path, "public-key")
    assert auth_list.over == "public-key"
    assert [entry.where for entry in auth_list.entries] == [f"{path}: line 2", f"{path}: line 3"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "shift-jis").write_bytes(b"first line\n" + "SHA1キーハッシュ".encode("shift-jis"))
    for path, where, found in (
        (tmp_path / "missing", str(tmp_path / "missing"), "no such file or directory"),
        (tmp_path / "empty", str(tmp_path / "empty"), "an empty file"),
        (
            tmp_path / "shift-jis",
            f"{tmp_path / 'shift-jis'}: line 2",
            "the byte 0x83, which does not belong there",
        ),
        (Path("/dev/zero"), "/dev/zero", "a longer file"),
    ):
        with pytest.raises(InputError) as refusal:
            load_auth_list(path, "spki")
        assert [(problem.where, problem.found) for problem in refusal.value.problems] == [(where, found)]


# --- writing


def test_ios_xe_configuration_as_written() -> None:
    entries = read_device_text(AUTH_INFO_ENGLISH, "text")
    assert ios_xe_config(entries) == (
        "username 0050569c3489 aaa attribute list NMSP_0050569c3489\n"
        "aaa attribute list NMSP_0050569c3489\n"
        f" attribute type password {SHA2}\n"
        "!\n"
        "aaa authorization credential-download wcm_loc_serv_cert local\n"
    )


@pytest.mark.parametrize("over", get_args(HashedBytes))
def test_what_is_written_for_an_identity_is_read_back(ssc: Identity, issued: Identity, over: HashedBytes) -> None:
    for identity in (ssc, issued):
        certificate = identity.certificate()
        sha1, sha256 = key_hash(certificate, "sha1", over), key_hash(certificate, "sha256", over)
        printed = server_auth_info(identity, over)
        assert _facts(read_device_text(printed, "text")) == [
            (identity.mac, "sha1", sha1),
            (identity.mac, "sha256", sha256),
        ]
        config = ios_xe_config([AuthEntry.of(identity, "sha256", over)])
        assert _facts(read_device_text(config, "text")) == [(identity.mac, "sha256", sha256)]
    assert "Certificate Type: SSC" in server_auth_info(ssc)
    assert "Certificate Type: LSC" in server_auth_info(issued)


_macs = st.integers(0, 2**48 - 1).map(mac_from_int)
_hashes = st.tuples(
    st.none() | st.binary(min_size=20, max_size=20), st.none() | st.binary(min_size=32, max_size=32)
).filter(any)


@st.composite
def _auth_lists(draw: st.DrawFn) -> tuple[AuthEntry, ...]:
    """Entries in the order in which they are printed: for each MAC sha1 first, either may be missing."""
    entries = []
    for mac, (sha1, sha256) in draw(st.dictionaries(_macs, _hashes, min_size=1, max_size=5)).items():
        if sha1 is not None:
            entries.append(AuthEntry(mac, "sha1", sha1.hex(), "drawn"))
        if sha256 is not None:
            entries.append(AuthEntry(mac, "sha256", sha256.hex(), "drawn"))
    return tuple(entries)


_prompts = st.sampled_from(["", "  ", "3850c(config)#", "3850c(config-attr-list)# "])


@REPEATABLE
@given(_auth_lists(), st.sampled_from(["", "(Cisco Controller) >"]))
def test_lines_of_aireos_are_read_back_as_they_were(entries: tuple[AuthEntry, ...], prompt: str) -> None:
    text = "".join(f"{prompt}{line}\n" for line in aireos_config(entries).splitlines())
    assert _facts(read_device_text(text, "text")) == _facts(entries)


@REPEATABLE
@given(_auth_lists(), st.sampled_from([None, "SSC", "LSC"]))
def test_blocks_are_read_back_as_they_were(entries: tuple[AuthEntry, ...], certificate_type: str | None) -> None:
    assert _facts(read_device_text(server_auth_blocks(entries, certificate_type), "text")) == _facts(entries)


@REPEATABLE
@given(_auth_lists(), _prompts, st.sampled_from(["\n", "\r\n"]))
def test_configuration_is_read_back_with_any_prompt(entries: tuple[AuthEntry, ...], prompt: str, line_end: str) -> None:
    lines = [prompt + line for line in ios_xe_config(entries).splitlines()]
    preferred = {entry.mac: entry for entry in entries}  # sha256 comes last, where there is one
    assert _facts(read_device_text(line_end.join(lines), "text")) == _facts(tuple(preferred.values()))


# --- hostile input

_words = st.sampled_from(
    [
        *(
            "username ",
            "0050569c3489 ",
            "aaa attribute list ",
            "N",
            "attribute type ",
            "password ",
            " ",
            "#",
            ">",
        ),
        *(
            "MAC Address",
            "SHA1 Key Hash",
            "SHA2キーハッシュ",
            "証明書の種類",
            ":",
            "\uff1a",
            "SSC",
            "|",
            "+--+",
            "config auth-list add sha256-lbs-ssc ",
            "LBS-SSC ",
            "--More--",
            "[",
        ),
        *(MAC, SHA1, SHA2, "\n", "\r", "\x08", "\x00", "!", "\u2028", "\x0c", "no "),
    ]
)


@REPEATABLE
@given(st.lists(_words | st.text(max_size=5), max_size=40))
def test_hostile_text_raises_input_error_only(pieces: list[str]) -> None:
    try:
        entries = read_device_text("".join(pieces), "text")
    except InputError:
        pass
    else:
        assert entries
        assert {entry.key_hash for entry in entries} <= {SHA1, SHA2}


@REPEATABLE
@given(st.binary(max_size=200))
def test_hostile_files_raise_input_error_only(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_auth_list(path, "spki")


@pytest.mark.parametrize("line", ["username x ", " ", "a", ":", "[", "-", "#", "username aaa attribute "])
def test_one_endless_line_takes_no_time(line: str) -> None:
    with pytest.raises(InputError):
        read_device_text(line * (1_000_000 // len(line)), "text")
