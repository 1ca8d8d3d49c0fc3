"""For how long a session is to stay: until the load is over, or the run is told to finish."""

from __future__ import annotations

import time
from collections.abc import Sequence

from loadgen.engine.presence import Presence
from loadgen.measure.asked import TOLERANCE
from loadgen.measure.recorder import Recorder
from loadgen.scenario.plan import Plan, Use, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.units import NEVER_NS


class Term:
    """Counts the peers that leave before it is over."""

    def __init__(self, plan: Plan, recorder: Recorder) -> None:
        self._recorder = recorder
        self._strangers = plan.use is not Use.BOTH  # ours leave when they are told to
        self._end_ns = NEVER_NS

    def begin(self, at_ns: int, stages: Sequence[RateStage], presence: Presence | None) -> None:
        """A load of these stages begins at `at_ns` (monotonic). Args: presence: of those who should be there in it.

        Who was up before keeps somebody else's schedule, which may have begun then.
        """
        length_ns = end_ns(stages)
        whole_ns = at_ns + length_ns if presence is None else presence.end_ns
        self._end_ns = whole_ns - int(length_ns * TOLERANCE)

    def end(self) -> None:
        """We end it; a second call changes nothing."""
        self._end_ns = min(self._end_ns, time.monotonic_ns())

    def left(self) -> None:
        """The peer of an established session has closed it in order."""
        if self._strangers and time.monotonic_ns() < self._end_ns:
            self._recorder.count("sessions.left_early")
