"""A worker of a Locust master, under trio: it obeys the master, and leads a swarm of users.

    announced ──ack──> ready ──spawn──> spawning ──everybody is there──> running ──stop──> ready
        ^                                                                           quit: the end
        └──── the master is silent: the load ends, and we announce ourselves again

The load runs in processes of its own, so that the master hears of us in time however busy they are.
"""

from __future__ import annotations

import sys

if "gevent" in sys.modules:
    raise ImportError(
        "loadgen.distributed.node.node needs select.epoll, which gevent has removed from this process: import it in "
        "one that has not imported gevent or locust (`loadgen locust-worker` is one)"
    )

import logging
import math
import os
import resource
import socket
import uuid
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import trio

from loadgen.distributed.messages import FINISH, INTERVAL_NS, KEY, LOCUST_VERSION, Orders, nothing_of
from loadgen.distributed.node.connection import Garbled, MasterConnection, MasterLost, Message
from loadgen.distributed.node.swarm import Swarm
from loadgen.distributed.rows import Batch
from loadgen.distributed.users import UserClass
from loadgen.errors import ExitCode, InputError
from loadgen.foreign import visible
from loadgen.run.signals import ending
from loadgen.units import NS_PER_S

HEARTBEAT_S = 1.0  # Locust's; three that do not come make a worker "missing"
_LOGS_S = 10.0
_MOST_LOG_LINES = 200
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 8.0
# How long the processes of a load may take to end when nobody waits for their figures any more.
_END_S = 30.0

log = logging.getLogger("loadgen.worker")


class NodeState(StrEnum):
    """A worker's states, in the words of Locust's protocol."""

    READY = "ready"
    SPAWNING = "spawning"
    RUNNING = "running"


class Farewell(StrEnum):
    """Why a worker and its master go separate ways."""

    QUIT = "quit"
    SILENT = "silent"
    RECONNECT = "reconnect"
    INTERRUPTED = "interrupted"
    DIED = "died"
    REFUSED = "refused"


class NodeOptions(NamedTuple):
    """How a worker behaves towards its master.

    Attributes:
        patience_s: for how long to look for a master.
        silence_s: after which a master that does not answer heartbeats is taken for gone.
        directory: where files are that a scenario names.
        listen: where its first WLC listens for somebody else's MSEs, if not where the scenario says.
        ends_with_stdin: when stdin is closed, the process that started us is gone, and we end.
    """

    host: str
    port: int
    patience_s: float
    silence_s: float
    directory: Path
    listen: str | None
    ends_with_stdin: bool


class _Spawn(msgspec.Struct):
    """What matters of a spawn message."""

    timestamp: float
    user_classes_count: dict[str, Annotated[int, msgspec.Meta(ge=0)]]
    parsed_options: dict[str, Any]


