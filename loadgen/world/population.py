"""One class of what a controller hears (stations, tags, rogues, ...): who is there, who hears it, and what of that is
news. Columns, a row for each; time is an argument (ns since the start), and never goes back.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.bulk import Stations
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.records import Reading
from loadgen.nmsp.services import Subservice
from loadgen.scenario.site_plan import PlannedClass, PlannedSite
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S
from loadgen.world.floor import SILENT, Floor, Rows, Walk
from loadgen.world.stations import put_readings

NOISE_DBM = -95
_SOURCE_PROBE = 1
# A device that keeps its MAC has this prefix: locally administered, so never a real one's.
_OWN_OUI = (0x02, 0x53)
# A randomised MAC: unicast, locally administered; all other bits are chance.
_LOCAL, _UNICAST = 0x02, 0xFE
# A client joins where it is heard so well, and changes to where it is heard so much better.
_JOIN_DBM = -75
_ROAM_DB = 8
# Intervals are not kept to the millisecond.
_JITTER = 0.1
_NOBODY = -1


class Found(NamedTuple):
    """Records that have changed.

    Attributes:
        stations: what a notification of each carries.
        associated: shape (records,), whether it is a client of this controller.
        aps: shape (records, readings), numbers of the access points.
    """

    stations: Stations
    associated: NDArray[np.bool_]
    aps: NDArray[np.int64]

    def of_associated(self) -> Stations:
        """Only the clients, for who asked for no more."""
        chosen = self.associated
        s = self.stations
        return Stations(s.macs[chosen], s.counts[chosen], s.readings[chosen], Subservice.RSSI_MS_ASSOCIATED_ONLY)

    def heard_by(self, allowed: NDArray[np.bool_]) -> Found:
        """Only what these access points heard. Args: allowed: by number of the access point."""
        s = self.stations
        keep = allowed[self.aps] & (np.arange(self.aps.shape[1]) < s.counts[:, None])
        order = np.argsort(~keep, axis=1, kind="stable")
        chosen = keep.any(axis=1)
        readings = np.take_along_axis(s.readings, order, 1)[chosen]
        stations = Stations(s.macs[chosen], keep.sum(axis=1)[chosen], readings, s.subservice)
        return Found(stations, self.associated[chosen], np.take_along_axis(self.aps, order, 1)[chosen])


class Change(NamedTuple):
    """Somebody "came" to the site, "joined" an access point, "roamed" to another, or "left". ap: -1 where none is."""

    what: str
    mac: bytes
    ap: int


class Population:
    """One class on one floor.

    Attributes:
        macs: shape (count, 6). there: who is. ap: the access point that each is associated with, or -1.
        next_ns, until_ns: when each sends next, and until when it is there, or away. walk: where each is.
        rssi_dbm: shape (count, access points): how each was heard last; SILENT: not at all.
        keep_changes: whether somebody asks for `changes`. now_ns: until when everything has happened.
    """

    def __init__(
        self, profile: WireProfile, site: PlannedSite, planned: PlannedClass, floor: Floor, rng: np.random.Generator
    ) -> None:
        count = planned.count
        self.planned = planned
        self.floor = floor
        self._profile = profile
        self._rng = rng
        self.walk = Walk(site, count, rng, moves=planned.moves)
        self._reported_aps = min(site.reported_aps, site.aps)
        self._expiry_ms = planned.expiry_ns // NS_PER_MS
        low, high = planned.every_ns
        self._every_ns = np.exp(rng.uniform(math.log(low), math.log(high), count)).astype(np.int64)
        self._stay_s, self._away_s = site.stay_ns / NS_PER_S, site.away_ns / NS_PER_S
        self.macs = rng.integers(0, 256, (count, 6), np.uint8)
        self.macs[:, :2] = _OWN_OUI
        self._randomises = rng.random(count) < (site.randomised if planned.leaves else 0.0)
        self._associates = rng.random(count) < (site.associated if planned.associates else 0.0)
        shape = (count, site.aps)
        self.rssi_dbm = np.full(shape, SILENT, np.int8)
        self._sent = np.full(shape, SILENT, np.int8)  # RSSI when it was last told; SILENT: never
        self._band = np.zeros(shape, np.uint8)
        self._heard_ms = np.zeros(shape, np.int32)
        self._news = np.zeros(count, bool)  # heard since it was last looked at
        # How things stand is memoryless, so a floor that begins like this has no time to settle.
        self.there = rng.random(count) < (site.present if planned.leaves else 1.0)
        self.until_ns = np.full(count, NEVER_NS)
        if planned.leaves:
            self.until_ns = np.where(self.there, self._some(self._stay_s, count), self._some(self._away_s, count))
        self._new_macs(np.flatnonzero(self._randomises))
        self.next_ns = np.where(self.there, (rng.random(count) * self._every_ns).astype(np.int64), NEVER_NS)
        self.ap = np.full(count, _NOBODY)
        self._sends = np.zeros(count, np.int64)
        self._last_ns = np.full(count, -1)
        self.keep_changes = False
        self.now_ns = 0
        self._changes: list[Change] = []

    # -- for who wants to know more ------------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """What changed since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def known(self) -> list[int]:
        """Rows of those who are there and were heard."""
        rows: list[int] = np.flatnonzero(self.there & (self.rssi_dbm != SILENT).any(axis=1)).tolist()
        return rows

    def row_of(self, mac: bytes) -> int | None:
        """Who of those has this MAC now."""
        rows = np.flatnonzero((self.macs == np.frombuffer(mac, np.uint8)).all(axis=1) & self.there)
        return next((row for row in rows.tolist() if self.aps_hearing(row)), None)

    def readings(self, row: int) -> tuple[Reading, ...]:
        """The latest of each access point, however old, loudest first; as many as a notification has at most."""
        order = np.argsort(-self.rssi_dbm[row].astype(np.int16), kind="stable")[: self._reported_aps]
        return tuple(
            Reading(
                ap_mac=self.floor.macs[ap].tobytes(),
                slot=int(self._band[row, ap]),
                band=int(self._band[row, ap]),
                source=_SOURCE_PROBE,
                rssi_a=int(self.rssi_dbm[row, ap]),
                rssi_b=int(_other_antenna(self.rssi_dbm[row, ap], row, ap)),
                snr=max(int(self.rssi_dbm[row, ap]) - NOISE_DBM, 0),
                age_s=min((self.now_ns // NS_PER_MS - int(self._heard_ms[row, ap])) // 1000, 65535),
            )
            for ap in order.tolist()
            if self.rssi_dbm[row, ap] != SILENT
        )

    def mac(self, row: int) -> bytes:
        mac: bytes = self.macs[row].tobytes()
        return mac

    def loudest_dbm(self, row: int) -> int:
        """The best that any access point last heard of it."""
        return int(self.rssi_dbm[row].max())

    def loudest_ap(self, row: int) -> int:
        return int(self.rssi_dbm[row].argmax())

    def aps_hearing(self, row: int) -> int:
        """How many access points have heard it."""
        return int(np.count_nonzero(self.rssi_dbm[row] != SILENT))

    def every_s(self, row: int) -> float:
        """Its own interval."""
        return float(self._every_ns[row]) / NS_PER_S

    def sends(self, row: int) -> int:
        """How often it has sent."""
        return int(self._sends[row])

    def last_sent_ns(self, row: int) -> int:
        """When it last did; -1: never."""
        return int(self._last_ns[row])

    # -- time goes on --------------------------------------------------------------------------------------------

    def go_on(self, now_ns: int) -> None:
        """Let everything happen that happens until now."""
        self.now_ns = now_ns
        while True:
            # Who is about to leave still sends what it had to before.
            senders = np.flatnonzero(self.next_ns <= np.minimum(self.until_ns, now_ns))
            if len(senders):
                self._send(senders)
                continue
            turning = np.flatnonzero(self.until_ns <= now_ns)
            if not len(turning):
                return
            here = self.there[turning]
            self._leave(turning[here])
            self._come(turning[~here])

    def changed(self, now_ns: int) -> Found | None:
        """The records that are news now: heard since they were last looked at, and changed by the threshold.

        In each are the access points that heard it loudest, `reported_aps` at most, loudest first; those whose reading
        is older than the expiry are not.
        """
        rows = np.flatnonzero(self._news)
        if not len(rows):
            return None
        self._news[rows] = False
        rssi = self.rssi_dbm[rows]
        age_ms = now_ns // NS_PER_MS - self._heard_ms[rows]
        rssi[age_ms > self._expiry_ms] = SILENT
        aps = rssi.shape[1]
        most = self._reported_aps
        best = np.argpartition(rssi, aps - most, axis=1)[:, aps - most :] if most < aps else None
        loud = rssi if best is None else np.take_along_axis(rssi, best, 1)
        order = np.argsort(-loud.astype(np.int16), axis=1, kind="stable")
        loud = np.take_along_axis(loud, order, 1)
        best = order if best is None else np.take_along_axis(best, order, 1)
        told = self._sent[rows[:, None], best]
        heard = loud != SILENT
        moved = np.abs(loud.astype(np.int16) - told) >= self.planned.threshold_db
        dirty = ((moved | (told == SILENT)) & heard).any(axis=1)
        if not dirty.any():
            return None
        rows, best, loud, heard = rows[dirty], best[dirty], loud[dirty], heard[dirty]
        ages_ms = np.take_along_axis(age_ms[dirty], best, 1)
        self._sent[rows[:, None], best] = np.where(heard, loud, told[dirty])
        return self._found(rows, best, loud, heard, ages_ms)

    def _found(
        self, rows: Rows, best: Rows, loud: NDArray[np.int8], heard: NDArray[np.bool_], ages_ms: NDArray[np.int64]
    ) -> Found:
        counts = heard.sum(axis=1)
        width = int(counts.max())
        best, loud = best[:, :width], loud[:, :width]
        band = self._band[rows[:, None], best]
        readings = np.zeros(best.shape, self._profile.readings_dtype)
        readings["ap_mac"] = self.floor.macs[best]
        put_readings(
            readings,
            slot=band,  # radio 0 is the one for 2.4 GHz, radio 1 for 5 GHz
            band=band,
            source=_SOURCE_PROBE,
            rssi_a=loud,
            rssi_b=_other_antenna(loud, rows[:, None], best),
            snr=np.maximum(loud - NOISE_DBM, 0),
            age_s=np.minimum(ages_ms[:, :width] // 1000, 65535),
        )
        stations = Stations(self.macs[rows], counts, readings, self.planned.subservice)
        return Found(stations, self.ap[rows] != _NOBODY, best)

    # -- what happens --------------------------------------------------------------------------------------------

    def _send(self, rows: Rows) -> None:
        """Each of these sends once, at its own time."""
        rng, time_ns, count = self._rng, self.next_ns[rows], len(rows)
        jitter = rng.uniform(1 - _JITTER, 1 + _JITTER, count)
        self.next_ns[rows] = time_ns + (self._every_ns[rows] * jitter).astype(np.int64)
        band = (rng.random(count) < self.planned.share_of_5_ghz).astype(np.uint8)
        rssi = self.floor.rssi_dbm(*self.walk.at(rows, time_ns), band, rng)
        heard = rssi != SILENT
        self.rssi_dbm[rows] = np.where(heard, rssi, self.rssi_dbm[rows])
        self._band[rows] = np.where(heard, band[:, None], self._band[rows])
        self._heard_ms[rows] = np.where(heard, (time_ns // NS_PER_MS)[:, None], self._heard_ms[rows])
        self._news[rows] |= heard.any(axis=1)
        self._sends[rows] += 1
        self._last_ns[rows] = time_ns
        if self.planned.associates:
            self._associate(rows, rssi)

    def _associate(self, rows: Rows, rssi: NDArray[np.int8]) -> None:
        best = rssi.argmax(axis=1)
        each = np.arange(len(rows))
        loudest, ap = rssi[each, best].astype(np.int64), self.ap[rows]
        free = ap == _NOBODY
        joins = self._associates[rows] & free & (loudest >= _JOIN_DBM)
        roams = ~free & (loudest >= rssi[each, ap].astype(np.int64) + _ROAM_DB) & (best != ap)
        self.ap[rows] = np.where(joins | roams, best, ap)
        self._note("joined", rows[joins])
        self._note("roamed", rows[roams])

    def _note(self, what: str, rows: Rows) -> None:
        if self.keep_changes:
            self._changes += [Change(what, self.mac(row), int(self.ap[row])) for row in rows.tolist()]

    def _leave(self, rows: Rows) -> None:
        if not len(rows):
            return
        self.there[rows] = False
        self.next_ns[rows] = NEVER_NS
        self.until_ns[rows] += self._some(self._away_s, len(rows))
        clients = rows[self.ap[rows] != _NOBODY]
        self.ap[rows] = _NOBODY
        self._note("left", clients)

    def _come(self, rows: Rows) -> None:
        """These devices are there again: those that randomise, with a MAC that no access point has heard before."""
        if not len(rows):
            return
        self.there[rows] = True
        self.next_ns[rows] = self.until_ns[rows] + (self._rng.random(len(rows)) * self._every_ns[rows]).astype(np.int64)
        self.until_ns[rows] += self._some(self._stay_s, len(rows))
        self._new_macs(rows[self._randomises[rows]])
        self._note("came", rows)

    def _new_macs(self, rows: Rows) -> None:
        macs = self._rng.integers(0, 256, (len(rows), 6), np.uint8)
        macs[:, 0] = macs[:, 0] & _UNICAST | _LOCAL
        self.macs[rows] = macs
        self.rssi_dbm[rows] = SILENT
        self._sent[rows] = SILENT
        self._news[rows] = False

    def _some(self, mean_s: float, count: int) -> Rows:
        """Durations of at least 1 ms, of this mean."""
        some: Rows = (self._rng.exponential(mean_s, count) * NS_PER_S).astype(np.int64) + NS_PER_MS
        return some


def _other_antenna(loud: Any, row: Any, ap: Any) -> Any:
    """It hears up to 3 dB otherwise; how much, depends on where both are, and not on when. Columns or numbers."""
    return np.maximum(loud + ((row * 7 + ap * 13) % 7 - 3), SILENT + 1)
