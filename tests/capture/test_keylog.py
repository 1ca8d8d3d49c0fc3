"""Key logs: what counts, what is passed over, and what is no line of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capture.keylog import APPLICATION, MASTER, TunnelKeys

RANDOM, SECRET = bytes(range(32)), bytes(range(100, 148))


def line(label: str = MASTER, random: str = RANDOM.hex(), secret: str = SECRET.hex()) -> bytes:
    return f"{label} {random} {secret}\n".encode()


def test_lines_of_both_cases_and_line_ends() -> None:
    keys = TunnelKeys(b"# NSS\r\n\r\n" + line().replace(b"\n", b"\r\n"))
    keys.add(line(APPLICATION[0], RANDOM.hex().upper(), SECRET.hex().upper()).rstrip())
    assert (keys.secret(MASTER, RANDOM), keys.secret(APPLICATION[0], RANDOM)) == (SECRET, SECRET)
    assert (len(keys), keys.refused) == (2, 0)
    assert keys.secret(APPLICATION[1], RANDOM) is None
    assert keys.secret(MASTER, bytes(32)) is None


def test_the_later_line_counts() -> None:
    keys = TunnelKeys(line() + line(secret="ab" * 48))
    assert keys.secret(MASTER, RANDOM) == b"\xab" * 48
    keys.add(line())
    assert keys.secret(MASTER, RANDOM) == SECRET


def test_secrets_of_other_things_are_passed_over() -> None:
    keys = TunnelKeys(line("EXPORTER_SECRET") + line("EARLY_EXPORTER_SECRET") + line("ECH_SECRET"))
    assert (len(keys), keys.refused) == (0, 0)


@pytest.mark.parametrize(
    "bad",
    [
        line(random="00" * 31),
        line(secret="00" * 65),
        line(secret="0" * 95),
        line(secret="zz" * 48),
        line(secret="00" * 100_000),
        line("client_random"),
        b"\xff\xfe\x00\n",
        b"RSA Session-ID:00 Master-Key:00\n",
        line().replace(b" ", b"\t"),
        line().rstrip() + b" more\n",
    ],
    ids=range(10),
)
def test_what_is_no_line_is_counted(bad: bytes) -> None:
    keys = TunnelKeys(line() + bad + line(APPLICATION[0]))
    assert (len(keys), keys.refused) == (2, 1)


@given(st.binary(max_size=300))
def test_anything_is_taken(data: bytes) -> None:
    keys = TunnelKeys(data)
    assert len(keys) == 0
    assert keys.refused <= len(data.splitlines())