class Node:
    """One worker, from its first word to its last."""

    def __init__(self, options: NodeOptions) -> None:
        self._options = options
        self._id = f"{socket.gethostname()}_{uuid.uuid4().hex}"
        self._connection: MasterConnection | None = None
        self._index = 0
        self._state = NodeState.READY
        self._swarm: Swarm | None = None
        self._commands: deque[Message] = deque()
        self._changed = trio.Event()
        self._last_spawn = 0.0
        self._finished = ""  # the run that the master ended last
        self._hold_wanted = False
        self._heard_at = 0.0
        self._parting: Farewell | None = None
        self._over: Farewell | None = None  # a signal, or a closed stdin, wants us to end
        self._logs = _Logs()

    async def run(self) -> ExitCode:
        """Work for the master until it says quit; returns the exit code."""
        log.addHandler(self._logs)
        # The load's processes come first, on every core: we only watch. Theirs is reset when they are started.
        os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_signals)
            if self._options.ends_with_stdin:
                nursery.start_soon(self._watch_stdin)
            code = None
            while code is None:
                code = await self._work()
            nursery.cancel_scope.cancel()
        return code

    async def _work(self) -> ExitCode | None:
        """One spell with a master; None: look for it again."""
        self._connect()
        self._parting, self._state = self._over, NodeState.READY
        self._last_spawn = 0.0
        self._commands.clear()
        assert self._connection is not None
        try:
            if not await self._announce():
                return self._nobody_there()
            async with trio.open_nursery() as nursery:
                for task in (self._receive, self._beat, self._report, self._tell_logs):
                    nursery.start_soon(task)
                await self._follow(nursery)
                await self._end_swarm()
                nursery.cancel_scope.cancel()
            return self._farewell()
        finally:
            self._connection.close(linger=True)
            self._connection = None

    def _nobody_there(self) -> ExitCode:
        if self._parting is not None:
            return ExitCode.INTERRUPTED if self._parting is Farewell.INTERRUPTED else ExitCode.PASSED
        options = self._options
        log.error("no Locust master answered at %s:%d for %g s", options.host, options.port, options.patience_s)
        return ExitCode.UNREACHABLE

    def _farewell(self) -> ExitCode | None:
        match self._parting:
            case Farewell.SILENT:
                log.warning("the master has been silent for %g s: looking for it again", self._options.silence_s)
                return None
            case Farewell.RECONNECT:
                return None
            case Farewell.DIED:
                code = ExitCode.WORKER_DIED
            case Farewell.REFUSED:
                code = ExitCode.BAD_INPUT
            case Farewell.INTERRUPTED:
                code = ExitCode.INTERRUPTED
            case _:
                code = ExitCode.PASSED
        self._send_report()
        self._say("quit", None)
        return code

    # -- the master ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._connection is not None:
            self._connection.close(linger=False)
        self._connection = MasterConnection(self._options.host, self._options.port, self._id)

    async def _announce(self) -> bool:
        """Say that we are there until the master answers; False if it does not for too long, or we are to end."""
        assert self._connection is not None
        pause = _FIRST_RETRY_S
        with trio.move_on_after(self._options.patience_s):
            while self._parting is None:
                self._say("client_ready", LOCUST_VERSION)
                with trio.move_on_after(pause):
                    while self._parting is None:
                        with suppress(Garbled):
                            message = await self._or_change(self._connection.receive)
                            if message is not None and message.type == "ack":
                                self._acknowledged(message.data)
                                return True
                pause = min(2 * pause, _LONGEST_RETRY_S)
                # A master that has not noticed yet that our last connection is gone takes no other by our name, and
                # leaves this one unheard for good.
                self._connect()
        return False

    async def _or_change(self, wait: Any) -> Any:
        """What it waits for, or None when something changes before."""
        found = None
        async with trio.open_nursery() as nursery:

            async def changed(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(changed, self._changed)
            found = await wait()
            nursery.cancel_scope.cancel()
        return found

    def _acknowledged(self, data: object) -> None:
        self._heard_at = trio.current_time()
        if isinstance(data, dict) and isinstance(data.get("index"), int):
            self._index = data["index"]
        log.info("connected to the master at %s:%d, as number %d", self._options.host, self._options.port, self._index)

    async def _receive(self) -> None:
        """Take what the master says; what takes time is put by for `_follow`."""
        assert self._connection is not None
        while True:
            try:
                message = await self._connection.receive()
            except Garbled as error:
                log.warning("something that is no message came from the master: %s", error)
                continue
            self._heard_at = trio.current_time()
            if message.type == "ack":
                continue
            if message.type != "heartbeat":
                self._commands.append(message)
                self._look_again()

    async def _beat(self) -> None:
        """Tell the master that we are alive, and notice when it is not."""
        silence_s = self._options.silence_s
        while True:
            cores = 0.0 if self._swarm is None else self._swarm.cores()
            pids = [] if self._swarm is None else self._swarm.pids()
            beat = {
                "state": self._state,
                "current_cpu_usage": round(100.0 * cores, 1),
                "current_memory_usage": sum(map(_rss_bytes, [os.getpid(), *pids])),
            }
            self._say("heartbeat", beat)
            await trio.sleep(HEARTBEAT_S)
            if trio.current_time() - self._heard_at > silence_s:
                self._part(Farewell.SILENT)

    async def _report(self) -> None:
        while True:
            await trio.sleep((INTERVAL_NS if self._swarm is None else self._swarm.orders.interval_ns) / NS_PER_S)
            self._send_report()

    def _send_report(self) -> None:
        """Everything since the last report, in one message."""
        if self._swarm is None:
            self._say("stats", self._idle_report())
            return
        data = {**self._swarm.take_rows(), **self._user_counts()}
        data[KEY] = msgspec.msgpack.encode(self._swarm.take_report())
        self._say("stats", data)

    def _idle_report(self) -> dict[str, object]:
        return {**Batch(receiving=True).take(math.inf), **self._user_counts()}

    def _user_counts(self) -> dict[str, object]:
        here = {} if self._swarm is None or self._state is NodeState.READY else self._swarm.here()
        return {
            "user_classes_count": {user.value: here.get(user, 0) for user in UserClass},
            "user_count": sum(here.values()),
        }

    async def _tell_logs(self) -> None:
        while True:
            if (lines := self._logs.news()) is not None:
                self._say("logs", {"worker_id": self._id, "logs": lines})
            await trio.sleep(_LOGS_S)

    def _say(self, kind: str, data: object) -> None:
        assert self._connection is not None
        try:
            self._connection.send(kind, data)
        except MasterLost:
            self._part(Farewell.SILENT)

    # -- what it wants -------------------------------------------------------------------------------------------

    async def _follow(self, nursery: trio.Nursery) -> None:
        """Do what the master says, in its order, and tell it when it is done; until the two part."""
        while self._parting is None:
            if self._commands:
                await self._obey(self._commands.popleft(), nursery)
            elif self._swarm is not None and (trouble := self._swarm.trouble()) is not None:
                await self._give_up(trouble)
            elif self._swarm is not None and self._state is NodeState.SPAWNING and self._swarm.complete():
                self._state = NodeState.RUNNING
                self._say("spawning_complete", self._user_counts())
            elif self._swarm is not None and self._state is NodeState.RUNNING and self._hold_wanted:
                self._hold_wanted = False
                self._swarm.hold()
            else:
                await self._changed.wait()

    async def _obey(self, message: Message, nursery: trio.Nursery) -> None:
        match message.type:
            case "spawn":
                await self._spawn(message.data, nursery)
            case "spawning_complete":
                self._hold_wanted = True
            case "stop":
                await self._end_swarm()
                self._swarm, self._state = None, NodeState.READY
                self._say("client_stopped", None)
                self._say("client_ready", LOCUST_VERSION)
            case "quit":
                self._part(Farewell.QUIT)
            case "reconnect":
                self._part(Farewell.RECONNECT)
            case kind if kind == FINISH:
                await self._finish(message.data)
            case "update_user_class":
                pass  # our users have no attributes
            case kind:
                log.warning("a message from the master that nobody here knows: %s", kind)

    async def _finish(self, data: object) -> None:
        """End our part of a run; also of one that we were never told to begin, which the master cannot know."""
        run = data.get("run") if isinstance(data, dict) else None
        if self._swarm is not None and run in (None, self._swarm.orders.run):
            await self._end_swarm()
        elif isinstance(run, str):
            self._finished = run
            self._say("stats", self._idle_report() | {KEY: msgspec.msgpack.encode(nothing_of(run))})

    async def _spawn(self, data: object, nursery: trio.Nursery) -> None:
        self._say("spawning", None)
        try:
            spawn = msgspec.convert(data, _Spawn)
            if spawn.timestamp <= self._last_spawn:
                return
            self._last_spawn = spawn.timestamp
            if KEY not in spawn.parsed_options:
                raise ValueError(f"expected `{KEY}` in parsed_options, as scenarios/locustfile.py puts it there")
            orders = msgspec.convert(spawn.parsed_options[KEY], Orders)
            wanted = {UserClass(name): count for name, count in spawn.user_classes_count.items()}
        except (msgspec.ValidationError, ValueError) as error:
            self._complain(f"a spawn message that this worker cannot follow: {error}")
            return
        if orders.run == self._finished:
            return  # sent before the master told us to finish
        if self._swarm is not None:
            if self._swarm.orders.run == orders.run and self._swarm.ended:
                return  # the same
            if self._swarm.orders.run != orders.run:
                await self._end_swarm()
                self._swarm = None
        try:
            if self._swarm is None:
                self._hold_wanted = False
                self._swarm = Swarm(
                    orders, self._index, self._options.directory, self._options.listen, self._look_again
                )
            self._swarm.orders = orders  # of the same run; there may be more users now
            self._state = NodeState.SPAWNING
            self._swarm.muster(nursery, wanted, datetime.now(UTC))
        except InputError as error:
            await self._give_up(error)

    async def _give_up(self, trouble: InputError | str) -> None:
        """This worker's part of the run cannot be; the master gives its users to others."""
        self._complain(f"this worker gives up: {trouble}")
        await self._end_swarm()
        self._part(Farewell.REFUSED if isinstance(trouble, InputError) else Farewell.DIED)

    async def _end_swarm(self) -> None:
        """End the load if there is one, and hand in what is left."""
        if self._swarm is None:
            return
        with trio.move_on_after(_END_S, shield=True):
            await self._swarm.end()
        self._state = NodeState.READY
        self._send_report()

    def _complain(self, what: str) -> None:
        what = "\n".join(map(visible, what.split("\n")))  # a master chose some of it
        log.error("%s", what)
        self._say("exception", {"msg": what, "traceback": ""})

    def _part(self, why: Farewell) -> None:
        if self._parting is None:
            self._parting = why
            self._look_again()

    def _look_again(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -- the process that started us -----------------------------------------------------------------------------

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(*ending()) as signals:
            async for _ in signals:
                self._end(Farewell.INTERRUPTED)

    async def _watch_stdin(self) -> None:
        stdin = trio.lowlevel.FdStream(os.dup(0))
        with suppress(trio.BrokenResourceError):
            while await stdin.receive_some():
                pass
        self._end(Farewell.QUIT)

    def _end(self, why: Farewell) -> None:
        """Whatever the master says: this worker ends, also if it is just parting from it for another reason."""
        self._over = self._over or why
        self._part(why)


class _Logs(logging.Handler):
    """The last lines of this worker's log, for the master."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s/%(name)s: %(message)s"))
        self._lines: deque[str] = deque(maxlen=_MOST_LOG_LINES)
        self._new = False

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))
        self._new = True

    def news(self) -> list[str] | None:
        """All lines if there are new ones."""
        new, self._new = self._new, False
        return list(self._lines) if new else None


def _rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    except OSError:  # it has just ended
        return 0
