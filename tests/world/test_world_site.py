"""A controller's site: what is news, what is in a record, and who comes and goes; in virtual time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from site_samples import PROFILE, clock_of, measured, plan_of, rounds, site_of

from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import MeasurementNotify
from loadgen.nmsp.ring import NotifyRing, Timing
from loadgen.nmsp.services import Subservice
from loadgen.units import NEVER_NS, NS_PER_S
from loadgen.world.floor import SILENT, Floor, Walk
from loadgen.world.population import Found, Population

# Nobody moves, fades or leaves: what is heard is the same whenever it is heard.
STILL = {"shadowing_db": 0, "pause": "8000h", "stay": "8000h", "away": "0s"}


def population_of(name: str, site: dict[str, object], stations: int = 1) -> Population:
    """A class of a site, of which nobody sends unless told to."""
    plan = plan_of(site, stations)
    population = site_of(plan).populations[name]
    population.next_ns[:] = NEVER_NS
    return population


def send(population: Population, row: int, at_s: float) -> None:
    population.next_ns[row] = int(at_s * NS_PER_S)
    population.go_on(int(at_s * NS_PER_S))
    population.next_ns[row] = NEVER_NS


def look(population: Population, at_s: float) -> Found | None:
    population.go_on(int(at_s * NS_PER_S))
    return population.changed(int(at_s * NS_PER_S))


def move(population: Population, row: int, x_m: float, y_m: float) -> None:
    population.walk.to_m[row] = population.walk.from_m[row] = (x_m, y_m)


class TestNews:
    """Which records go into the next notification."""

    def test_a_record_is_told_once(self) -> None:
        stations = population_of("stations", STILL)
        assert look(stations, 1) is None
        send(stations, 0, 2)
        found = look(stations, 3)
        assert found is not None
        assert found.stations.macs.tolist() == stations.macs.tolist()
        assert found.stations.subservice == Subservice.RSSI_MS
        assert look(stations, 4) is None

    def test_with_a_threshold_of_0_all_that_is_heard_is_news(self) -> None:
        stations = population_of("stations", STILL | {"stations": {"threshold_db": 0}})
        for second in range(1, 6):
            send(stations, 0, second)
            assert look(stations, second) is not None

    def test_below_the_threshold_it_is_not(self) -> None:
        tags = population_of("tags", STILL | {"tags": {"count": 1, "threshold_db": 5}, "aps": 1, "floor_m": [100, 1]})
        ap_m = float(tags.floor.x_m[0])
        told = []
        # 10 m, 11 m, 12 m and 14 m away: 38 dB a decade, so -1.6, -3.0 and -5.6 dB against the first.
        for second, distance_m in enumerate((10, 11, 12, 14, 14), 1):
            move(tags, 0, ap_m + distance_m, float(tags.floor.y_m[0]))
            send(tags, 0, second)
            told.append(look(tags, second) is not None)
        assert told == [True, False, False, True, False]

    def test_what_was_told_last_counts_and_not_what_was_heard_last(self) -> None:
        """A tag that creeps away is told of when it has come far enough, however small its steps."""
        tags = population_of("tags", STILL | {"tags": {"count": 1, "threshold_db": 5}, "aps": 1, "floor_m": [100, 1]})
        told = []
        for second in range(1, 40):
            move(tags, 0, float(tags.floor.x_m[0]) + 5 + second / 2, float(tags.floor.y_m[0]))
            send(tags, 0, second)
            if (found := look(tags, second)) is not None:
                told.append(int(found.stations.readings["rssi_a"][0, 0]))
        assert len(told) > 2
        assert all(before - after >= 5 for before, after in pairwise(told))

    def test_what_happens_within_an_interval_is_told_together(self) -> None:
        plan = plan_of(STILL | {"stations": {"every": ["500ms", "500ms"], "interval": "10s"}}, stations=3)
        site = site_of(plan)
        found = measured(site, clock_of(plan, "stations"), 60)
        assert [sorted(map(bytes, each.stations.macs)) for _, each in found[1:]] == [
            sorted(map(bytes, site.populations["stations"].macs))
        ] * len(found[1:])
        assert len(found) >= 5

    def test_readings_expire(self) -> None:
        stations = population_of("stations", STILL | {"stations": {"expiry": "15s", "interval": "180s"}})
        send(stations, 0, 1)
        found = look(stations, 16)
        assert found is not None
        assert set(found.stations.readings["age_s"].ravel().tolist()) == {15}
        send(stations, 0, 17)
        assert look(stations, 33) is None  # nothing is left that could be told

    def test_an_older_reading_of_another_access_point_is_told_with_its_age(self) -> None:
        site = STILL | {"aps": 2, "floor_m": [400, 1], "stations": {"expiry": "15s"}}
        stations = population_of("stations", site)
        for at_s, ap in ((1, 0), (8, 1)):
            move(stations, 0, float(stations.floor.x_m[ap]), float(stations.floor.y_m[ap]))
            send(stations, 0, at_s)
        found = look(stations, 9)
        assert found is not None
        readings = found.stations.readings[0]
        assert sorted(readings["age_s"].tolist()) == [1, 8]
        assert {bytes(mac) for mac in readings["ap_mac"]} == {mac.tobytes() for mac in stations.floor.macs}

    def test_who_is_heard_by_nobody_is_not_told_of(self) -> None:
        plan = plan_of({"sensitivity_dbm": -40, "floor_m": [5000, 5000], "aps": 1}, stations=20)
        assert measured(site_of(plan), 0, 300) == []


class TestRecords:
    """What is in a record."""

    @pytest.mark.parametrize("most", [16, 5])
    def test_it_has_the_access_points_that_heard_it_loudest(self, most: int) -> None:
        site = {"aps": 60, "floor_m": [40, 30], "reported_aps": most, "shadowing_db": 6}
        stations = population_of("stations", site, stations=9)
        for row in range(9):
            if stations.there[row]:
                send(stations, row, 1)
        found = look(stations, 1)
        assert found is not None
        assert found.stations.counts.tolist() == [most] * len(found.stations.counts)
        macs = [bytes(mac) for mac in stations.macs]
        for mac, readings in zip(found.stations.macs, found.stations.readings, strict=True):
            heard = stations.rssi_dbm[macs.index(bytes(mac))]
            rssi = readings["rssi_a"].tolist()
            assert rssi == sorted(rssi, reverse=True) == sorted(heard.tolist(), reverse=True)[:most]
            assert len({bytes(each) for each in readings["ap_mac"]}) == most

    def test_few_access_points_make_small_records(self) -> None:
        plan = plan_of({"aps": 3}, stations=30)
        counts = np.concatenate([found.stations.counts for _, found in measured(site_of(plan), 0, 60)])
        assert counts.min() >= 1
        assert counts.max() <= 3

    def test_readings_are_within_what_a_controller_has(self) -> None:
        plan = plan_of({"tags": {"count": 5}}, stations=100)
        for _, found in measured(site_of(plan), 0, 120):
            for count, readings in zip(found.stations.counts, found.stations.readings, strict=True):
                heard = readings[:count]
                assert heard["rssi_a"].min() >= -88
                assert heard["rssi_a"].max() <= -20
                assert np.all(heard["snr"] == np.maximum(heard["rssi_a"].astype(int) + 95, 0))
                assert set(heard["slot"].tolist()) <= {0, 1}
                assert heard["age_s"].max() <= 15

    def test_they_are_frames_like_any_others(self) -> None:
        plan = plan_of(stations=80)
        _, found = measured(site_of(plan), 0, 30)[5]
        ring = NotifyRing(PROFILE, found.stations)
        frames, sequence = b"", 0
        while sequence < ring.slots:
            view, count = ring.patch(sequence, ring.slots - sequence, 100 + sequence, Timing(7, 9))
            frames += view
            sequence += count
        receiver = NotifyReceiver(PROFILE, len(frames))
        receiver.view[:] = frames
        assert receiver.scan_untrusted(0, len(frames)).notifications == len(found.stations.macs)
        columns = receiver.columns()
        assert columns.sequence.tolist() == list(range(100, 100 + ring.slots))
        assert set(columns.due_ns.tolist()) == {7}
        header, size = PROFILE.header, int(ring.sizes[0])
        decoded = Codec(PROFILE).decode_untrusted(16, memoryview(frames)[header.size : size])
        assert isinstance(decoded, MeasurementNotify)
        assert decoded.station_mac in {bytes(mac) for mac in found.stations.macs}

    def test_only_clients_for_who_asked_for_no_more(self) -> None:
        plan = plan_of({"associated": 0.5}, stations=200)
        site = site_of(plan)
        everything, clients = set(), set()
        for _, found in measured(site, 0, 120):
            everything |= {bytes(mac) for mac in found.stations.macs}
            chosen = found.of_associated()
            assert chosen.subservice == Subservice.RSSI_MS_ASSOCIATED_ONLY
            assert len(chosen.macs) == len(chosen.counts) == len(chosen.readings) == int(found.associated.sum())
            clients |= {bytes(mac) for mac in chosen.macs}
        assert clients < everything
        assert 0.3 < len(clients) / len(everything) < 0.7


class TestComingAndGoing:
    """Who leaves comes back, most with another MAC."""

    def test_a_randomised_mac_is_new_and_locally_administered(self) -> None:
        stations = population_of("stations", {"stay": "1m", "away": "1m", "randomised": 1.0}, stations=50)
        seen = {bytes(mac) for mac in stations.macs}
        stations.go_on(3600 * NS_PER_S)
        macs = {bytes(mac) for mac in stations.macs}
        assert not macs & seen
        assert len(macs) == 50
        assert all(mac[0] & 0b11 == 0b10 for mac in macs | seen)

    def test_others_keep_theirs(self) -> None:
        stations = population_of("stations", {"stay": "1m", "away": "1m", "randomised": 0.0}, stations=50)
        before = stations.macs.copy()
        stations.go_on(3600 * NS_PER_S)
        assert np.array_equal(before, stations.macs)

    def test_nothing_of_the_old_mac_is_told_under_the_new_one(self) -> None:
        stations = population_of("stations", STILL | {"randomised": 1.0})
        send(stations, 0, 1)
        assert look(stations, 1) is not None
        send(stations, 0, 2)
        stations.until_ns[0] = 3 * NS_PER_S  # leaves now, and is back before the next look
        old = bytes(stations.macs[0])
        stations.go_on(4 * NS_PER_S)
        assert bytes(stations.macs[0]) != old
        assert look(stations, 4) is None
        assert np.all(stations.rssi_dbm == SILENT)

    def test_as_many_are_there_as_the_plan_says(self) -> None:
        plan = plan_of({"stay": "10m", "away": "5m"}, stations=2000)
        stations = site_of(plan).populations["stations"]
        shares = []
        for minute in range(0, 120, 20):
            stations.go_on(minute * 60 * NS_PER_S)
            shares.append(float(stations.there.mean()))
        # Four standard deviations of a share of 2/3 among 2000.
        assert all(abs(share - 2 / 3) < 4 * (2 / 9 / 2000) ** 0.5 for share in shares)

    def test_clients_join_roam_and_leave(self) -> None:
        plan = plan_of({"stay": "3m", "away": "1m", "pause": "5s", "associated": 1.0, "aps": 30}, stations=200)
        stations = site_of(plan).populations["stations"]
        stations.keep_changes = True
        stations.go_on(1200 * NS_PER_S)
        changes = stations.changes()
        assert {change.what for change in changes} == {"came", "joined", "roamed", "left"}
        state: dict[bytes, str] = {}
        for change in changes:
            before = state.get(change.mac)
            assert (change.ap >= 0) == (change.what in ("joined", "roamed"))
            if change.what in ("roamed", "left"):
                assert before in ("joined", "roamed")
            state[change.mac] = change.what
        assert stations.changes() == []

    def test_nobody_walks_off_the_floor_or_faster_than_allowed(self) -> None:
        plan = plan_of({"floor_m": [50, 20], "walk_m_per_s": [1, 2], "pause": "1s"})
        assert plan.site is not None
        walk = Walk(plan.site, 100, np.random.default_rng(1), moves=True)
        rows = np.arange(100)
        before = walk.at(rows, np.zeros(100, np.int64))
        moved = 0.0
        for second in range(1, 200):
            x_m, y_m = walk.at(rows, np.full(100, second * NS_PER_S))
            assert x_m.min() >= 0
            assert x_m.max() <= 50
            assert y_m.min() >= 0
            assert y_m.max() <= 20
            step = np.hypot(x_m - before[0], y_m - before[1])
            assert step.max() <= 2 + 1e-6
            moved += float(step.sum())
            before = x_m, y_m
        assert moved > 100 * 200 * 0.5  # most of the time they walk, at 1 m/s or more


class TestChance:
    """The seed and the number of the controller decide; nothing else does."""

    def found(self, seed: int = 1, number: int = 0, **site: object) -> list[tuple[int, bytes, bytes]]:
        plan = plan_of(dict(site), stations=40, seed=seed)
        return [
            (at_ns, found.stations.macs.tobytes(), found.stations.readings.tobytes())
            for at_ns, found in measured(site_of(plan, number), 0, 60)
        ]

    def test_the_same_seed_finds_the_same(self) -> None:
        assert self.found() == self.found()
        assert len(self.found()) > 10

    def test_another_seed_and_another_controller_do_not(self) -> None:
        first = self.found()
        assert first != self.found(seed=2)
        assert first != self.found(number=1)

    def test_a_class_does_not_depend_on_the_others(self) -> None:
        assert self.found() == self.found(tags={"count": 9}, rogues={"count": 4})

    def test_controllers_do_not_tick_together(self) -> None:
        plan = plan_of()
        phases = [site_of(plan, number).tick_ns(0, 0) for number in range(40)]
        assert max(phases) - min(phases) > 1.5 * NS_PER_S
        assert all(0 <= phase < 2 * NS_PER_S for phase in phases)
        assert [site_of(plan).tick_ns(0, tick) - phases[0] for tick in range(3)] == [0, 2 * NS_PER_S, 4 * NS_PER_S]

    def test_every_interval_is_looked_at(self) -> None:
        plan = plan_of({"stations": {"interval": "7s"}})
        times = [at_ns for at_ns, _ in rounds(site_of(plan), 0, 100)]
        assert np.all(np.diff(times) == 7 * NS_PER_S)


class TestFloor:
    """The path loss model."""

    def test_without_shadowing_it_is_the_formula(self) -> None:
        plan = plan_of({"aps": 1, "shadowing_db": 0, "path_loss_exponent": 3.0, "floor_m": [100, 100]})
        assert plan.site is not None
        floor = Floor(plan.site, np.random.default_rng(1))
        x_m = floor.x_m[0] + np.array([0.0, 0.0, 20.0])
        y_m = floor.y_m[0] + np.zeros(3)
        rssi = floor.rssi_dbm(x_m, y_m, np.array([0, 1, 0], np.uint8), np.random.default_rng(1))[:, 0]
        # 15 dBm, 40.2 or 47.3 dB at 1 m, 30 dB a decade; 2 m below, and 20.1 m away.
        assert rssi.tolist() == [round(15 - 40.2 - 9.03), round(15 - 47.3 - 9.03), round(15 - 40.2 - 39.1)]

    def test_shadowing_is_normal(self) -> None:
        plan = plan_of({"aps": 1, "shadowing_db": 5.0, "sensitivity_dbm": -110})
        assert plan.site is not None
        floor = Floor(plan.site, np.random.default_rng(1))
        x_m, y_m = np.full(20_000, 50.0), np.full(20_000, 20.0)
        rssi = floor.rssi_dbm(x_m, y_m, np.zeros(20_000, np.uint8), np.random.default_rng(2))[:, 0].astype(float)
        assert abs(rssi.std() - 5.0) < 0.15

    @pytest.mark.parametrize("aps", [1, 2, 7, 75])
    def test_access_points_hang_all_over_it(self, aps: int) -> None:
        plan = plan_of({"aps": aps, "floor_m": [200, 120]})
        assert plan.site is not None
        floor = Floor(plan.site, np.random.default_rng(1))
        assert len({bytes(mac) for mac in floor.macs}) == aps
        assert 0 < floor.x_m.min() <= floor.x_m.max() < 200
        assert 0 < floor.y_m.min() <= floor.y_m.max() < 120
        if aps == 75:
            assert floor.x_m.max() - floor.x_m.min() > 150
            assert floor.y_m.max() - floor.y_m.min() > 80
