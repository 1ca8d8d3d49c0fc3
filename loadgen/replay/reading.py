"""From a capture's events to a recording and what of it shapes a load. It is read as it comes, and never held whole."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.capture.events import Event
from loadgen.errors import InputError, Problem
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import ALL
from loadgen.replay.recording import PastRequest, Places, Times, Track, Tracks
from loadgen.replay.sessions import Macs, SaidColumns, SessionReader
from loadgen.scenario.replay_plan import PlannedReplay, PlannedTrack, packed_times
from loadgen.scenario.requests import ASKED
from loadgen.units import NS_PER_S

Int64s = NDArray[np.int64]
_LONE_PERIOD_NS = 1_000_000_000
_REQUEST_NAMES = {kind: name for name, kind in ASKED.items()}


class Recorded(msgspec.Struct, frozen=True):
    """A capture that was read by a wire profile.

    Attributes:
        plan: of it, what shapes the load.
        sessions, silent: how many there are, and in how many of them the WLC said nothing by itself.
        source: what it is called.
        left_out: see `frames.DirectionReader`. holes: places where the capture lacks bytes.
        remarks: what else is to be said of it, a line each.
    """

    source: str
    recording: Tracks
    plan: PlannedReplay
    sessions: int
    silent: int
    messages: int
    left_out: dict[str, int]
    holes: int
    remarks: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """What there is to play, and what was left out, in one line."""
        length_s = self.plan.period_ns / NS_PER_S
        told, tracks = self.sessions - self.silent, len(self.recording.tracks)
        text = f"{self.source}: {self.messages:,} messages of {told} of {self.sessions} sessions in {length_s:.1f} s"
        if tracks < told:  # some came back
            text += f", as {tracks} {'track' if tracks == 1 else 'tracks'}"
        units = {"bytes": "bytes in no frame", "malformed": "that do not decode", "unknown": "that are not known"}
        left = [f"{count:,} {units[name]}" for name, count in sorted(self.left_out.items())]
        left += [f"what lies beside {self.holes} holes"] if self.holes else []
        return f"{text}; left out: {', '.join(left)}" if left else text


def record_untrusted(events: Iterable[Event], profile: WireProfile, source: str) -> Recorded:
    """Read a capture's events. Args: source: what it is called, for messages.

    Raises:
        InputError: there is nothing in it that could be played; or of the events.
    """
    codec, macs, names = Codec(profile), Macs(), dict[str, int]()
    found: dict[int, SessionReader] = {}
    for event in events:
        index = event.conversation.index
        if index not in found:
            found[index] = SessionReader(codec, event.conversation, macs, names)
        found[index].take_untrusted(event)
    sessions = [found[index] for index in sorted(found)]
    for session in sessions:
        session.end_untrusted()
    chosen = [session for session in sessions if len(session.told)]
    left_out: Counter[str] = sum((session.left_out for session in sessions), Counter())
    if not chosen:
        raise InputError(Problem(source, f"notifications that profile {profile.name} reads", _nothing(sessions)))
    first_ns = min(session.told.ns[0] for session in chosen)
    chains = _chains(chosen)
    times = [np.concatenate([np.array(each.told.ns) for each in chain]) - first_ns for chain in chains]
    tracks = tuple(_track(profile, chain, macs, tuple(names), first_ns) for chain in chains)
    recording = Tracks(tracks, macs.joined(), bytes(mac in macs.of_aps for mac in macs.ranks))
    offered, granted = _masks(sessions)
    plan = PlannedReplay(
        capture=_digest(recording),
        period_ns=_period_ns(np.sort(np.concatenate(times))),
        tracks=tuple(
            PlannedTrack(each.label, len(when), len(each.data), packed_times(when))
            for each, when in zip(tracks, times, strict=True)
        ),
        offered=offered,
        granted=granted,
    )
    return Recorded(
        source=source,
        recording=recording,
        plan=plan,
        sessions=len(sessions),
        silent=len(sessions) - len(chosen),
        messages=sum(map(len, times)),
        left_out=dict(left_out),
        holes=sum(session.holes for session in sessions),
    )


def _digest(recording: Tracks) -> str:
    """Twelve digits. A track at a time: together they may be long."""
    digest = hashlib.sha256()
    for track in recording.tracks:
        digest.update(msgspec.msgpack.encode(track))
    digest.update(msgspec.msgpack.encode((recording.macs, recording.ap)))
    return digest.hexdigest()[:12]


def _nothing(sessions: Sequence[SessionReader]) -> str:
    if not sessions:
        return "no session"
    said = sum(session.others for session in sessions)
    left: Counter[str] = sum((session.left_out for session in sessions), Counter())
    others = "".join(f", {count:,} {what}" for what, count in sorted(left.items()))
    return f"none in {len(sessions)} sessions ({said:,} other messages of WLCs{others})"


def _masks(sessions: Sequence[SessionReader]) -> tuple[int, int]:
    """What WLCs offered, and what was granted; of a capture that has not got the opening, what was told."""
    offered = granted = asked = used = 0
    for session in sessions:
        offered |= session.offered
        granted |= session.granted
        asked |= session.asked_for
        used |= session.used()
    granted = ((granted or asked) | used) & ALL
    return (offered | granted) & ALL, granted


def _period_ns(times: Int64s) -> int:
    """After how long the first message comes again: behind the last one there is a gap as a random moment finds it, so
    that bursts keep their distance.
    """
    gaps = np.diff(times).astype(float)
    usual = float((gaps * gaps).sum() / gaps.sum()) if gaps.sum() else _LONE_PERIOD_NS
    return int(times[-1]) + max(1, round(usual))


def _chains(sessions: Sequence[SessionReader]) -> list[list[SessionReader]]:
    """Sessions that are one track: an MSE that came back to the same WLC when its session was over."""
    chains: list[list[SessionReader]] = []
    for session in sorted(sessions, key=lambda each: each.began_ns):
        before = [chain for chain in chains if chain[-1].ends == session.ends and chain[-1].last_ns <= session.began_ns]
        if before:
            max(before, key=lambda chain: chain[-1].last_ns).append(session)
        else:
            chains.append([session])
    return chains


def _track(
    profile: WireProfile, chain: Sequence[SessionReader], macs: Macs, names: tuple[str, ...], first_ns: int
) -> Track:
    parts = [session.told for session in chain]
    slots = np.cumsum([0, *map(len, parts)]).tolist()
    starts = np.cumsum([0, *(len(part.data) for part in parts)]).tolist()
    sizes = _joined(parts, lambda part: part.sizes)
    stamps = {key for part in parts for key in part.stamps}
    places = [Places(*key, _stamped(parts, key, starts).tobytes()) for key in sorted(stamps)]
    transactions = [*dict.fromkeys(number for part in parts for number in part.transactions)]
    numbered = profile.framing.has_transaction and len(transactions) > 1
    if numbered:
        header = profile.framing.header
        at = np.cumsum(sizes) - sizes + header.offsets["transaction"]
        places.append(Places("transaction", header.lies["transaction"], at.tobytes()))
    said = _joined(parts, lambda part: part.said).astype(np.int16)
    stations: dict[int, int] = {}
    for part, slot in zip(parts, slots, strict=False):
        for rank, told_in in part.stations.items():
            stations.setdefault(rank, slot + told_in)
    return Track(
        label=chain[0].label,
        data=b"".join(part.data for part in parts),
        sizes=sizes.tobytes(),
        series=b"".join(part.series for part in parts),
        subservices=b"".join(part.subservices for part in parts),
        sayings=names if (said >= 0).any() else (),
        said=said.tobytes(),
        places=tuple(places),
        times=tuple(_times(parts, slots, starts)),
        mac_at=_joined(parts, lambda part: part.mac_at, starts).tobytes(),
        mac=_joined(parts, lambda part: part.mac).tobytes(),
        first_transaction=transactions[0] if numbered else None,
        stations=tuple(stations.items()),
        answers=tuple(each for session in chain for each in session.answered()),
        groups=tuple(dict.fromkeys(name for session in chain for name in session.groups)),
        asked=tuple(_asked(profile, chain, macs, first_ns)),
    )


def _asked(profile: WireProfile, chain: Sequence[SessionReader], macs: Macs, first_ns: int) -> Iterable[PastRequest]:
    framing = profile.framing
    for session in chain:
        for said in session.asked:
            name, number = _REQUEST_NAMES[said.saying], profile.ids[said.saying]  # type: ignore[index]
            body = said.frame[framing.head : len(said.frame) - framing.foot]
            device = macs.rank_of_device(said.message)
            yield PastRequest(max(0, said.ns - first_ns), name, number, body, device)


def _joined(
    parts: Sequence[SaidColumns], column: Callable[[SaidColumns], Sequence[int]], shifts: Sequence[int] | None = None
) -> Int64s:
    """A column of all parts. Args: shifts: of each part, what its numbers are to be raised by."""
    arrays = [np.array(column(part), np.int64) for part in parts]
    if shifts is not None:
        arrays = [each + shift for each, shift in zip(arrays, shifts, strict=False)]
    return np.concatenate(arrays)


def _stamped(parts: Sequence[SaidColumns], key: tuple[str, str], starts: Sequence[int]) -> Int64s:
    """Where one of our numbers is, of each message; -1: not in that one."""
    found = []
    for part, start in zip(parts, starts, strict=False):
        at = np.full(len(part), -1, np.int64)
        there = np.array(part.stamps.get(key, ()), np.int64)
        at[: len(there)] = np.where(there >= 0, there + start, -1)
        found.append(at)
    return np.concatenate(found)


def _times(parts: Sequence[SaidColumns], slots: Sequence[int], starts: Sequence[int]) -> Iterable[Times]:
    nothing: tuple[array[int], ...] = (array("q"), array("q"), array("q"))
    for key in sorted({key for part in parts for key in part.times}):
        columns = [
            _joined(parts, lambda part, key=key, at=at: part.times.get(key, nothing)[at], shifts)  # type: ignore[misc]
            for at, shifts in ((0, slots), (1, starts), (2, None))
        ]
        yield Times(*key, *(column.tobytes() for column in columns))
