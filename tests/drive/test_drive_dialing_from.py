"""From which address a worker's sessions are dialed: its part of a plan's turns, and handshakes that go round."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from drive_samples import equipped

from loadgen.drive.dialing_from import DialingFrom
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import make_plan
from loadgen.scenario.reading import load_scenario

HOST = "127.0.0.1"
SESSIONS, WORKERS = 30, 3
BIND = 'bind = ["127.0.9.1-127.0.9.5"]'


def dialing_from(path: Path, load: str, worker: int, bind: str = BIND) -> DialingFrom:
    path.write_text(f'name = "d"\n[mse]\ncount = {SESSIONS}\n{bind}\n[load]\n{load}\n', "utf-8")
    scenario, profile = load_scenario(path)
    plan = make_plan(scenario, profile)
    return DialingFrom(equipped(Role.MSE, plan, profile, Recorder(), worker=worker, workers=WORKERS))


def test_workers_deal_out_together_what_one_would(tmp_path: Path) -> None:
    taken = Counter[str | None]()
    for worker in range(WORKERS):
        deal = dialing_from(tmp_path / "d.toml", "rate = 1", worker)
        taken.update(deal(number, HOST) for number in range(SESSIONS // WORKERS))
    assert taken == {f"127.0.9.{last}": SESSIONS // 5 for last in range(1, 6)}


@pytest.mark.parametrize(("load", "addresses"), [("rate = 1", 1), ('kind = "handshake"', 5)])
def test_a_handshake_comes_from_the_next_one_and_a_session_from_its_own(
    tmp_path: Path, load: str, addresses: int
) -> None:
    deal = dialing_from(tmp_path / "d.toml", load, 0)
    assert len({deal(7, HOST) for _ in range(10)}) == addresses


def test_the_kernel_chooses(tmp_path: Path) -> None:
    deal = dialing_from(tmp_path / "d.toml", "rate = 1", 0, bind="")
    assert deal(0, HOST) is None
