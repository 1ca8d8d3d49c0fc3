"""The handshakes of whole fleets as a controller's own trace prints them: each in one piece, with its peer in front."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.diagnosis.field_trace import TraceLines
from loadgen.drive.tracing import Traced
from loadgen.hosts import endpoint_shown
from loadgen.nmsp.messages import Role


class FleetTrace:
    """Turns handshakes that are over into lines, up to a limit of each side, and counts those that it does not."""

    def __init__(self, limit: int, to_unix_ns: int) -> None:
        """Args: limit: handshakes a side; to_unix_ns: turns the monotonic clock into ns since the epoch."""
        self._limit, self._to_unix_ns = limit, to_unix_ns
        self._printed = dict.fromkeys(Role, 0)
        self._left_out = dict.fromkeys(Role, 0)
        self._serials = dict.fromkeys(Role, 0)  # a controller's go on from connection to connection

    def lines(self, traced: Traced, process: int) -> list[str]:
        """A handshake's lines; none if there were enough of its side. `process`: the worker's id."""
        role = traced.role
        if self._printed[role] == self._limit:
            self._left_out[role] += 1
            return []
        self._printed[role] += 1
        who = f"{role.name} {traced.number} {endpoint_shown(traced.host, traced.port)}"
        lines = TraceLines(
            server=role is Role.WLC,
            number=self._printed[role],
            serial=self._serials[role],
            ssl=traced.connection,
            process=process,
            to_unix_ns=self._to_unix_ns,
        )
        found = [f"{who} {line}" for event in traced.events for line in lines.lines(event)]
        self._serials[role] += len(found)
        if traced.left_out:
            found.append(f"{who} {traced.left_out:,} more events were left out")
        return found

    def last_line(self, untraced: Mapping[Role, int | None]) -> str:
        """How many handshakes of each side have lines, and how many do not.

        Args:
            untraced: of each side that is ours, handshakes that workers did not trace; None: nobody knows.
        """
        sides = (self._told(role, count) for role, count in untraced.items())
        return f"handshakes {'; '.join(sides)} (--trace-limit {self._limit})"

    def _told(self, role: Role, untraced: int | None) -> str:
        others = "an unknown number" if untraced is None else f"{untraced + self._left_out[role]:,}"
        return f"of {role.name}s: {self._printed[role]:,} traced, {others} not"
