"""From packets to segments of TCP: link layers, IPv4 and IPv6, fragments."""

from __future__ import annotations

import struct
from typing import NamedTuple

from loadgen.capture.blocks import LinkLayer
from loadgen.capture.fragments import Fragments
from loadgen.capture.packets import Packet
from loadgen.capture.tally import Tally

__all__ = ["Segment", "SegmentReader"]

_ETHERNET = int(LinkLayer.ETHERNET)
_RAW = {*map(int, (LinkLayer.RAW, LinkLayer.RAW_12, LinkLayer.RAW_14, LinkLayer.IPV4, LinkLayer.IPV6))}
_TCP = 6
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN = {0x8100, 0x88A8, 0x9100, 0x9200}
# Address families of BSD's loopback, in the byte order of whoever captured.
_FAMILIES = {2: _IPV4, 24: _IPV6, 28: _IPV6, 30: _IPV6}
# IPv6 extension headers whose length is in eights, less one: hop-by-hop, routing, destination, mobility, HIP, shim.
_EXTENSIONS = {0, 43, 60, 135, 139, 140}
_FRAGMENT, _AUTHENTICATION = 44, 51

_ethertype = struct.Struct(">H").unpack_from
_ipv4_head = struct.Struct(">HHH").unpack_from
_tcp_head = struct.Struct(">IIBB").unpack_from


class Segment(NamedTuple):
    ns: int
    flow: bytes  # source and target address, source and target port, as in the packet
    sequence: int
    acknowledged: int
    flags: int
    data: bytes
    length: int  # of the data as it was sent: the capture may have less


class SegmentReader:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._fragments = Fragments(tally)

    def segment(self, packet: Packet) -> Segment | None:
        """The segment that a packet brings, or makes whole; None, and counted: it brings none."""
        ns, link, data, length = packet
        if link == _ETHERNET:
            kind, at = _after_vlans(data, 12)
        elif link in _RAW:
            version = data[0] >> 4 if data else 0
            kind, at = _IPV4 if version == 4 else _IPV6 if version == 6 else 0, 0
        elif link == LinkLayer.LINUX_COOKED:
            kind, at = _after_vlans(data, 14)
        elif link == LinkLayer.LINUX_COOKED_2:
            kind, at = int.from_bytes(data[:2], "big"), 20
            if kind in _VLAN:
                kind, at = _after_vlans(data, 22)
        elif link in (LinkLayer.NULL, LinkLayer.LOOP):
            big, little = int.from_bytes(data[:4], "big"), int.from_bytes(data[:4], "little")
            kind, at = _FAMILIES.get(big) or _FAMILIES.get(little, 0), 4
        else:
            self._tally.other_links[link] += 1
            return None
        if kind == _IPV4:
            return self._ipv4(ns, data, at, length)
        if kind == _IPV6:
            return self._ipv6(ns, data, at, length)
        if at > len(data):
            self._tally.headers_cut += 1
        else:
            self._tally.not_ip += 1
        return None

    def finish(self) -> None:
        """Datagrams that are not whole now are counted."""
        self._fragments.finish()

    def _ipv4(self, ns: int, data: bytes, at: int, length: int) -> Segment | None:
        """`length`: of the packet on the wire."""
        if len(data) < at + 20:
            self._tally.headers_cut += 1
            return None
        total, identification, fragment = _ipv4_head(data, at + 2)
        first = data[at]
        head = (first & 15) * 4
        if total == 0:  # left to the network card, which cuts it (segmentation offload)
            total = length - at
        if first >> 4 != 4 or head < 20 or total < head:
            self._tally.malformed += 1
            return None
        protocol = data[at + 9]
        if protocol != _TCP:
            self._tally.not_tcp += 1
            return None
        addresses = data[at + 12 : at + 20]
        if not fragment & 0x3FFF:
            return self._tcp(ns, addresses, data, at + head, at + total)
        whole = self._fragments.add(
            addresses + struct.pack(">H", identification),
            ns,
            (fragment & 0x1FFF) * 8,
            bool(fragment & 0x2000),
            data[at + head : at + total],
            total - head,
        )
        return None if whole is None else self._tcp(ns, addresses, whole.data, 0, whole.length)

    def _ipv6(self, ns: int, data: bytes, at: int, length: int) -> Segment | None:
        if len(data) < at + 40:
            self._tally.headers_cut += 1
            return None
        (size,) = _ethertype(data, at + 4)
        if data[at] >> 4 != 6:
            self._tally.malformed += 1
            return None
        # 0: longer than this field can say, or left to the network card.
        end = at + 40 + size if size else length
        addresses = data[at + 8 : at + 40]
        return self._ipv6_upper(ns, addresses, data[at + 6], data, at + 40, end)

    def _ipv6_upper(self, ns: int, addresses: bytes, kind: int, data: bytes, at: int, end: int) -> Segment | None:
        """What is behind the fixed header: extension headers, the first of a kind, and what they are before."""
        while kind != _TCP:
            if kind not in _EXTENSIONS and kind not in (_FRAGMENT, _AUTHENTICATION):
                self._tally.not_tcp += 1
                return None
            if at + 8 > end:
                self._tally.malformed += 1
                return None
            if at + 8 > len(data):
                self._tally.headers_cut += 1
                return None
            after = data[at]
            if kind == _FRAGMENT:
                place, identification = struct.unpack_from(">H4s", data, at + 2)
                if place & 0xFFF9:  # not all of it in one, which may be (RFC 6946)
                    whole = self._fragments.add(
                        addresses + identification + bytes((after,)),
                        ns,
                        place & 0xFFF8,
                        bool(place & 1),
                        data[at + 8 : end],
                        end - at - 8,
                    )
                    if whole is None:
                        return None
                    data, at, end = whole.data, 0, whole.length
                else:
                    at += 8
            elif kind == _AUTHENTICATION:
                at += (data[at + 1] + 2) * 4
            else:
                at += (data[at + 1] + 1) * 8
            kind = after
        return self._tcp(ns, addresses, data, at, end)

    def _tcp(self, ns: int, addresses: bytes, data: bytes, at: int, end: int) -> Segment | None:
        """`end`: of the datagram, which may be beyond what was captured, or before it (padding, check sequences)."""
        tally = self._tally
        if end - at < 20:
            tally.malformed += 1
            return None
        if len(data) < at + 20:
            tally.headers_cut += 1
            return None
        sequence, acknowledged, size, flags = _tcp_head(data, at + 4)
        start = at + (size >> 4) * 4
        if not at + 20 <= start <= end:
            tally.malformed += 1
            return None
        payload, length = data[start:end], end - start
        if len(payload) < length:
            tally.cut += 1
        tally.segments += 1
        return Segment(ns, addresses + data[at : at + 4], sequence, acknowledged, flags, payload, length)


def _after_vlans(data: bytes, at: int) -> tuple[int, int]:
    """The type of what follows, and where that begins. `at`: where the type is, or that of a tag."""
    end = len(data)
    while at + 2 <= end:
        (kind,) = _ethertype(data, at)
        if kind not in _VLAN:
            return kind, at + 2
        at += 4
    return 0, end + 1
