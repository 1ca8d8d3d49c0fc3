"""One recorded session, read as it comes: what its WLC told by itself as columns, and of all else what a replay needs.

Nothing is kept of a message that was told but its bytes and where in them lies what is patched.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

from loadgen.capture.events import Conversation, Data, Event, Hole
from loadgen.nmsp.catalogue import CATALOGUE, NOTIFICATIONS
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import (
    STAMPS,
    Capability,
    DeviceRequest,
    Kind,
    Message,
    Role,
    SubscribeGroupsRequest,
    SubscribeRequest,
    SubscribeResponse,
)
from loadgen.nmsp.profile_document import number_struct
from loadgen.nmsp.records import NO_MAC
from loadgen.nmsp.services import Subservice
from loadgen.replay.frames import DirectionReader, Said
from loadgen.replay.places import Placed, places_in
from loadgen.replay.recording import ABOUT_NONE, ANY_DEVICE, MEASURED, SERVICE, UNNUMBERED, Answered
from loadgen.scenario.requests import ASKED

# Of access points, as the catalogue's records call them; a MAC that is in one of these anywhere is an access point's.
_AP_FIELDS = frozenset({"ap_mac", "from_ap", "to_ap"})
_TOLD = (Kind.MEASUREMENT_NOTIFY, *NOTIFICATIONS)
# What is answered as it was, if it was.
_ASKED = frozenset(
    {
        *(Kind.MEASUREMENT_REQUEST, Kind.INFORMATION_REQUEST, Kind.STATISTICS_REQUEST, Kind.ON_DEMAND_REQUEST),
        Kind.WIPS_CONFIG_REQUEST,
    }
)
_ANSWERING = frozenset(kind for kind, entry in CATALOGUE.items() if not _ASKED.isdisjoint(entry.answers))
_REQUEST_NAMES = {kind: name for name, kind in ASKED.items()}

# A time: how it is told (its type, size, unit and epoch), where, and how much later than its message's own it is.
_Moment = tuple[tuple[str, int, str, str], Placed, int]


class Macs:
    """MACs that were found, each once. ranks: in order of appearance. of_aps: those that access points have."""

    def __init__(self) -> None:
        self.ranks: dict[bytes, int] = {}
        self.of_aps: set[bytes] = set()

    def rank(self, name: str, mac: bytes) -> int:
        if name in _AP_FIELDS:
            self.of_aps.add(mac)
        return self.ranks.setdefault(mac, len(self.ranks))

    def rank_of_device(self, message: Message) -> int:
        """Of the device that a request is about."""
        if not isinstance(message, DeviceRequest) or (mac := bytes(message.device_mac)) == NO_MAC:
            return ANY_DEVICE
        return self.rank("device_mac", mac)

    def joined(self) -> bytes:
        return b"".join(self.ranks)


class SaidColumns:
    """What was told, message after message; places are in `data`. Names as of `recording.Track`.

    Attributes:
        ns: when each was captured.
        stamps: by name and type of one of our numbers; shorter than the others where the last ones have none.
        times: by how a time is told: slots, places, how much later than the message.
        transactions: those that were met, two at most.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.ns, self.sizes = array("q"), array("q")
        self.series, self.subservices = bytearray(), bytearray()
        self.said = array("h")
        self.stamps: dict[tuple[str, str], array[int]] = {}
        self.times: dict[tuple[str, int, str, str], tuple[array[int], array[int], array[int]]] = {}
        self.mac_at, self.mac = array("q"), array("q")
        self.stations: dict[int, int] = {}
        self.transactions: list[int] = []

    def __len__(self) -> int:
        return len(self.sizes)

    def stamp(self, name: str, kind: str, slot: int, at: int) -> None:
        column = self.stamps.setdefault((name, kind), array("q"))
        column.extend([-1] * (slot - len(column)))
        column.append(at)


