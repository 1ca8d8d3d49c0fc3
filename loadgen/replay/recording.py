"""What is played of a capture: the messages that WLCs said by themselves, a track for each session, as columns.

Whatever differs from endpoint to endpoint and from time to time has its place noted; all else stays as it was recorded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.capture.streams import Exchange
from loadgen.errors import InputError, Problem
from loadgen.nmsp.catalogue import CATALOGUE, NOTIFICATIONS
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.dialogue import Dialogue
from loadgen.nmsp.messages import (
    STAMPS,
    Capability,
    DeviceRequest,
    Kind,
    Role,
    SubscribeGroupsRequest,
    SubscribeRequest,
    SubscribeResponse,
)
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import FieldDocument
from loadgen.nmsp.records import NO_MAC
from loadgen.nmsp.services import ALL, Subservice
from loadgen.replay.frames import RecordedSession, Said, read_session_untrusted
from loadgen.replay.macs import is_mapped
from loadgen.replay.places import Placed, places_in
from loadgen.scenario.replay_plan import PlannedReplay, PlannedTrack, packed_times
from loadgen.scenario.requests import ASKED
from loadgen.units import NS_PER_S

Int64s = NDArray[np.int64]

# Of access points, as the catalogue's records call them; a MAC that is in one of these anywhere is an access point's.
_AP_FIELDS = frozenset({"ap_mac", "from_ap", "to_ap"})
_TOLD = (Kind.MEASUREMENT_NOTIFY, *NOTIFICATIONS)
# Series that notifications are numbered in.
MEASURED, SERVICE, UNNUMBERED = 0, 1, 2
# What is answered as it was, if it was.
_ASKED = frozenset(
    {
        *(Kind.MEASUREMENT_REQUEST, Kind.INFORMATION_REQUEST, Kind.STATISTICS_REQUEST, Kind.ON_DEMAND_REQUEST),
        Kind.WIPS_CONFIG_REQUEST,
    }
)
_LONE_PERIOD_NS = 1_000_000_000


class Places(msgspec.Struct, frozen=True):
    """Where one number of ours is in each frame. at: int64, in the track's data; -1: not in that one."""

    name: str
    type: str
    at: bytes


class Times(msgspec.Struct, frozen=True):
    """Where times of devices are, of all that tell it alike.

    Attributes:
        slots, at: int64: of which frame, and where in the track's data.
        since_ns: int64: how much later than the message they are.
        size, unit, epoch: as a wire profile has them.
    """

    type: str
    size: int
    unit: str
    epoch: str
    slots: bytes
    at: bytes
    since_ns: bytes


ABOUT_NONE = 255
# The device of a request about any of its class, or about none.
ANY_DEVICE = -1


class Answered(msgspec.Struct, frozen=True):
    """What was answered to a request of an MSE.

    Attributes:
        asked, kind: of request and response. subservice: -1: the request has none. device: rank of its MAC.
        macs: where MACs are in the frame, and which of the recording's each is.
        times: where times are, how much later than the message they are, and how they are told.
    """

    asked: int
    subservice: int
    device: int
    kind: int
    frame: bytes
    macs: tuple[tuple[int, int], ...]
    times: tuple[tuple[int, int, str, int, str, str], ...]


class PastRequest(msgspec.Struct, frozen=True):
    """What an MSE asked in a running session. at_ns: in the capture's period. name: as of `PlannedRequest`."""

    at_ns: int
    name: str
    msg_id: int
    body: bytes


class Track(msgspec.Struct, frozen=True):
    """What one recorded WLC said by itself in one session.

    Attributes:
        label: the ends of the session.
        data, sizes: frames side by side, and how long each is (int64).
        series: uint8: of each, the series that it is numbered in.
        subservices: uint8: that each is about; `ABOUT_NONE`: none that is known.
        sayings, said: names of what is no measurement, and of each frame its number in there (int16; -1: it is one).
        mac_at, mac: int64: where MACs are, and which of the recording's each is.
        first_transaction: of frames that are numbered in it; None: they stay as they are.
        stations: ranks of measured stations, and a frame that tells of each.
        answers: to what was asked in the session. groups: of access points, that were subscribed to in it.
        asked: in the running session, in order.
    """

    label: str
    data: bytes
    sizes: bytes
    series: bytes
    subservices: bytes
    sayings: tuple[str, ...]
    said: bytes
    places: tuple[Places, ...]
    times: tuple[Times, ...]
    mac_at: bytes
    mac: bytes
    first_transaction: int | None
    stations: tuple[tuple[int, int], ...]
    answers: tuple[Answered, ...]
    groups: tuple[str, ...]
    asked: tuple[PastRequest, ...]


