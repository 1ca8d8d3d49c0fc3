"""Where a run answers `loadgen status`: a socket of the supervisor's process, as long as the run goes on.

The client is on this machine and of this user, and is trusted with nothing: a question is short, comes at once or not
at all, and whatever goes wrong with it costs that connection only.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec
import trio

from loadgen.errors import InputError
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.run.channel import AskStatus, StatusPart
from loadgen.run.fleet import Fleet, WorkerProcess
from loadgen.scenario.plan import Plan
from loadgen.status.answer import (
    MAX_QUESTION_BYTES,
    Answer,
    PeerRow,
    Question,
    Refusal,
    RunInfo,
    Side,
    SideCounts,
    Subject,
    add_counts,
)
from loadgen.status.door import Door, directory

_QUESTION_S = 5.0
# A worker that prepares thousands of identities, or is stopped, does not keep the others' rows from the client.
_WORKERS_S = 5.0
_ANSWER_S = 30.0
_MOST_AT_ONCE = 8


class _Heard(NamedTuple):
    """What one worker has told so far; done once there are counts, or trouble."""

    rows: list[PeerRow]
    counts: list[SideCounts]
    trouble: list[str]


class StatusDesk:
    """Answers as long as `serve` runs. A run does without if it cannot have a socket."""

    def __init__(self, fleet: Fleet, plan: Plan, profile: ProfileDocument, describe: Callable[[], RunInfo]) -> None:
        self._fleet = fleet
        self._plan = plan
        self._messages = {message.id: name for name, message in profile.messages.items()}
        self._describe = describe
        self._serial = 0
        self._asking = trio.Lock()
        self._heard: dict[str, _Heard] = {}
        # A worker that owes an answer is asked nothing more: what one that is stopped does not read must not fill its
        # pipe, through which it will be told to finish.
        self._owing: dict[str, int] = {}
        self._here = 0
        fleet.hear_status = self._hear

    async def serve(self) -> None:
        """Answer until cancelled."""
        try:
            door = Door(directory())
        except (OSError, InputError):
            return  # `loadgen status` says what is wrong with the directory
        try:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(door.socket))
            await trio.serve_listeners(self._answer, [listener])
        finally:
            door.close()

    async def _answer(self, stream: trio.SocketStream) -> None:
        if self._here >= _MOST_AT_ONCE or not _is_ours(stream):
            await stream.aclose()
            return
        self._here += 1
        try:
            reply: Answer | Refusal
            try:
                reply = await self._reply(await _question_untrusted(stream))
            except msgspec.ValidationError as error:
                reply = Refusal(f"no question: {error}")
            except (msgspec.DecodeError, UnicodeDecodeError):
                reply = Refusal("no question: not JSON")
            except (trio.TooSlowError, ValueError) as error:
                reply = Refusal(f"no question: {error or 'nothing came in time'}")
            with trio.move_on_after(_ANSWER_S):
                await stream.send_all(msgspec.json.encode(reply))
        except trio.BrokenResourceError:
            pass  # the client has gone
        except Exception as error:
            # A run is worth more than an answer: whatever is wrong here must not end it.
            with suppress(trio.BrokenResourceError), trio.move_on_after(_ANSWER_S):
                await stream.send_all(msgspec.json.encode(Refusal(f"an error in the answer: {error!r}")))
        finally:
            self._here -= 1
            await trio.aclose_forcefully(stream)

    async def _reply(self, question: Question) -> Answer:
        if question.about is Subject.RUN:
            return Answer(self._describe())
        async with self._asking:
            self._serial += 1
            self._heard = {}
            # Before it is ready, a worker waits for nothing but its assignment.
            asked = [w for w in self._fleet.workers if w.ready and not w.ended and w.name not in self._owing]
            with trio.move_on_after(_WORKERS_S):
                for worker in asked:
                    self._owing[worker.name] = self._serial
                    await self._fleet.tell(worker, AskStatus(self._serial, question))
                while any(not worker.ended and self._owing.get(worker.name) == self._serial for worker in asked):
                    await self._fleet.change()
            roles = [role for role in Role if self._fleet.of(role)]
            return Answer(self._describe(), tuple(self._side(role, question.limit) for role in roles))

    def _hear(self, name: str, part: StatusPart) -> None:
        if (part.counts is not None or part.trouble) and self._owing.get(name) == part.serial:
            del self._owing[name]
        if part.serial != self._serial:
            return  # too late
        heard = self._heard.setdefault(name, _Heard([], [], []))
        heard.rows.extend(part.rows)
        if part.trouble:
            heard.trouble.append(part.trouble)
        if part.counts is not None:
            heard.counts.append(part.counts)

    def _has_told(self, worker: WorkerProcess) -> bool:
        return worker.name in self._heard and bool(self._heard[worker.name].counts)

    def _side(self, role: Role, limit: int) -> Side:
        workers = self._fleet.of(role)
        answered = [self._heard[worker.name] for worker in workers if self._has_told(worker)]
        rows = [row for of_worker in answered for row in of_worker.rows]
        rows.sort(key=lambda row: (row.active, row.owner, row.address, row.port))
        return Side(
            role=role.name.lower(),
            endpoints=len(self._plan.wlcs if role is Role.WLC else self._plan.mse_macs),
            capability=self._plan.wlc.capability if role is Role.WLC else 0,
            transport=self._plan.transport.upper(),
            counts=add_counts([of_worker.counts[0] for of_worker in answered]),
            rows=tuple(rows[:limit]),
            messages=self._messages,
            missing=tuple(self._why(worker) for worker in workers if not self._has_told(worker)),
        )

    def _why(self, worker: WorkerProcess) -> str:
        if worker.death is not None:
            return worker.death
        if worker.ended:
            return f"worker {worker.name} has ended its part"
        if worker.ready is None:
            return f"worker {worker.name} is being prepared"
        if worker.name in self._heard and self._heard[worker.name].trouble:
            return f"worker {worker.name}: {self._heard[worker.name].trouble[0]}"
        return f"worker {worker.name} (pid {worker.process.pid}) did not answer in time"


async def _question_untrusted(stream: trio.SocketStream) -> Question:
    """The question in the first line.

    Raises:
        ValueError, trio.TooSlowError, msgspec.DecodeError: there is none.
        trio.BrokenResourceError: the client has gone.
    """
    data = bytearray()
    with trio.fail_after(_QUESTION_S):
        while b"\n" not in data:
            if len(data) > MAX_QUESTION_BYTES:
                raise ValueError(f"more than {MAX_QUESTION_BYTES} bytes")
            chunk = await stream.receive_some(MAX_QUESTION_BYTES)
            if not chunk:
                raise ValueError("the connection was closed before the end of the line")
            data += chunk
    return msgspec.json.decode(data.partition(b"\n")[0], type=Question)


def _is_ours(stream: trio.SocketStream) -> bool:
    """The directory keeps others out; this holds, too, where that was opened to them."""
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    return int.from_bytes(credentials[4:8], sys.byteorder) in (0, os.geteuid())
