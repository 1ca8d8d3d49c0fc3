"""Which address each session of a worker is dialed from."""

from __future__ import annotations

from loadgen.drive.equipment import Equipment
from loadgen.loads import LoadKind
from loadgen.scenario.sources import Sources, turns_of


class DialingFrom:
    """The worker's part of how `mse.bind` is dealt out, the same whoever else has the others."""

    def __init__(self, equipment: Equipment) -> None:
        plan, share = equipment.plan, equipment.share
        self._sources = Sources(plan.bind)
        # A session that is dialed again, where nobody was yet, has its address; a handshake comes from the next one.
        self._step = int(plan.load.kind is LoadKind.HANDSHAKE)
        self._turns: list[int] = []
        if self._sources.given:
            self._turns = turns_of(session.wlc for session in plan.sessions)[share.worker :: share.workers]

    def __call__(self, number: int, host: str) -> str | None:
        """The address for the session in this row to dial a host from; None: the kernel chooses."""
        if not self._turns:
            return None
        turn = self._turns[number]
        self._turns[number] += self._step
        return self._sources.of(host, turn)