class Tracks(msgspec.Struct, frozen=True):
    """What a worker needs to play a capture. macs: six bytes each; ap: uint8, which are access points'."""

    tracks: tuple[Track, ...]
    macs: bytes
    ap: bytes


class Recorded(msgspec.Struct, frozen=True):
    """A capture that was read by a wire profile.

    Attributes:
        plan: of it, what shapes the load.
        sessions, silent: how many there are, and in how many of them the WLC said nothing by itself.
        source: what it is called.
        left_out: see `frames.RecordedSession`.
    """

    source: str
    recording: Tracks
    plan: PlannedReplay
    sessions: int
    silent: int
    messages: int
    left_out: dict[str, int]
    holes: int

    @property
    def in_words(self) -> str:
        """What there is to play, and what was left out, in one line."""
        length_s = self.plan.period_ns / NS_PER_S
        told = self.sessions - self.silent
        text = f"{self.source}: {self.messages:,} messages of {told} of {self.sessions} sessions in {length_s:.1f} s"
        units = {"bytes": "bytes in no frame", "malformed": "that do not decode", "unknown": "that are not known"}
        left = [f"{count:,} {units[name]}" for name, count in sorted(self.left_out.items())]
        left += [f"what lies beside {self.holes} holes"] if self.holes else []
        return f"{text}; left out: {', '.join(left)}" if left else text


def record_untrusted(exchanges: Sequence[Exchange], profile: WireProfile, source: str) -> Recorded:
    """Read a capture's exchanges. Args: source: what it is called, for messages.

    Raises:
        InputError: there is nothing in it that could be played.
    """
    codec = Codec(profile)
    sessions = [read_session_untrusted(codec, exchange) for exchange in exchanges]
    left_out: Counter[str] = sum((session.left_out for session in sessions), Counter())
    told = [_told_by_itself(profile.dialogue, session) for session in sessions]
    chosen = [(session, said) for session, said in zip(sessions, told, strict=True) if said]
    if not chosen:
        raise InputError(Problem(source, f"notifications that profile {profile.name} reads", _nothing(sessions)))
    macs = _Macs()
    first_ns = min(said[0].ns for _, said in chosen)
    tracks = tuple(_track(profile, session, said, macs, first_ns) for session, said in chosen)
    times = [np.array([each.ns - first_ns for each in said], np.int64) for _, said in chosen]
    recording = Tracks(tracks, macs.joined(), bytes(mac in macs.of_aps for mac in macs.ranks))
    digest = hashlib.sha256(msgspec.msgpack.encode(recording)).hexdigest()[:12]
    offered, granted = _masks(sessions, [said for _, said in chosen])
    plan = PlannedReplay(
        capture=digest,
        period_ns=_period_ns(np.sort(np.concatenate(times))),
        tracks=tuple(
            PlannedTrack(each.label, len(when), len(each.data), packed_times(when))
            for each, when in zip(tracks, times, strict=True)
        ),
        offered=offered,
        granted=granted,
    )
    messages = sum(len(said) for _, said in chosen)
    silent = len(sessions) - len(chosen)
    holes = sum(each.holes for each in sessions)
    return Recorded(source, recording, plan, len(sessions), silent, messages, dict(left_out), holes)


def _nothing(sessions: Sequence[RecordedSession]) -> str:
    if not sessions:
        return "no session"
    said = sum(len(session.wlc) for session in sessions)
    left = Counter[str]()
    for session in sessions:
        left += session.left_out
    others = "".join(f", {count:,} {what}" for what, count in sorted(left.items()))
    return f"none in {len(sessions)} sessions ({said:,} other messages of WLCs{others})"


def _told_by_itself(dialogue: Dialogue, session: RecordedSession) -> list[Said]:
    """What the WLC was neither asked for nor says as a matter of course: the session code sees to that."""
    return sorted(
        (
            said
            for said in session.wlc
            if said.saying not in dialogue.course and (isinstance(said.saying, str) or said.saying in _TOLD)
        ),
        key=lambda said: said.ns,
    )


