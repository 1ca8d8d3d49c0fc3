from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_samples import REPEATABLE

from loadgen.identity.mac import bare_mac, local_mac, mac_from_int, mac_to_int, parse_mac


@pytest.mark.parametrize(
    "text", ["0050569c3489", "00:50:56:9c:34:89", "00-50-56-9C-34-89", "0050.569c.3489", "0050569C3489"]
)
def test_every_form_the_field_prints(text: str) -> None:
    assert parse_mac(text) == "00:50:56:9c:34:89"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0050569c348",
        "0050569c34890",
        "00:50:56:9c:34",
        "00:50-56:9c:34:89",
        "005056.9c3489",
        " 0050569c3489",
        "0050569c3489\n",
        "0050569c348g",
        "\uff10050569c3489",  # a full-width zero
        "0x50569c3489",
        "00_50569c348",  # int() would read an underscore
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_mac(text)
    assert str(refusal.value) == "a MAC address such as 00:50:56:9c:34:89 or 0050569c3489"


@REPEATABLE
@given(st.integers(0, 2**48 - 1))
def test_number_text_number(value: int) -> None:
    mac = mac_from_int(value)
    assert mac_to_int(mac) == value
    assert parse_mac(bare_mac(mac)) == parse_mac(mac.upper()) == mac


@REPEATABLE
@given(st.integers(0, 2**64))
def test_a_local_mac_is_unicast_and_locally_administered(value: int) -> None:
    first_octet = mac_to_int(local_mac(value)) >> 40
    assert first_octet & 0b11 == 0b10


@REPEATABLE
@given(st.text(max_size=20))
def test_hostile_text_raises_value_error_only(text: str) -> None:
    with suppress(ValueError):
        parse_mac(text)
