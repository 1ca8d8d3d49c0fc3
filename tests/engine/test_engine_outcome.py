"""What a result says of its stages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from loadgen.engine.outcome import stage_spans
from loadgen.engine.record import Load
from loadgen.scenario.load import load_scenario
from loadgen.scenario.plan import Use, make_plan
from loadgen.units import NS_PER_S

NOTIFY = '[load]\nrate = 100\nstages = [{ hold = "2s" }]\n'
HANDSHAKES = '[load]\nkind = "handshake"\nrate = 100\nstages = [{ hold = "2s" }]\n'


@pytest.mark.parametrize(
    ("text", "use", "offered"),
    [
        (NOTIFY, Use.BOTH, 200),  # to both MSEs
        (NOTIFY, Use.SERVE_WLC, 200),
        (NOTIFY, Use.TARGET_WLC, 0),
        (NOTIFY, Use.SERVE_MSE, 0),
        (HANDSHAKES, Use.TARGET_WLC, 100),
    ],
)
def test_a_stage_offers_what_is_ours_to_offer(text: str, use: Use, offered: float, tmp_path: Path) -> None:
    """What a stranger's WLCs send is not what the scenario says."""
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n[mse]\ncount = 2\n{text}', "utf-8")
    targets = [("127.0.0.1", 16113)] if use is Use.TARGET_WLC else []
    plan = make_plan(*load_scenario(path), use=use, targets=targets)
    load = Load(plan.stages, Counter())
    (span,) = stage_spans(plan, load, load.start_ns + 2 * NS_PER_S)
    assert (span.start_per_s, span.end_per_s, span.length_ns) == (offered, offered, 2 * NS_PER_S)
