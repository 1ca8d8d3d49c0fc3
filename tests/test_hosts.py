"""Hosts and ports: what is printed is what is read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.errors import InputError
from loadgen.hosts import endpoint_shown, endpoints_in, endpoints_shown, further, parse_endpoint
from loadgen.prepare.addresses import read_targets
from loadgen.transport.address import host_and_port, socket_address

ZONES = st.sampled_from(["eth0", "lo", "7", "wlan0.100"])
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: str(address).partition("%")[0]),
    st.tuples(st.ip_addresses(v=6, network="fe80::/10"), ZONES).map(lambda pair: f"{pair[0]}%{pair[1]}"),
    st.sampled_from(["wlc.example", "wlc-1"]),
)
PORTS = st.integers(0, 65535)
REPEATABLE = settings(derandomize=True, deadline=None, database=None)


@REPEATABLE
@given(HOSTS, PORTS)
def test_one_is_read_as_it_is_printed(host: str, port: int) -> None:
    text = endpoint_shown(host, port)
    assert parse_endpoint(text) == (host, port)
    assert endpoints_in(f"2026-11-23 16:04:51 INFO listening on {text}, and that is all") == [(host, port)]


@REPEATABLE
@given(st.lists(st.tuples(HOSTS, PORTS), max_size=5))
def test_many_are_read_as_they_are_printed(endpoints: list[tuple[str, int]]) -> None:
    assert endpoints_in(f"ready: {len(endpoints)} WLCs at {endpoints_shown(endpoints)}") == endpoints


FLEETS = {
    "by address": ([(f"127.0.8.{n}", 16113) for n in range(1, 21)], "127.0.8.1:16113 ... 127.0.8.20:16113"),
    "past an octet": (
        [("127.0.1.254", 1), ("127.0.1.255", 1), ("127.0.2.0", 1), ("127.0.2.1", 1)],
        "127.0.1.254:1 ... 127.0.2.1:1",
    ),
    "by port": ([("::1", port) for port in range(5000, 5004)], "[::1]:5000 ... [::1]:5003"),
    "in a zone": (
        [("fe80::ffff%eth0", 9), ("fe80::1:0%eth0", 9), ("fe80::1:1%eth0", 9)],
        "[fe80::ffff%eth0]:9 ... [fe80::1:1%eth0]:9",
    ),
    "in two zones": ([("fe80::1%a", 9), ("fe80::2%b", 9)], "[fe80::1%a]:9 [fe80::2%b]:9"),
    "two": ([("127.0.0.1", 1), ("127.0.0.1", 2)], "127.0.0.1:1 127.0.0.1:2"),
    "as the kernel chose": ([("h", 40001), ("h", 40002), ("h", 40003)], "h:40001 h:40002 h:40003"),
    "a stretch and others": (
        [("127.0.0.1", 7), ("127.0.0.1", 5), ("127.0.0.1", 6), ("127.0.0.1", 7), ("127.0.0.2", 7)],
        "127.0.0.1:7 127.0.0.1:5 ... 127.0.0.1:7 127.0.0.2:7",
    ),
}


@pytest.mark.parametrize("name", FLEETS)
def test_a_fleet_is_told_by_its_ends(name: str) -> None:
    endpoints, text = FLEETS[name]
    assert endpoints_shown(endpoints) == text
    assert endpoints_in(f"ready: {len(endpoints)} WLCs at {text}") == endpoints


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:1 ... 127.0.0.2:2",
        "127.0.0.2:1 ... 127.0.0.1:1",
        "127.0.0.1:2 ... 127.0.0.1:1",
        "10.0.0.1:1 ... 127.0.0.1:1",
        "127.0.0.1:1 ... [::1]:1",
        "[fe80::1%a]:1 ... [fe80::3%b]:1",
        "a:1 ... b:1",
        "127.0.0.1:1 ... 127.0.0.1:1",
        "127.0.0.1:99999",
    ],
)
def test_what_is_no_fleet(text: str) -> None:
    with pytest.raises(ValueError, match=r"from one to the other|such as"):
        endpoints_in(text)


@pytest.mark.parametrize("text", ["ready", "at 16:04:51", "::1:5", "a:b", "mac 02:4d:53:00:00:00 is ready"])
def test_what_names_none(text: str) -> None:
    assert endpoints_in(text) == []


def test_the_next_ones_are_in_the_same_zone() -> None:
    assert further("fe80::ff%eth0", 1) == "fe80::100%eth0"
    assert further("127.0.0.255", 1) == "127.0.1.0"
    with pytest.raises(ValueError, match="not permitted"):
        further("255.255.255.255", 1)


def test_targets_keep_their_zone_and_are_not_looked_up() -> None:
    text = "wlc=[fe80::1%eth9]:16113,[2001:db8::1]:7,192.0.2.7:8"
    assert read_targets(text, "--target") == (("fe80::1%eth9", 16113), ("2001:db8::1", 7), ("192.0.2.7", 8))
    with pytest.raises(InputError, match="an address and a port such as"):
        read_targets("wlc=2001:db8::1:7", "--target")


def test_sockets_are_told_the_zone_by_its_number() -> None:
    index = socket.if_nametoindex("lo")
    assert socket_address("fe80::1%lo", 7) == ("fe80::1", 7, 0, index)
    assert socket_address(f"FE80::0:1%{index}", 7) == ("fe80::1", 7, 0, index)
    assert socket_address("2001:db8::1", 7) == ("2001:db8::1", 7, 0, 0)
    assert socket_address("127.0.0.1", 7) == ("127.0.0.1", 7)
    with pytest.raises(OSError, match="no interface none-such"):
        socket_address("fe80::1%none-such", 7)


def test_sockets_tell_the_zone_by_its_name() -> None:
    index = socket.if_nametoindex("lo")
    assert host_and_port(("fe80::1", 7, 0, index)) == ("fe80::1%lo", 7)
    assert host_and_port(("fe80::1", 7, 0, 0)) == ("fe80::1", 7)
    assert host_and_port(("fe80::1", 7, 0, 9_999)) == ("fe80::1%9999", 7)
    assert host_and_port(("127.0.0.1", 7)) == ("127.0.0.1", 7)


def own_link_local() -> str | None:
    """An address of this machine with a zone: what goes to it takes the loopback device."""
    path = Path("/proc/net/if_inet6")
    rows = [line.split() for line in path.read_text("ascii").splitlines()] if path.exists() else []
    found = next((row for row in rows if row[3] == "20"), None)
    return found and f"{':'.join(found[0][at : at + 4] for at in range(0, 32, 4))}%{found[5]}"


@pytest.mark.skipif(own_link_local() is None, reason="no interface here has a link-local address")
def test_who_is_met_in_a_zone_is_known_by_it() -> None:
    host = own_link_local()
    assert host is not None
    with socket.create_server(socket_address(host, 0), family=socket.AF_INET6) as server:
        at = host_and_port(server.getsockname())
        assert at[0].endswith(host.partition("%")[2])
        with socket.socket(socket.AF_INET6) as client:
            client.connect(socket_address(*at))
            assert host_and_port(client.getpeername()) == at
