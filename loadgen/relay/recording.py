"""What goes through a relay, into files; and what whoever runs it is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from loadgen.capture.events import How
from loadgen.capture.writing import TunnelWriter
from loadgen.hosts import endpoint_shown
from loadgen.relay.files import CaptureFiles
from loadgen.relay.parties import Parties
from loadgen.relay.session import RelayedSession, RelayEnding, RelayPhase
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S, format_duration

# How much is written at once, or how old it is: what a kill costs. A write for each message would cost as much as
# passing it on.
_FLUSH_BYTES, _FLUSH_NS = 1 << 16, 25 * NS_PER_MS
# How often whoever looks on is told how far it is.
_PROGRESS_NS = NS_PER_S // 2
# Of lines that say the same: these many, and then the tenth, the hundredth, ...
_SAME_LINES = 3
# How an end ends that does not break off. Many peers answer a goodbye by a FIN alone: of the second it is not told.
_CLOSED = {"closed": "closed", "closed_without_notify": "FIN without goodbye"}


@dataclass(slots=True)
class RecordProgress:
    """How far a recording is.

    Attributes:
        open, came_up, failed: sessions that are up now, were ever, and never came up although an MSE tried.
        to_wlc_bytes, to_mse_bytes, to_wlc_records, to_mse_records: of plaintext that went through; records of TLS.
        written_bytes: of all files.
        trouble: why nothing is recorded any more; empty: it is.
    """

    open: int = 0
    came_up: int = 0
    failed: int = 0
    to_wlc_bytes: int = 0
    to_mse_bytes: int = 0
    to_wlc_records: int = 0
    to_mse_records: int = 0
    written_bytes: int = 0
    trouble: str = ""


@dataclass(slots=True)
class _Recorded:
    """A session that is up."""

    writer: TunnelWriter
    began_ns: int


@dataclass(slots=True)
class _Lines:
    """Lines for people, of which the same are not said again and again."""

    tell: Callable[[str], None]
    said: Counter[str] = field(default_factory=Counter)

    def say(self, line: str, same: str) -> None:
        self.said[same] += 1
        count = self.said[same]
        if count <= _SAME_LINES:
            self.tell(line)
        elif str(count).strip("0") == "1":
            self.tell(f"{line} (the {count:,}th of these)")


class Recording:
    """A relay's witness.

    Attributes:
        progress: kept up to date.
    """

    def __init__(
        self,
        files: CaptureFiles,
        parties: Parties,
        *,
        on_line: Callable[[str], None],
        on_warning: Callable[[str], None],
        on_progress: Callable[[RecordProgress], None],
        began_ns: int,
        ends_ns: int = NEVER_NS,
    ) -> None:
        """Args:
        on_warning: told what nobody should miss.
        began_ns: now; ends_ns: when it is enough. Both of the relay's clock.
        """
        self.progress = RecordProgress()
        self._files, self._parties = files, parties
        self._lines = _Lines(on_line)
        self._on_warning, self._on_progress = on_warning, on_progress
        self._ends_ns = ends_ns
        self._next_ns = self._flushed_ns = began_ns
        self._sessions: dict[int, _Recorded] = {}
        # A clock that is set while we record moves nothing.
        self._to_epoch_ns = time.time_ns() - time.monotonic_ns()

    # -- what a relay tells --------------------------------------------------------------------------------------

    def came_up(self, session: RelayedSession, now_ns: int) -> None:
        assert session.wlc is not None
        assert session.mse.tunnel is not None
        assert session.wlc.tunnel is not None
        mse, wlc = session.mse.address, session.wlc.address
        theirs = [self._parties.peer_named(end.tunnel) for end in session.ends() if end.tunnel is not None]
        recorded = _Recorded(TunnelWriter(mse, wlc), now_ns)
        self._sessions[session.number] = recorded
        self.progress.open += 1
        self.progress.came_up += 1
        comment = f"session {session.number}; MSE: {theirs[0]}; WLC: {theirs[1]}"
        self._files.put(recorded.writer.open(now_ns + self._to_epoch_ns, comment), now_ns)
        self._lines.say(
            f"session {session.number}: up, MSE {endpoint_shown(*mse)} ({theirs[0]}), "
            f"WLC {endpoint_shown(*wlc)} ({theirs[1]})",
            "up",
        )

    def heard(self, of_mse: bool, session: RelayedSession, now_ns: int, data: memoryview) -> None:
        progress = self.progress
        if of_mse:
            progress.to_wlc_bytes += len(data)
            progress.to_wlc_records += 1
        else:
            progress.to_mse_bytes += len(data)
            progress.to_mse_records += 1
        if not progress.trouble:
            writer = self._sessions[session.number].writer
            self._files.put(writer.data(of_mse, now_ns + self._to_epoch_ns, data), now_ns)

    def ended(self, of_mse: bool, session: RelayedSession, now_ns: int, *, broken: bool) -> None:
        writer = self._sessions[session.number].writer
        self._files.put(writer.close(of_mse, now_ns + self._to_epoch_ns, How.RESET if broken else How.FIN), now_ns)

    def over(self, session: RelayedSession, now_ns: int, ending: RelayEnding) -> None:
        recorded = self._sessions.pop(session.number)
        self.progress.open -= 1
        assert session.to_wlc is not None
        assert session.to_mse is not None
        how = _ended_how(ending)
        for other in session.endings[1:]:
            if other.kind not in _CLOSED:
                how += f", then by {_ended_how(other)}"
        self._lines.say(
            f"session {session.number}: ended by {how} after "
            f"{format_duration(now_ns - recorded.began_ns)}; {session.to_wlc.passed_bytes:,} bytes to the WLC, "
            f"{session.to_mse.passed_bytes:,} to the MSE",
            f"over {how}",
        )

    def failed(self, session: RelayedSession, ending: RelayEnding, phase: RelayPhase) -> None:
        if ending.by_mse is None:
            return
        if phase is not RelayPhase.HELLO:
            self.progress.failed += 1
        by = "the MSE" if ending.by_mse else "the WLC"
        what = _words(ending.kind)
        if ending.ours:
            what = f"we refused it: {what}"
        elif not ending.by_mse:
            what += "; the MSE's side was closed likewise"
        self._lines.say(
            f"session {session.number}: not up, from {endpoint_shown(*session.mse.address)}: {by}, in {phase.value}: "
            f"{what}",
            f"failed {by} {ending.kind} {phase}",
        )

    def turned(self, now_ns: int) -> bool:
        if now_ns - self._flushed_ns >= _FLUSH_NS or self._files.pending_bytes >= _FLUSH_BYTES:
            self.flush(now_ns)
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + _PROGRESS_NS
            self._on_progress(self.progress)
        return not (self._files.is_full or now_ns >= self._ends_ns)

    def flush(self, now_ns: int) -> None:
        """Have everything written that was heard."""
        self._flushed_ns = now_ns
        self._files.flush()
        self.progress.written_bytes = self._files.written_bytes
        self._note_trouble()

    # -- files ---------------------------------------------------------------------------------------------------

    def _note_trouble(self) -> None:
        if self._files.trouble and not self.progress.trouble:
            self.progress.trouble = self._files.trouble
            self._on_warning(
                f"NOTHING IS RECORDED ANY MORE: {self._files.trouble}; the {self._files.written_bytes:,} bytes that "
                "were written are whole, and sessions go on"
            )


def _ended_how(ending: RelayEnding) -> str:
    by = {True: "the MSE", False: "the WLC", None: "us"}[ending.by_mse]
    return f"{by} ({_CLOSED.get(ending.kind) or _words(ending.kind)})"


def _words(kind: str) -> str:
    return kind.replace("_", " ")
