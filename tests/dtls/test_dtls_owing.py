"""What WLCs owe over datagrams when somebody else's MSEs come and go."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

from dtls_samples import Wlcs, plan_of, run

from loadgen.engine.dtls import DtlsLink
from loadgen.engine.phase import Phase
from loadgen.scenario.plan import Use
from loadgen.transport.dtls import listen


def test_what_is_due_goes_on_when_an_mse_leaves_or_never_comes(tmp_path: Path) -> None:
    """Three should be at each of two WLCs; one comes to the first, and leaves."""
    plan = plan_of(tmp_path, use=Use.SERVE_WLC)

    async def body() -> None:
        driver = Wlcs(plan, [listen(("127.0.0.1", 0)) for _ in plan.wlcs]).driver
        owing = driver._owing
        owing.start(time.monotonic_ns(), plan.stages)
        link = DtlsLink(SimpleNamespace(peer_address=("127.0.0.1", 1)), 0, 0)  # type: ignore[arg-type]
        driver._begin_row(link, owing._start_ns)  # type: ignore[arg-type]
        assert owing.rows[0] == [0, 1, 2]
        owing.ledger.done[link.row] += 7
        driver.on_gone(link, Phase.ACTIVE, orderly=True)
        end_ns = owing._start_ns + plan.duration_ns  # type: ignore[operator]
        owing.give_up(end_ns)
        assert owing.totals(end_ns) == (3 * 600, 3 * 600 - 7, 0, 0)
        driver.shut()

    run(body)
