"""What `loadgen check` takes as addresses and names, before it does anything."""

from __future__ import annotations

import pytest

from loadgen.cli.check import _host_and_port, _mask
from loadgen.errors import InputError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.0.2.7", ("192.0.2.7", 16113)),
        ("wlc.example:7", ("wlc.example", 7)),
        ("2001:db8::1", ("2001:db8::1", 16113)),
        ("[2001:db8::1]", ("2001:db8::1", 16113)),
        ("[2001:db8::1]:7", ("2001:db8::1", 7)),
        ("fe80::1%eth0", ("fe80::1%eth0", 16113)),
        ("[fe80::1%eth0]", ("fe80::1%eth0", 16113)),
        ("[fe80::1%eth0]:7", ("fe80::1%eth0", 7)),
    ],
)
def test_addresses(text: str, wanted: tuple[str, int]) -> None:
    assert _host_and_port(text) == wanted


@pytest.mark.parametrize("text", ["", "[]", "[::1]:", "host:", "host:x", "[::1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="an address and a port such as"):
        _host_and_port(text)


def test_unknown_names_come_with_the_nearest_first() -> None:
    with pytest.raises(InputError) as refusal:
        _mask("rssi-ms,rsi-rfid,al")
    first, second = map(str, refusal.value.problems)
    assert "expected one of rssi-rfid, " in first
    assert "expected one of all, " in second
