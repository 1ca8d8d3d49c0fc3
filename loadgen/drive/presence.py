"""Which of the sessions that a plan has are there while a load is on, and for how much of it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from loadgen.hosts import endpoint_shown
from loadgen.measure.stages import Int64s
from loadgen.results.asked import MOST_NAMED, Absence, FellSilent
from loadgen.results.paces import TOLERANCE
from loadgen.scenario.plan import Plan, Use
from loadgen.session.lulls import Lull
from loadgen.transport.address import host_and_port
from loadgen.units import NS_PER_S

# A session that has brought nothing for this many times its longest pause before has fallen silent.
_MUTE = 3
# How long before its first message came a schedule of the peers may have begun, at most.
_LONGEST_ON_THE_WAY_NS = NS_PER_S


def leaving_ns(end_ns: int, length_ns: int, *, ours_to_time: bool) -> int:
    """A session that leaves from then on has stayed to the end of a load. Args: as of a `Presence`."""
    return end_ns if ours_to_time else end_ns - min(int(length_ns * TOLERANCE), _LONGEST_ON_THE_WAY_NS)


class Presence:
    """A worker's places, each of which is to have so many sessions all the time.

    With its MSEs ours, a place is a session; otherwise it is a WLC, because nobody knows which MSE is to come to it.

    Attributes:
        leaving_ns: until when a session has to stay in the load that was begun last.
        stayed: places of sessions that did, and have ended since.
    """

    def __init__(
        self, wanted: Sequence[int], name_of: Callable[[int], str], *, ours_to_time: bool, dialing_ns: int = 0
    ) -> None:
        """Args:
        name_of: a place.
        ours_to_time: the schedule is ours; otherwise the peers, who keep it, may begin with the first session.
        dialing_ns: for how long the others may still be dialing when the first load begins, with the first of them.
        """
        self._wanted, self._name_of = wanted, name_of
        self._ours_to_time = ours_to_time
        self._dialing_ns = dialing_ns
        self._there = [0] * len(wanted)
        self._since_ns = [0] * len(wanted)  # of the last change
        self._away_ns = [0] * len(wanted)
        self._at_end: dict[int, int] = {}  # how many were there when the load was over, of those that changed since
        self._left: dict[int, tuple[str, int]] = {}  # how a place was left last, and when
        self._came: set[int] = set()
        self._most = [0] * len(wanted)  # that were ever there at once
        self._beyond = [0] * len(wanted)  # the most that were there in the load beside those
        self._first_dials_ns = 0  # for how long those that were to come did, while they were still waited for
        self._lulls: Mapping[int, Lull] = {}
        self._seeming_lulls: Mapping[int, Lull] = {}
        self._service_lulls: Mapping[str, Lull] = {}
        self._services_on: Collection[str] = ()
        self._first_ns: int | None = None
        self._start_ns = self._end_ns = self._before_ns = 0
        self._all_ns = 0  # from then on all should be there
        self.leaving_ns = 0
        self.stayed: set[int] = set()
        # How many notifications each had brought, as far as that is listened to; when that had changed, and what was
        # the longest time in which it had not. `_listened_ns`: when that was looked at last, and not after the load.
        self._heard = np.zeros(len(wanted), np.int64)
        self._heard_ns, self._quiet_ns = self._heard.copy(), self._heard.copy()
        self._listened_ns = 0

    def begin(self, start_ns: int, length_ns: int) -> None:
        """A load begins: from now on they should be there, until it is over."""
        first_ns = start_ns
        if not self._ours_to_time and self._first_ns is not None:
            # Not earlier than half of the load: who saw little of it has not had it.
            first_ns = max(min(start_ns, self._first_ns), start_ns - length_ns // 2)
        self._start_ns, self._end_ns, self._before_ns = start_ns, first_ns + length_ns, start_ns - first_ns
        self.leaving_ns = leaving_ns(self._end_ns, length_ns, ours_to_time=self._ours_to_time)
        self._all_ns = start_ns + min(self._dialing_ns, length_ns // 2)
        self._dialing_ns = 0
        self._away_ns = [0] * len(self._wanted)
        self._first_dials_ns = 0
        self._at_end.clear()
        self._beyond = [max(0, there - wanted) for there, wanted in zip(self._there, self._wanted, strict=True)]
        self.stayed.clear()
        self._lulls, self._seeming_lulls, self._service_lulls, self._services_on = {}, {}, {}, ()
        self._heard_ns[:] = start_ns
        self._quiet_ns[:] = 0
        self._listened_ns = 0

    def listen(self, now_ns: int, heard: Int64s, also: Mapping[int, int]) -> None:
        """How many notifications each session has brought so far; `also`: of which there are few, by its place."""
        if self._listened_ns and self._listened_ns >= self._end_ns:
            return
        for place, count in also.items():
            heard[place] += count
        changed = heard != self._heard
        self._heard = heard
        if self._start_ns and now_ns > self._start_ns:
            self._quiet_ns[changed] = np.maximum(self._quiet_ns, now_ns - self._heard_ns)[changed]
            self._heard_ns[changed] = now_ns
            self._listened_ns = now_ns

    def came(self, place: int, now_ns: int) -> None:
        """A session of this place is up."""
        self._change(place, 1, now_ns)
        self._came.add(place)
        if self._most[place] < min(self._there[place], self._wanted[place]):
            self._most[place] += 1
            self._first_dials_ns += max(0, min(now_ns, self._all_ns) - self._start_ns)
        if now_ns < self._end_ns:
            self._beyond[place] = max(self._beyond[place], self._there[place] - self._wanted[place])
        if self._first_ns is None:
            self._first_ns = now_ns

    def went(self, place: int, now_ns: int, how: str) -> None:
        """A session that was up has ended. Args: how: in words, with who was at its other end."""
        if now_ns >= self.leaving_ns:
            self.stayed.add(place)
            now_ns = max(now_ns, self._end_ns)
        self._change(place, -1, now_ns)
        if not self._start_ns or now_ns < self._end_ns:  # afterwards everybody may leave
            self._left[place] = how, now_ns

    def fell_silent(
        self,
        surely: Mapping[int, Lull],
        perhaps: Mapping[int, Lull],
        services: Mapping[str, Lull],
        services_on: Collection[str],
    ) -> None:
        """The load is over. Of places that were there to its end, and subservices, these brought nothing any more.

        Args: services_on: subservices that did, as far as is known.
        """
        self._lulls, self._seeming_lulls = surely, perhaps
        self._service_lulls, self._services_on = services, services_on

    def _change(self, place: int, by: int, now_ns: int) -> None:
        self._away_ns[place] = self._away_until(place, now_ns)
        if now_ns >= self._end_ns:
            self._at_end.setdefault(place, self._there[place])
        self._since_ns[place] = now_ns
        self._there[place] += by

    def _away_until(self, place: int, until_ns: int) -> int:
        since_ns, until_ns = max(self._since_ns[place], self._all_ns), min(until_ns, self._end_ns)
        missing = max(0, self._wanted[place] - self._there[place])
        return self._away_ns[place] + missing * max(0, until_ns - since_ns)

    def absence(self) -> Absence:
        """Of the load that was begun last, as if nothing would change until its end."""
        length_ns = max(0, self._end_ns - self._all_ns)
        away = {place: ns for place in range(len(self._wanted)) if (ns := self._away_until(place, self._end_ns)) > 0}
        missing = sum(max(0, self._wanted[place] - self._at_end.get(place, self._there[place])) for place in away)
        longest = sorted(away, key=lambda place: -away[place])
        never_came = sum(self._wanted) - sum(self._most)
        silent = sorted(self._lulls, key=lambda place: -self._lulls[place].silent_ns)
        return Absence(
            sessions=sum(self._wanted),
            load_s=length_ns / NS_PER_S,
            away_s=sum(away.values()) / NS_PER_S,
            missing=missing if length_ns else 0,
            named=tuple(self._told(place, away[place]) for place in longest[:MOST_NAMED]),
            others=len(longest[MOST_NAMED:]),
            before_s=self._before_ns / NS_PER_S,
            silent=len(self._lulls),
            silent_s=sum(lull.silent_ns for lull in self._lulls.values()) / NS_PER_S,
            silent_named=tuple(
                _fallen_silent(self._name_of(place), self._lulls[place]).what for place in silent[:MOST_NAMED]
            ),
            services=tuple(_fallen_silent(*each) for each in self._service_lulls.items()),
            services_on=tuple(self._services_on),
            beyond=sum(self._beyond),
            beyond_places=sum(1 for beyond in self._beyond if beyond),
            beyond_named=tuple(self._told_beyond(place) for place in self._most_beyond()),
            dialing_s=(self._first_dials_ns + never_came * (self._all_ns - self._start_ns)) / NS_PER_S,
            **self._silence(),
        )

    def _most_beyond(self) -> list[int]:
        """Places that had more sessions than they were to have: those with the most of them."""
        some = (place for place, beyond in enumerate(self._beyond) if beyond)
        return sorted(some, key=lambda place: -self._beyond[place])[:MOST_NAMED]

    def _told_beyond(self, place: int) -> str:
        wanted = self._wanted[place]
        return f"{self._name_of(place)}: {wanted + self._beyond[place]:,} at once where {wanted:,} were asked for"

    def _silence(self) -> dict[str, Any]:
        """Of those that were there at the end of the load, and for half of it: who did not say anything (any more).
        Those that surely fell silent are told of apart.
        """
        if not self._listened_ns:
            return {}
        middle_ns = (self._start_ns + self._end_ns) // 2
        there = [
            place
            for place in range(len(self._wanted))
            if self._at_end.get(place, self._there[place])
            and (place in self._at_end or self._since_ns[place] < middle_ns)
        ]
        end_ns = min(self._listened_ns, self._end_ns)
        mute = [
            place
            for place in there
            if place not in self._lulls
            if place in self._seeming_lulls or end_ns - self._heard_ns[place] > _MUTE * self._quiet_ns[place]
        ]
        return {"up": len(there), "mute": len(mute), "mute_named": tuple(map(self._muted, mute[:MOST_NAMED]))}

    def _muted(self, place: int) -> str:
        if (lull := self._seeming_lulls.get(place)) is not None:
            return _fallen_silent(self._name_of(place), lull).what
        after_s = (int(self._heard_ns[place]) - self._start_ns) / NS_PER_S
        return f"{self._name_of(place)}: nothing" + (f" after {after_s:.0f} s" if self._quiet_ns[place] else "")

    def _told(self, place: int, away_ns: int) -> str:
        name = self._name_of(place)
        if place not in self._came:
            return f"{name}: no session came up"
        how, left_ns = self._left.get(place, ("", 0))
        if how and self._at_end.get(place, self._there[place]) < self._wanted[place]:
            return f"{name}: {how} after {max(0, left_ns - self._start_ns) / NS_PER_S:.1f} s"
        away = f"missing for {away_ns / NS_PER_S:.1f} s"
        if (wanted := self._wanted[place]) == 1:
            return f"{name}: {away}"
        return f"{name}: of {wanted:,} sessions, {away}, added up over them"


def _fallen_silent(name: str, lull: Lull) -> FellSilent:
    return FellSilent(name, lull.silent_ns / NS_PER_S, lull.longest_ns / NS_PER_S)


def presence_of_sessions(
    plan: Plan, worker: int, workers: int, addresses: Sequence[tuple[str, int]]
) -> Presence | None:
    """Of the sessions that a worker dials; None: they are users'. Args: addresses: of all WLCs of the plan."""
    if plan.sessions_per_user:
        return None
    sessions = plan.sessions[worker::workers]

    def name_of(number: int) -> str:
        host, port = addresses[sessions[number].wlc]
        return f"MSE {plan.mse_macs[sessions[number].mse]} at WLC {endpoint_shown(host, port)}"

    return Presence([1] * len(sessions), name_of, ours_to_time=plan.use is Use.BOTH)


def presence_of_visitors(plan: Plan, members: Sequence[int], listeners: Sequence[socket.socket]) -> Presence | None:
    """Of somebody else's MSEs at these WLCs of the plan; None: they are users, or ours, and are looked after there."""
    if plan.use.plays_mse or plan.sessions_per_user:
        return None
    wanted = Counter(session.wlc for session in plan.sessions)
    addresses = [host_and_port(listener.getsockname()) for listener in listeners]

    def name_of(position: int) -> str:
        host, port = addresses[position]
        return f"WLC {plan.wlcs[members[position]].mac} at {endpoint_shown(host, port)}"

    # The load begins with the first of them, and the others take the time that ours would.
    dialing_ns = int(len(plan.sessions) / plan.mse.connect_per_s * NS_PER_S)
    return Presence([wanted[number] for number in members], name_of, ours_to_time=True, dialing_ns=dialing_ns)