def _masks(sessions: Sequence[RecordedSession], told: Sequence[Sequence[Said]]) -> tuple[int, int]:
    """What WLCs offered, and what was granted; of a capture that has not got the opening, what was told."""
    offered = granted = asked = 0
    for session in sessions:
        for said in (*session.wlc, *session.mse):
            match said.message:
                case Capability(subservices=mask):
                    offered |= mask
                case SubscribeResponse(subservices=mask):
                    granted |= mask
                case SubscribeRequest(subservices=mask):
                    asked |= mask
    used = 0
    for said in (each for part in told for each in part):
        about = getattr(said.message, "subservice", None)
        used |= 1 << about if about is not None and about < len(Subservice) else 0
    granted = ((granted or asked) | used) & ALL
    return (offered | granted) & ALL, granted


def _period_ns(times: Int64s) -> int:
    """After how long the first message comes again: behind the last one there is a gap as a random moment finds it, so
    that bursts keep their distance.
    """
    gaps = np.diff(times).astype(float)
    usual = float((gaps * gaps).sum() / gaps.sum()) if gaps.sum() else _LONE_PERIOD_NS
    return int(times[-1]) + max(1, round(usual))


class _Macs:
    """MACs that were found, each once. ranks: in order of appearance. of_aps: those that access points have."""

    def __init__(self) -> None:
        self.ranks: dict[bytes, int] = {}
        self.of_aps: set[bytes] = set()

    def rank(self, name: str, mac: bytes) -> int:
        if name in _AP_FIELDS:
            self.of_aps.add(mac)
        return self.ranks.setdefault(mac, len(self.ranks))

    def joined(self) -> bytes:
        return b"".join(self.ranks)


