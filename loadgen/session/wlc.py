"""The wireless LAN controller: its part of the opening, what it grants, and its answers to requests."""

from __future__ import annotations

from functools import cache

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp import messages as m
from loadgen.nmsp.catalogue import CATALOGUE, REQUESTS
from loadgen.nmsp.dialogue import Turn
from loadgen.nmsp.messages import Kind, Message, ResponseStatus, Role, SubscribeRequest, SubscribeResponse
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import Subservice
from loadgen.session.directory import Directory, Recalling, Records
from loadgen.session.link import Endpoint, EndpointSettings

# How a session ends that never was one, because what its MSE asked for is not offered.
NOTHING_GRANTED = "nothing_granted"
# Transactions that are remembered, so that a request which comes again is told from a new one.
_REMEMBERED = 64
# By kind of request and subservice: the kind of the response.
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
        directory: what it answers from. recalling: who is asked before that.
    """

    __slots__ = ("_recent", "_was_granted", "directory", "groups", "recalling")

    role = Role.WLC

    def __init__(self, settings: EndpointSettings, started_ns: int, directory: Directory | None = None) -> None:
        """Args: directory: None: there are no devices."""
        super().__init__(settings, started_ns)
        self.groups: tuple[str, ...] = ()
        self.directory = directory
        self.recalling: Recalling | None = None
        self._recent: dict[tuple[int, Kind], None] | None = None
        self._was_granted = False

    @property
    def active(self) -> bool:
        """An MSE that was granted nothing has not subscribed. It may ask for something else, until its time is over."""
        return self._was_granted and super().active

    @property
    def refused(self) -> bool:
        """The subscription was answered, and nothing was granted so far."""
        return not self._was_granted and (super().active or Kind.SUBSCRIBE_RESPONSE in self.said)

    def cause(self, kind: str) -> str:
        return NOTHING_GRANTED if self.refused else kind

    def on_timer(self, now_ns: int) -> int:
        if self.refused and now_ns >= self.started_ns + self.settings.setup_timeout_ns:
            raise RemoteProtocolError(NOTHING_GRANTED, "nothing that it has subscribed to is offered")
        return super().on_timer(now_ns)

    def on_opening(self, message: Message, now_ns: int) -> None:
        if isinstance(message, SubscribeRequest):
            self._grant(message.subservices)

    def opening_message(self, turn: Turn) -> Message:
        if turn.saying is Kind.SUBSCRIBE_RESPONSE:
            return self._granting()
        return super().opening_message(turn)

    def on_up(self, now_ns: int) -> None:
        if not self.dialogue.has(Kind.SUBSCRIBE_REQUEST):  # then it is all that we offer
            self._grant(self.settings.assumed)

    def on_running(self, kind: Kind, message: Message, transaction: int, now_ns: int) -> None:
        if kind not in _answerable(self.settings.codec.profile):  # a profile that has no such response
            self.settings.recorder.count("messages.unsupported")
            return
        self._count(kind, transaction)
        if self.recalling is not None:
            to_unix_ns = self.settings.to_unix_ns
            times = (now_ns + to_unix_ns, self.started_ns + to_unix_ns)
            if (answer := self.recalling.answer(kind, message, transaction, *times)) is not None:
                self.say_frame(*answer, transaction)
                return
        match message:
            case m.CapabilityRequest():
                self.say(m.Capability(self.settings.mask), transaction)
            case SubscribeRequest(subservices=asked):
                self.groups = ()
                self._grant(asked)
                self.say(self._granting(), transaction)
            case m.SubscribeGroupsRequest(subservices=asked, groups=groups):
                known = () if self.directory is None else self.directory.groups
                chosen = tuple(group.name for group in groups if group.name in known)
                if chosen:
                    self.groups = chosen
                self._grant(asked if chosen else 0)
                self.say(self._granting(refused=not chosen), transaction)
            case m.UnsubscribeRequest(subservices=left):
                self.granted &= ~left
                self.say(m.UnsubscribeResponse(self.granted, ResponseStatus.OK), transaction)
            case m.WipsConfigRequest(records=records):
                granted = self.granted >> Subservice.WIPS & 1
                status = ResponseStatus.OK if granted else ResponseStatus.NOT_SUBSCRIBED
                self.say(m.WipsConfigResponse(status, len(records) if granted else 0), transaction)
            case m.DeviceRequest():
                self._answer(kind, message, transaction)

    def _grant(self, asked: int) -> None:
        """Grant what is asked for and offered, beside what was granted before."""
        self.granted |= asked & self.settings.mask
        self._was_granted |= self.granted != 0

    def _granting(self, *, refused: bool = False) -> SubscribeResponse:
        status = ResponseStatus.OK if self.granted and not refused else ResponseStatus.NOTHING_GRANTED
        return SubscribeResponse(self.granted, status)

    def _answer(self, asked: Kind, request: m.DeviceRequest, transaction: int) -> None:
        """About a device; a subservice that this kind does not have is answered like one that was not granted."""
        kind = _RESPONSES.get((asked, request.subservice)) if request.subservice < len(Subservice) else None
        status, mac = ResponseStatus.OK, request.device_mac
        records: Records = ()
        if kind is None or not self.granted >> request.subservice & 1:
            status = ResponseStatus.NOT_SUBSCRIBED
        else:
            found = None
            if self.directory is not None:
                found = self.directory.find(asked, Subservice(request.subservice), request.device_mac)
            if found is None:
                status = ResponseStatus.UNKNOWN_DEVICE
            else:
                mac, records = found.device_mac, found.records
        if kind is None:
            kind = next(answer for answer, entry in CATALOGUE.items() if asked in entry.answers)
        layout, response = self.settings.codec.profile.layouts[kind], CATALOGUE[kind].message
        values = {"status": int(status), "subservice": request.subservice, "device_mac": mac}
        self.say(response(**values, **{layout.records_name: records[: layout.most_records]}), transaction)

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
