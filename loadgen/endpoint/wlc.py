"""The wireless LAN controller: offers subservices, grants subscriptions, answers echoes, and owes notifications."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadgen.endpoint.directory import Directory, Records
from loadgen.endpoint.link import Endpoint, EndpointSettings
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp import messages as m
from loadgen.nmsp.catalogue import CATALOGUE, REQUESTS
from loadgen.nmsp.messages import (
    PROTOCOL_VERSION,
    Kind,
    Message,
    Role,
    Status,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import Subservice

# How a session ends that never was one, because what its MSE asked for is not offered.
NOTHING_GRANTED = "nothing_granted"
# Transactions that are remembered, so that a request which comes again is told from a new one.
_REMEMBERED = 64
# By kind of request and subservice: the kind of the response, and the field that carries its records.
_RESPONSES: dict[tuple[Kind, int], Kind] = {
    (asked, subservice): kind
    for kind, entry in CATALOGUE.items()
    if issubclass(entry.message, m.DeviceResponse)
    for asked in entry.answers
    for subservice in entry.subservices
}


class WlcEndpoint(Endpoint):
    """The WLC's end of one session. It answers every request from what `directory` knows.

    Attributes:
        groups: of access points, as the MSE has subscribed to them last; empty: all. Fixed stations are told of
            whatever their group is.
        directory: what it answers from.
    """

    __slots__ = ("_recent", "_was_granted", "directory", "groups")

    role = Role.WLC

    def __init__(self, settings: EndpointSettings, started_ns: int, directory: Directory | None = None) -> None:
        """Args: directory: None: there are no devices."""
        super().__init__(settings, started_ns)
        self.groups: tuple[str, ...] = ()
        self.directory = directory
        self._recent: dict[tuple[int, Kind], None] | None = None
        self._was_granted = False

    @property
    def active(self) -> bool:
        """An MSE that was granted nothing has not subscribed. It may ask for something else, until its time is over."""
        return self._was_granted and super().active

    @property
    def refused(self) -> bool:
        """The subscription was answered, and nothing was granted so far."""
        return not self._was_granted and super().active

    def cause(self, kind: str) -> str:
        return NOTHING_GRANTED if self.refused else kind

    def on_timer(self, now_ns: int) -> int:
        if self.refused and now_ns >= self.started_ns + self.settings.setup_timeout_ns:
            raise RemoteProtocolError(NOTHING_GRANTED, "nothing that it has subscribed to is offered")
        return super().on_timer(now_ns)

    def on_message(self, message: Message, transaction: int, now_ns: int) -> None:
        match message:
            case VersionRequest(lowest=lowest, highest=highest):
                if not lowest <= PROTOCOL_VERSION <= highest:
                    # Answered, and then nothing follows: the MSE closes, or runs into the set-up timeout.
                    self.say(VersionResponse(PROTOCOL_VERSION, Status.UNSUPPORTED_VERSION), transaction)
                    return
                self.say(VersionResponse(PROTOCOL_VERSION, Status.OK), transaction)
                self.offered = self.settings.mask
                self.say(m.Capability(self.offered))
            case SubscribeRequest(subservices=asked):
                self._grant(asked, transaction)

    def on_running(self, kind: Kind, message: Message, transaction: int, now_ns: int) -> None:
        if kind is Kind.ECHO_REQUEST:
            self.say(m.EchoResponse(), transaction)
            self.settings.recorder.count("echo.answered")
            return
        if kind not in _answerable(self.settings.codec.profile):  # a profile that has no such response
            self.settings.recorder.count("messages.unsupported")
            return
        self._count(kind, transaction)
        match message:
            case m.CapabilityRequest():
                self.say(m.Capability(self.settings.mask), transaction)
            case SubscribeRequest(subservices=asked):
                self.groups = ()
                self._grant(asked, transaction)
            case m.SubscribeGroupsRequest(subservices=asked, groups=groups):
                known = () if self.directory is None else self.directory.groups
                chosen = tuple(group.name for group in groups if group.name in known)
                if chosen:
                    self.groups = chosen
                self._grant(asked if chosen else 0, transaction, refused=not chosen)
            case m.UnsubscribeRequest(subservices=left):
                self.granted &= ~left
                self.say(m.UnsubscribeResponse(self.granted, Status.OK), transaction)
            case m.WipsConfigRequest(records=records):
                granted = self.granted >> Subservice.WIPS & 1
                status = Status.OK if granted else Status.NOT_SUBSCRIBED
                self.say(m.WipsConfigResponse(status, len(records) if granted else 0), transaction)
            case m.DeviceRequest():
                self._answer(kind, message, transaction)

    def _grant(self, asked: int, transaction: int, *, refused: bool = False) -> None:
        """Grant what is asked for and offered, beside what was granted before."""
        self.granted |= asked & self.settings.mask
        self._was_granted |= self.granted != 0
        status = Status.OK if self.granted and not refused else Status.NOTHING_GRANTED
        self.say(SubscribeResponse(self.granted, status), transaction)

    def _answer(self, asked: Kind, request: m.DeviceRequest, transaction: int) -> None:
        """About a device; a subservice that this kind does not have is answered like one that was not granted."""
        kind = _RESPONSES.get((asked, request.subservice)) if request.subservice < len(Subservice) else None
        status, mac = Status.OK, request.device_mac
        records: Records = ()
        if kind is None or not self.granted >> request.subservice & 1:
            status = Status.NOT_SUBSCRIBED
        else:
            found = None
            if self.directory is not None:
                found = self.directory.find(asked, Subservice(request.subservice), request.device_mac)
            if found is None:
                status = Status.UNKNOWN_DEVICE
            else:
                mac, records = found.device_mac, found.records
        if kind is None:
            kind = next(answer for answer, entry in CATALOGUE.items() if asked in entry.answers)
        repeat = self.settings.codec.profile.layouts[kind].repeat
        assert repeat is not None
        response = CATALOGUE[kind].message
        values = {"status": int(status), "subservice": request.subservice, "device_mac": mac}
        self.say(response(**values, **{repeat.name: records[: repeat.max]}), transaction)

    def _count(self, kind: Kind, transaction: int) -> None:
        """A request that comes again, because its answer was late or lost, is answered again."""
        if self._recent is None:
            self._recent = {}
        if (transaction, kind) in self._recent:
            self.settings.recorder.count("requests.repeated")
        else:
            self._recent[transaction, kind] = None
            if len(self._recent) > _REMEMBERED:
                del self._recent[next(iter(self._recent))]
        self.settings.recorder.count("requests.served")


@cache
def _answerable(profile: WireProfile) -> frozenset[Kind]:
    """The requests for all of whose responses a profile has a layout."""
    missing = {asked for kind, entry in CATALOGUE.items() if kind not in profile.layouts for asked in entry.answers}
    return frozenset(REQUESTS) - missing


class Ledger:
    """What a worker's WLCs owe their MSEs: a row for each subscriber, counts against the schedule's count.

    The row of a planned session exists from the start, so that whatever is due while that is not there, or blocked, is
    late, and then dropped. That of an MSE that nobody planned begins when it subscribes and ends when it leaves; then
    another one may have it, and its sums are kept apart.

    Attributes (int64 columns, an entry for each row):
        base: the schedule's count when the row began.
        done: sent or dropped; the index of the next one.
        end: the schedule's count when the row ended; NEVER while it has not.
        dropped: given up; own_dropped: of those, the ones that the peer would have taken.
        sent: over the present session; the sequence number of the next one.
        planned: 1 for a session that should be there.
        declined: what would have become due while it had unsubscribed, until it subscribed again.
        behind: 1 from when the peer's socket was full until all that is owed was sent: what is late then is its doing.
    """

    NEVER = (1 << 63) - 1
    _COLUMNS = ("base", "done", "end", "dropped", "own_dropped", "sent", "behind", "planned", "declined")

    def __init__(self) -> None:
        self.rows = 0
        self._free: list[int] = []
        self._gone = np.zeros(3, np.int64)  # due, dropped and own_dropped of rows that were given back
        self._gone_declined = 0  # of the same
        self.base, self.done, self.end, self.dropped, self.own_dropped, self.sent, self.behind = (
            np.zeros(16, np.int64) for _ in self._COLUMNS[:7]
        )
        self.planned, self.declined = (np.zeros(16, np.int64) for _ in self._COLUMNS[7:])

    def add(self, base: int = 0, *, planned: bool = False) -> int:
        """Begin a row; returns its number: the next one, or one that was given back."""
        if self._free:
            row = self._free.pop()
        else:
            row = self.rows
            if row == len(self.done):
                for name in self._COLUMNS:
                    setattr(self, name, np.concatenate([getattr(self, name), np.zeros(row, np.int64)]))
            self.rows += 1
        self.base[row] = self.done[row] = base
        self.planned[row] = planned
        self.end[row] = self.NEVER
        return row

    def restart(self) -> None:
        """A new schedule begins, with its counts at 0; rows that ended stay so."""
        rows = slice(self.rows)
        self.end[rows] = np.where(self.end[rows] == self.NEVER, self.NEVER, 0)
        for column in (self.base, self.done, self.dropped, self.own_dropped, self.declined):
            column[rows] = 0
        self._gone[:] = 0
        self._gone_declined = 0

    def due(self, row: int, due_now: int) -> int:
        """How many were due so far, if `due_now` are by the schedule."""
        return min(due_now, int(self.end[row])) - int(self.base[row])

    def owed(self, row: int, due_now: int) -> int:
        """How many are due and neither sent nor dropped."""
        return min(due_now, int(self.end[row])) - int(self.done[row])

    def drop_until(self, row: int, index: int, *, ours: bool) -> None:
        """Give up everything before `index` that is still owed: nobody wants a location that old."""
        count = self.owed(row, index)
        if count > 0:
            self.dropped[row] += count
            if ours:
                self.own_dropped[row] += count
            self.done[row] += count

    def cease(self, row: int, due_now: int) -> None:
        """End a row: nothing more becomes due; what is owed still is."""
        # What was sent was due, even if whoever tells how much is due now looked at the clock before that.
        self.end[row] = max(min(due_now, int(self.end[row])), int(self.done[row]))

    def close(self, row: int, due_now: int) -> None:
        """End a row, and give up what is owed."""
        self.cease(row, due_now)
        self.drop_until(row, int(self.end[row]), ours=False)

    def reopen(self, row: int, due_now: int) -> None:
        """Go on with a row that ended: what would have become due meanwhile was never owed."""
        due_now = max(due_now, int(self.end[row]))
        self._decline(row, due_now)
        self.base[row] += due_now - int(self.end[row])
        self.done[row] = due_now
        self.end[row] = self.NEVER

    def leave(self, row: int, rows: list[int], up: Sequence[object | None], due_now: int) -> None:
        """A row's session is gone. If it should be there, what becomes due is owed all the same, unless somebody who
        was not planned has come to the same WLC.

        Args:
            rows: of that WLC, those that owe; kept up to date.
            up: by row, None where no session has it.
        """
        if self.planned[row]:
            heir = next((other for other in rows if up[other] is not None and not self.planned[other]), None)
            if heir is None:
                if row not in rows:  # it had unsubscribed
                    self.reopen(row, due_now)
                    rows.append(row)
                return
            if row not in rows:
                self._decline(row, due_now)
            self.planned[row], self.planned[heir] = 0, 1
        if row in rows:
            rows.remove(row)
        self.close(row, due_now)
        self._give_back(row)

    def totals(self, due_now: NDArray[np.int64]) -> tuple[int, int, int]:
        """Due, dropped and own_dropped of all rows; `due_now` is by row."""
        rows = slice(self.rows)
        due = np.minimum(due_now, self.end[rows]) - self.base[rows]
        sums = np.array((due.sum(), self.dropped[rows].sum(), self.own_dropped[rows].sum())) + self._gone
        due_sum, dropped, own_dropped = sums.tolist()
        return due_sum, dropped, own_dropped

    def declined_so_far(self, due_now: NDArray[np.int64]) -> int:
        """Of the sessions that should be there: what was not due, because they had unsubscribed; `due_now` by row."""
        rows = slice(self.rows)
        still = np.where(self.planned[rows] == 1, np.maximum(due_now - self.end[rows], 0), 0)
        return int((self.declined[rows] + still).sum()) + self._gone_declined

    def _decline(self, row: int, due_now: int) -> None:
        """What a row that had ended was not owed until now, if its session should be there."""
        if self.planned[row]:
            self.declined[row] += max(0, due_now - int(self.end[row]))

    def _give_back(self, row: int) -> None:
        """A row that has ended: what it comes to is kept, and the next subscriber may have it."""
        self._gone_declined += int(self.declined[row])
        self._gone += (self.end[row] - self.base[row], self.dropped[row], self.own_dropped[row])
        for name in self._COLUMNS:
            getattr(self, name)[row] = 0
        self._free.append(row)