def mapped_macs(recording: Tracks, *, aps: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """All recorded MACs, and which are to become others. Args: aps: also those of access points."""
    macs = np.frombuffer(recording.macs, np.uint8).reshape(-1, 6)
    mapped = is_mapped(macs)
    return macs, mapped if aps else mapped & (np.frombuffer(recording.ap, np.uint8) == 0)


def _track(profile: WireProfile, session: RecordedSession, said: Sequence[Said], macs: _Macs, first_ns: int) -> Track:
    framing = profile.framing
    sizes = np.array([len(each.frame) for each in said], np.int64)
    offsets = np.cumsum(sizes) - sizes
    stamps: dict[tuple[str, str], Int64s] = {}
    times: dict[tuple[str, int, str, str], list[tuple[int, int, int]]] = {}
    mac_at, mac = [], []
    sayings, stations = dict[str, int](), dict[int, int]()
    names, series = np.full(len(said), -1, np.int16), np.zeros(len(said), np.uint8)
    for slot, (each, offset) in enumerate(zip(said, offsets.tolist(), strict=True)):
        if each.saying is not Kind.MEASUREMENT_NOTIFY:
            name = each.saying if isinstance(each.saying, str) else each.saying.label
            names[slot] = sayings.setdefault(name, len(sayings))
        if isinstance(each.saying, str):
            series[slot] = UNNUMBERED
            continue
        series[slot] = MEASURED if each.saying is Kind.MEASUREMENT_NOTIFY else SERVICE
        found = places_in(profile, profile.layouts[each.saying], each.frame)
        for place in found:
            if place.type == "mac":
                mac_at.append(offset + place.at)
                mac.append(macs.rank(place.name, each.frame[place.at : place.at + 6]))
                if place.name == "station_mac" and series[slot] == MEASURED:
                    stations.setdefault(mac[-1], slot)
            elif place.top and place.name in STAMPS:
                at = stamps.setdefault((place.name, place.type), np.full(len(said), -1, np.int64))
                at[slot] = offset + place.at
        for key, place, since_ns in _times(profile, session, each, found):
            times.setdefault(key, []).append((slot, offset + place.at, since_ns))
    numbered = framing.has_transaction and len({each.transaction for each in said}) > 1
    if numbered:
        key = ("transaction", framing.header.types["transaction"])
        stamps[key] = offsets + framing.header.offsets["transaction"]
    return Track(
        label=session.label,
        data=b"".join(each.frame for each in said),
        sizes=sizes.tobytes(),
        series=series.tobytes(),
        subservices=bytes(min(getattr(each.message, "subservice", ABOUT_NONE), ABOUT_NONE) for each in said),
        sayings=tuple(sayings),
        said=names.tobytes(),
        places=tuple(Places(name, kind, at.tobytes()) for (name, kind), at in stamps.items()),
        times=tuple(
            Times(*key, *(np.array(column, np.int64).tobytes() for column in zip(*rows, strict=True)))
            for key, rows in times.items()
        ),
        mac_at=np.array(mac_at, np.int64).tobytes(),
        mac=np.array(mac, np.int64).tobytes(),
        first_transaction=said[0].transaction if numbered else None,
        stations=tuple(stations.items()),
        answers=tuple(_answers(profile, session, macs)),
        groups=tuple(dict.fromkeys(_groups(session))),
        asked=tuple(_asked(profile, session, first_ns)),
    )


def _asked(profile: WireProfile, session: RecordedSession, first_ns: int) -> Iterator[PastRequest]:
    """What is neither part of the opening nor ends the session."""
    names = {kind: name for name, kind in ASKED.items()}
    opening = [turn.saying for turn in profile.dialogue.opening if turn.sender is Role.MSE]
    endings = {saying for role, saying in profile.dialogue.endings if role is Role.MSE}
    framing = profile.framing
    for said in session.mse:
        if said.saying in opening:
            opening.remove(said.saying)
        elif isinstance(said.saying, Kind) and said.saying in names and said.saying not in endings:
            body = said.frame[framing.head : len(said.frame) - framing.foot]
            yield PastRequest(max(0, said.ns - first_ns), names[said.saying], profile.ids[said.saying], body)


def _groups(session: RecordedSession) -> Iterator[str]:
    for said in session.mse:
        if isinstance(said.message, SubscribeGroupsRequest):
            yield from (group.name for group in said.message.groups)


def _answers(profile: WireProfile, session: RecordedSession, macs: _Macs) -> Iterator[Answered]:
    """Each answer with the request before it that it is the response to: by its transaction, or else by the order."""
    waiting: dict[tuple[Kind, int], list[Said]] = {}
    spoken = sorted([*session.mse, *session.wlc], key=lambda said: said.ns)
    for said in spoken:
        if not isinstance(said.saying, Kind):
            continue
        number = said.transaction if profile.framing.has_transaction else 0
        if said.saying in _ASKED:
            waiting.setdefault((said.saying, number), []).append(said)
            continue
        for asked in CATALOGUE[said.saying].answers:
            if asked in _ASKED and (found := waiting.get((asked, number))):
                yield _answered(profile, session, macs, found.pop(0), said)
                break


def _answered(profile: WireProfile, session: RecordedSession, macs: _Macs, asked: Said, said: Said) -> Answered:
    assert isinstance(asked.saying, Kind)
    assert isinstance(said.saying, Kind)
    subservice, device = -1, ANY_DEVICE
    if isinstance(asked.message, DeviceRequest):
        subservice, mac = asked.message.subservice, bytes(asked.message.device_mac)
        device = ANY_DEVICE if mac == NO_MAC else macs.rank("device_mac", mac)
    found = places_in(profile, profile.layouts[said.saying], said.frame)
    places = [place for place in found if place.type == "mac"]
    return Answered(
        asked=asked.saying,
        subservice=subservice,
        device=device,
        kind=said.saying,
        frame=said.frame,
        macs=tuple((place.at, macs.rank(place.name, said.frame[place.at : place.at + 6])) for place in places),
        times=tuple((place.at, since_ns, *key) for key, place, since_ns in _times(profile, session, said, found)),
    )


def time_of(profile: WireProfile, size: int, unit: str, epoch: str) -> DeviceTime:
    """How a time of `Times` is told."""
    field = FieldDocument("time", "time", 0, size=size, unit=unit, epoch=epoch)  # type: ignore[arg-type]
    return DeviceTime(field, profile.order)


def _times(profile: WireProfile, session: RecordedSession, said: Said, found: Sequence[Placed]) -> Any:
    """Of each time in a message: how it is told, where, and how much later than the message's own it is.

    The message's own time becomes that at which it is due; the others keep their distance from it. Where a message has
    none, that is when it was captured.
    """
    moments: list[tuple[Placed, int]] = []
    own_ns = said.ns
    for place in found:
        if place.time is None:
            continue
        number = int.from_bytes(
            said.frame[place.at : place.at + (4 if place.type == "u32" else 8)],
            "big" if profile.order == ">" else "little",
        )
        began_ns = session.began_ns if place.time.since_began else 0
        at_ns = said.ns - place.time.age_ns(said.ns - began_ns, number)
        moments.append((place, at_ns))
        if place.top and place.name == "time":
            own_ns = at_ns
    for place, at_ns in moments:
        time = place.time
        assert time is not None
        key = (place.type, time.size, time.unit, "session" if time.since_began else "unix")
        yield key, place, at_ns - own_ns