class SessionReader:
    """A conversation of a capture.

    Attributes:
        began_ns, last_ns: its first packet, and the last bytes that came in it. label: its ends, for people.
        ends: between which host and which WLC it is: those of a session that came back are the same.
        told: what the WLC was neither asked for nor says as a matter of course: the session code sees to that.
        others: how many messages its WLC said beside.
        offered, granted, asked_for: masks of subservices.
        asked: what the MSE asked in the running session. answered: what it got for that. groups: it subscribed to.
        left_out: see `DirectionReader`. holes: places where the capture lacks some bytes.
    """

    def __init__(self, codec: Codec, conversation: Conversation, macs: Macs, names: dict[str, int]) -> None:
        """Args: macs, names: of all that is recorded; the latter what is no measurement is called."""
        self._profile, self._macs, self._names = codec.profile, macs, names
        client, server = (f"{host}:{port}" for host, port in (conversation.client, conversation.server))
        self.label, self.ends = f"{client} -> {server}", (conversation.client[0], server)
        self.began_ns = self.last_ns = conversation.began_ns
        self.told, self.others = SaidColumns(), 0
        self.offered = self.granted = self.asked_for = 0
        self.asked: list[Said] = []
        self.groups: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.holes = 0
        self._readers = {
            of_client: DirectionReader(codec, sender, self.left_out)
            for of_client, sender in ((True, Role.MSE), (False, Role.WLC))
        }
        dialogue = codec.profile.dialogue
        self._course = dialogue.course
        self._opening = [turn.saying for turn in dialogue.opening if turn.sender is Role.MSE]
        self._endings = {saying for role, saying in dialogue.endings if role is Role.MSE}
        self._waiting: list[tuple[bool, Said]] = []  # requests and answers, who said them

    def take_untrusted(self, event: Event) -> None:
        """What happened in it next."""
        if isinstance(event, Data):
            self.last_ns = max(self.last_ns, event.ns)
            said = self._readers[event.of_client].data_untrusted(event.data, event.ns)
            self._hear(said, of_client=event.of_client)
        elif isinstance(event, Hole):
            self.holes += 1
            self._hear(self._readers[event.of_client].end_untrusted(), of_client=event.of_client)

    def end_untrusted(self) -> None:
        """Nothing comes any more."""
        for of_client, reader in self._readers.items():
            self._hear(reader.end_untrusted(), of_client=of_client)

    def _hear(self, messages: Iterator[Said], *, of_client: bool) -> None:
        for said in messages:
            self._note_masks(said)
            if said.saying in (_ASKED if of_client else _ANSWERING):
                self._waiting.append((of_client, said))
            if of_client:
                self._hear_mse(said)
            elif said.saying not in self._course and (isinstance(said.saying, str) or said.saying in _TOLD):
                self._tell(said)
            else:
                self.others += 1

    def _note_masks(self, said: Said) -> None:
        match said.message:
            case Capability(subservices=mask):
                self.offered |= mask
            case SubscribeResponse(subservices=mask):
                self.granted |= mask
            case SubscribeRequest(subservices=mask):
                self.asked_for |= mask

    def _hear_mse(self, said: Said) -> None:
        if isinstance(said.message, SubscribeGroupsRequest):
            self.groups += [group.name for group in said.message.groups]
        if said.saying in self._opening:
            self._opening.remove(said.saying)
        elif said.saying in _REQUEST_NAMES and said.saying not in self._endings:
            self.asked.append(said)

    def _tell(self, said: Said) -> None:
        told, slot, offset = self.told, len(self.told), len(self.told.data)
        about = getattr(said.message, "subservice", None)
        told.data += said.frame
        told.ns.append(said.ns)
        told.sizes.append(len(said.frame))
        told.subservices.append(ABOUT_NONE if about is None else min(about, ABOUT_NONE))
        if len(told.transactions) < 2 and said.transaction not in told.transactions:
            told.transactions.append(said.transaction)
        if said.saying is Kind.MEASUREMENT_NOTIFY:
            told.said.append(-1)
        else:
            name = said.saying if isinstance(said.saying, str) else said.saying.label
            told.said.append(self._names.setdefault(name, len(self._names)))
        if isinstance(said.saying, str):
            told.series.append(UNNUMBERED)
            return
        told.series.append(MEASURED if said.saying is Kind.MEASUREMENT_NOTIFY else SERVICE)
        found = places_in(self._profile, self._profile.layouts[said.saying], said.frame)
        for place in found:
            if place.type == "mac":
                rank = self._macs.rank(place.name, said.frame[place.at : place.at + 6])
                told.mac_at.append(offset + place.at)
                told.mac.append(rank)
                if place.name == "station_mac" and told.series[slot] == MEASURED:
                    told.stations.setdefault(rank, slot)
            elif place.top and place.name in STAMPS:
                told.stamp(place.name, place.type, slot, offset + place.at)
        for key, place, since_ns in self._moments(said, found):
            columns = told.times.setdefault(key, (array("q"), array("q"), array("q")))
            for column, value in zip(columns, (slot, offset + place.at, since_ns), strict=True):
                column.append(value)

    def used(self) -> int:
        """The mask of the subservices that were told about."""
        known = {each for each in self.told.subservices if each < len(Subservice)}
        return sum(1 << each for each in known)

    def answered(self) -> Iterator[Answered]:
        """Each answer with the request before it that it is for: by its transaction, or else by the order."""
        open_: dict[tuple[Kind, int], list[Said]] = {}
        # Of what came at the same time the question is first.
        for of_client, said in sorted(self._waiting, key=lambda each: (each[1].ns, not each[0])):
            assert isinstance(said.saying, Kind)
            number = said.transaction if self._profile.framing.has_transaction else 0
            if of_client:
                open_.setdefault((said.saying, number), []).append(said)
                continue
            for asked in CATALOGUE[said.saying].answers:
                if found := open_.get((asked, number)):
                    yield self._answered(found.pop(0), said)
                    break

    def _answered(self, asked: Said, said: Said) -> Answered:
        assert isinstance(asked.saying, Kind)
        assert isinstance(said.saying, Kind)
        found = places_in(self._profile, self._profile.layouts[said.saying], said.frame)
        places = [place for place in found if place.type == "mac"]
        return Answered(
            asked=asked.saying,
            subservice=asked.message.subservice if isinstance(asked.message, DeviceRequest) else -1,
            device=self._macs.rank_of_device(asked.message),
            kind=said.saying,
            frame=said.frame,
            macs=tuple(
                (place.at, self._macs.rank(place.name, said.frame[place.at : place.at + 6])) for place in places
            ),
            times=tuple((place.at, since_ns, *key) for key, place, since_ns in self._moments(said, found)),
        )

    def _moments(self, said: Said, found: Sequence[Placed]) -> Iterator[_Moment]:
        """The times in a message.

        The message's own time becomes that at which it is due; the others keep their distance from it. Where a message
        has none, that is when it was captured.
        """
        moments: list[tuple[Placed, int]] = []
        own_ns = said.ns
        for place in found:
            if place.time is None:
                continue
            (number,) = number_struct(place.type, self._profile.order).unpack_from(said.frame, place.at)
            at_ns = said.ns - place.time.age_ns(said.ns - (self.began_ns if place.time.since_began else 0), number)
            moments.append((place, at_ns))
            if place.top and place.name == "time":
                own_ns = at_ns
        for place, at_ns in moments:
            assert place.time is not None
            epoch = "session" if place.time.since_began else "unix"
            yield (place.type, place.time.size, place.time.unit, epoch), place, at_ns - own_ns
