"""Segments put together: the connections of a capture, and what happens on them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from loadgen.capture.directions import Direction, Memory, Out
from loadgen.capture.events import Address, Conversation, Event, How, Opened
from loadgen.capture.network import Segment
from loadgen.capture.tally import Tally

__all__ = ["Connections"]

_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
# Connections that are known at once; those that ended stay for their last segments.
_MOST_CONNECTIONS = 1 << 15
_MOST_WAITING = 1 << 26  # bytes of all of them that wait for those before


class _Connection:
    __slots__ = ("client", "conversation", "flows", "last_ns", "server")

    def __init__(self, conversation: Conversation, flows: tuple[bytes, bytes], memory: Memory) -> None:
        self.conversation, self.flows = conversation, flows
        self.client, self.server = (Direction(conversation, of_client, memory) for of_client in (True, False))
        self.last_ns = conversation.began_ns

    @property
    def is_over(self) -> bool:
        return self.client.is_closed and self.server.is_closed

    def end(self, how: How, out: Out) -> None:
        for direction in (self.client, self.server):
            direction.end(how, self.last_ns, out)


class Connections:
    """Fed with segments, it gives events.

    Args:
        port: of servers: which end is which, where no SYN was captured. If both ends have it or neither, the lower port
            is the server's.
    """

    def __init__(self, port: int, tally: Tally) -> None:
        self._port, self._tally = port, tally
        self._memory = Memory(tally)
        # By flow, of either direction: the connection, who speaks, who hears.
        self._flows: dict[bytes, tuple[_Connection, Direction, Direction]] = {}

    def receive(self, segment: Segment) -> list[Event]:
        ns, flow, sequence, acknowledged, flags, data, length = segment
        out: Out = []
        found = self._flows.get(flow)
        if found is None:
            found = self._begin(segment, out)
        elif flags & _SYN and not _is_same(found, segment):
            found = self._again(found[0], segment, out)
        connection, mine, theirs = found
        connection.last_ns = ns
        if flags & (_SYN | _RST):
            if flags & _RST:
                # One of any other number is not obeyed by the other end either.
                if mine.is_near(sequence):
                    connection.end(How.RESET, out)
                else:
                    self._tally.strays += 1
                return out
            sequence = (sequence + 1) & 0xFFFFFFFF
            if not mine.is_settled:
                mine.settle_at(sequence, out)
            if flags & _ACK and not theirs.is_settled:
                theirs.settle_at(acknowledged, out)
        if flags & _ACK:
            theirs.acknowledge(acknowledged)
        if length and not mine.take(ns, sequence, data, length, bool(flags & _PSH), out):
            # It is another connection, whose SYN was not captured; or too much of this one is missing to follow it.
            connection, mine, theirs = self._again(connection, segment, out)
            mine.take(ns, sequence, data, length, bool(flags & _PSH), out)
        if flags & _FIN:
            mine.fin(ns, (sequence + length) & 0xFFFFFFFF, out)
        if mine.pieces:
            mine.give_up(ns, out)
        if theirs.pieces:
            theirs.give_up(ns, out)
        if self._memory.waiting > _MOST_WAITING:
            self._make_room(out)
        return out

    def finish(self) -> Iterator[Event]:
        """The capture ends."""
        connections = {id(each): each for each, _, _ in self._flows.values()}
        self._flows.clear()
        for connection in connections.values():
            out: Out = []
            connection.end(How.CUT, out)
            yield from out

    def _begin(self, segment: Segment, out: Out) -> tuple[_Connection, Direction, Direction]:
        if len(self._flows) >= 2 * _MOST_CONNECTIONS:
            self._evict(out)
        sender, receiver = _ends(segment.flow)
        if segment.flags & _SYN:
            is_client = not segment.flags & _ACK
        elif (sender[1] == self._port) != (receiver[1] == self._port):
            is_client = receiver[1] == self._port
        else:
            is_client = sender[1] >= receiver[1]
        client, server = (sender, receiver) if is_client else (receiver, sender)
        conversation = Conversation(self._tally.conversations, client, server, segment.ns)
        self._tally.conversations += 1
        out.append(Opened(conversation))
        connection = _Connection(conversation, (segment.flow, _reversed(segment.flow)), self._memory)
        ways = (connection.client, connection.server) if is_client else (connection.server, connection.client)
        found = self._flows[segment.flow] = (connection, *ways)
        if connection.flows[1] != segment.flow:
            self._flows[connection.flows[1]] = (connection, *ways[::-1])
        return found

    def _again(self, connection: _Connection, segment: Segment, out: Out) -> tuple[_Connection, Direction, Direction]:
        """A new connection of the same addresses and ports."""
        connection.end(How.CUT, out)
        return self._begin(segment, out)

    def _evict(self, out: Out) -> None:
        """Those that were silent for the longest time, a quarter of all; those that are over first."""
        known = {id(each): each for each, _, _ in self._flows.values()}
        chosen = sorted(known.values(), key=lambda each: (not each.is_over, each.last_ns))[: _MOST_CONNECTIONS // 4]
        for connection in chosen:
            if not connection.is_over:
                self._tally.evicted += 1
                connection.end(How.CUT, out)
            for flow in connection.flows:
                self._flows.pop(flow, None)

    def _make_room(self, out: Out) -> None:
        """What waits the most is waited for no longer, until half of the room is free."""
        waiting = {id(way): way for _, way, _ in self._flows.values() if way.pieces}
        for direction in sorted(waiting.values(), key=lambda each: -each.cost):
            direction.drain(out)
            if self._memory.waiting <= _MOST_WAITING // 2:
                return


def _is_same(found: tuple[_Connection, Direction, Direction], segment: Segment) -> bool:
    """Whether a SYN is that of a connection that is known, captured twice, sent again, or after what came behind it."""
    connection, mine, theirs = found
    if connection.is_over or not mine.begins_at((segment.sequence + 1) & 0xFFFFFFFF):
        return False
    if segment.flags & _ACK:
        return theirs.begins_at(segment.acknowledged)
    return mine is connection.client


def _ends(flow: bytes) -> tuple[Address, Address]:
    size = (len(flow) - 4) // 2
    ports = struct.unpack_from(">HH", flow, 2 * size)
    return (_text(flow[:size]), ports[0]), (_text(flow[size : 2 * size]), ports[1])


def _text(address: bytes) -> str:
    found = ip_address(address)
    # Python 3.13 and those before write mapped addresses differently.
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return f"::ffff:{found.ipv4_mapped}"
    return str(found)


def _reversed(flow: bytes) -> bytes:
    size = (len(flow) - 4) // 2
    return flow[size : 2 * size] + flow[:size] + flow[-2:] + flow[-4:-2]
