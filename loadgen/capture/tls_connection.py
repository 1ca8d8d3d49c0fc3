"""One TLS connection of a capture: its handshake read along, its records opened with the secrets of a key log."""

from __future__ import annotations

from typing import Final

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How
from loadgen.capture.keylog import APPLICATION, EARLY, MASTER
from loadgen.capture.keylog import HANDSHAKE as HANDSHAKE_SECRETS
from loadgen.capture.tls_direction import Epoch, RecordStream
from loadgen.capture.tls_hello import (
    CLIENT_HELLO,
    END_OF_EARLY_DATA,
    NEW_SESSION_TICKET,
    SERVER_HELLO,
    HelloOfClient,
    HelloOfServer,
    alert_name,
    ticket_in,
)
from loadgen.capture.tls_records import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DATA,
    HANDSHAKE,
    HEADER_SIZE,
    BadRecord,
    is_header,
    opener_13,
    openers_12,
)
from loadgen.capture.tls_resumed import Masters
from loadgen.capture.tls_suites import TLS13, Suite, suite_of
from loadgen.capture.tls_undecrypted import Alerted, Broken, Undecrypted, Unkeyed, Unreadable, WrongKey

__all__ = ["Connection"]

_CLOSE_NOTIFY, _USER_CANCELED, _FATAL = 0, 90, 2
# What waits for a hello of the other direction, early data that waits for its end: bytes.
_LONGEST_WAIT: Final = 1 << 20
# Records that no key opens before the first that one does: a flight of certificates, early data.
_MOST_SKIPPED: Final = 1 << 10


class Connection:
    """Takes the events of the ciphertext, gives those of the plaintext."""

    def __init__(self, conversation: Conversation, masters: Masters, undecrypted: list[Undecrypted]) -> None:
        """Args:
        masters: of all connections, and with it their keys.
        undecrypted: to which it appends.
        """
        self._conversation = conversation
        self._masters, self._keys = masters, masters.keys
        self._undecrypted = undecrypted
        self._directions = (RecordStream(of_client=True), RecordStream(of_client=False))
        self._client_hello: HelloOfClient | None = None
        self._server_hello: HelloOfServer | None = None
        self._retried = False
        # TLS 1.2 and before: what the next ChangeCipherSpec of each direction begins; of the hellos beside it.
        self._agreed: tuple[Epoch, Epoch] | None = None
        self._master: bytes | None = None
        self._ticket = b""
        self._out: list[Event] = []

    def take(self, event: Data | Hole | Closed) -> list[Event]:
        """What an event of the ciphertext gives; often nothing."""
        direction = self._directions[0 if event.of_client else 1]
        if direction.waits_with is not None:
            self._put_off(direction, event)
        else:
            self._event(direction, event)
        # What one says may be what the other waits for.
        while any(self._resume(direction) for direction in self._directions):
            pass
        return self._taken()

    def finish(self) -> list[Event]:
        """No more events come."""
        if any(direction.waits_with is not None for direction in self._directions):
            self._give_up(self._unkeyed("its handshake is not whole in the capture"))
        return self._taken()

    def _taken(self) -> list[Event]:
        taken, self._out = self._out, []
        return taken

    # -- one direction, and what it waits for --------------------------------------------------------------------------

    def _event(self, direction: RecordStream, event: Event) -> None:
        if isinstance(event, Data) and not direction.silent:
            direction.ns = event.ns
            direction.buffer += event.data
            self._read(direction)
        elif isinstance(event, Hole) and not direction.silent:
            direction.ns = event.ns
            self._hole(direction, event)
        elif isinstance(event, Closed) and not direction.ended:
            self._closed(direction, event)

    def _waits(self, direction: RecordStream, kind: int) -> bool:
        """Whether a record of a type (0: a hole) cannot be read before the other direction's hello is: a server says
        nothing before the client's, a client nothing that is protected before the server's.
        """
        if not direction.of_client:
            return self._client_hello is None
        return self._server_hello is None and self._client_hello is not None and kind not in (HANDSHAKE, ALERT)

    def _put_off(self, direction: RecordStream, event: Event) -> None:
        direction.backlog.append(event)
        if isinstance(event, Data):
            direction.backlog_size += len(event.data)
            if direction.backlog_size > _LONGEST_WAIT:
                self._give_up(self._unkeyed("its handshake is not whole in the capture"))

    def _resume(self, direction: RecordStream) -> bool:
        if direction.waits_with is None or self._waits(direction, direction.waits_with):
            return False
        direction.waits_with = None
        self._read(direction)
        self._catch_up(direction)
        return True

    def _catch_up(self, direction: RecordStream) -> None:
        while direction.backlog and direction.waits_with is None:
            event = direction.backlog.popleft()
            if isinstance(event, Data):
                direction.backlog_size -= len(event.data)
            self._event(direction, event)

    def _closed(self, direction: RecordStream, event: Closed) -> None:
        if direction.resync is not None and self._resync(direction, final=True):
            self._read(direction)
        if direction.skipped and direction.epoch is None and not direction.silent:
            self._unopened(direction)
        if not direction.ended:
            self._end(direction, event.ns, event.how)

    # -- records -------------------------------------------------------------------------------------------------------

    def _read(self, direction: RecordStream) -> None:
        buffer = direction.buffer
        while not direction.silent:
            if direction.resync is not None:
                if not self._resync(direction, final=False):
                    return
                continue
            if len(buffer) < HEADER_SIZE:
                return
            kind, version, end = buffer[0], buffer[1] << 8 | buffer[2], HEADER_SIZE + (buffer[3] << 8 | buffer[4])
            if self._waits(direction, kind):
                direction.waits_with = kind
                return
            if not is_header(buffer):
                self._without_record(direction)
                return
            if len(buffer) < end:
                return
            fragment = bytes(buffer[HEADER_SIZE:end])
            direction.cut(end)
            if self._server_hello is None:
                self._before_hello(direction, kind, fragment)
            elif self._server_hello.version == TLS13:
                self._record_13(direction, kind, version, fragment)
            else:
                self._record_12(direction, kind, version, fragment)

    def _without_record(self, direction: RecordStream) -> None:
        if self._client_hello is None:
            self._give_up(self._unkeyed("its handshake is not in the capture"))
        else:
            self._broken(direction, "no TLS record begins where one should")

    def _before_hello(self, direction: RecordStream, kind: int, fragment: bytes) -> None:
        """A record before the ServerHello is known."""
        if kind not in (HANDSHAKE, ALERT) and not self._retried:
            self._give_up(self._unkeyed("its handshake is not in the capture"))
        else:
            self._content(direction, kind, fragment)

    def _record_12(self, direction: RecordStream, kind: int, version: int, fragment: bytes) -> None:
        if direction.epoch is None:
            if kind == DATA:
                self._broken(direction, "application data that is not encrypted")
            else:
                self._content(direction, kind, fragment)
            return
        try:
            kind, content = direction.epoch.opener.open(direction.sequence, kind, version, fragment)
        except BadRecord:
            self._unopened(direction)
            return
        direction.sequence += 1
        self._content(direction, kind, content)

    def _record_13(self, direction: RecordStream, kind: int, version: int, fragment: bytes) -> None:
        if kind == DATA:
            if self._has_keys(direction) and not self._open_13(direction, kind, version, fragment):
                self._skip(direction, version, fragment)
        elif kind != CHANGE_CIPHER_SPEC:
            if direction.epoch is None:
                # A second ClientHello, an alert of an end that has no keys.
                self._content(direction, kind, fragment)
            else:
                self._broken(direction, "a record that is not encrypted among those that are")

    def _open_13(self, direction: RecordStream, kind: int, version: int, fragment: bytes) -> bool:
        """By the key that is on or the next one: what changes them need not be read for that, as the tag says it."""
        for epoch in (direction.epoch, self._next_13(direction)):
            if epoch is not None:
                sequence = direction.sequence if epoch is direction.epoch else 0
                try:
                    kind, content = epoch.opener.open(sequence, kind, version, fragment)
                except BadRecord:
                    continue
                self._enter(direction, epoch, sequence + 1)
                if kind != HANDSHAKE:
                    self._content(direction, kind, content)
                return True
        return False

    def _enter(self, direction: RecordStream, epoch: Epoch, sequence: int) -> None:
        if direction.epoch is None and direction.skipped:
            self._miss_early_data(direction)
        if epoch in direction.later:
            del direction.later[: direction.later.index(epoch) + 1]
        direction.epoch, direction.sequence = epoch, sequence

    def _next_13(self, direction: RecordStream) -> Epoch | None:
        last = direction.epoch
        if not direction.later and last is not None and last.has_data:
            direction.later.append(last.next(self._suite()))
        return direction.later[0] if direction.later else None

    def _content(self, direction: RecordStream, kind: int, content: bytes) -> None:
        """What a record has, in the clear."""
        if kind == DATA:
            self._give(direction, direction.ns, content)
        elif kind == ALERT:
            self._alerts(direction, content)
        elif kind == CHANGE_CIPHER_SPEC:
            self._change(direction)
        elif kind == HANDSHAKE:
            for message, body in direction.messages.add(content):
                self._message(direction, message, body)
                if direction.silent:
                    break

    def _alerts(self, direction: RecordStream, content: bytes) -> None:
        for level, description in zip(content[::2], content[1::2], strict=False):
            is_fatal = level == _FATAL
            if self._server_hello is not None and self._server_hello.version == TLS13:
                is_fatal = description != _USER_CANCELED
            if description == _CLOSE_NOTIFY:
                self._end(direction, direction.ns, How.FIN)
            elif is_fatal:
                self._undecrypted.append(Alerted(self._conversation, direction.of_client, alert_name(description)))
                self._end(direction, direction.ns, How.RESET)
            if direction.ended:
                return

    # -- the handshake -------------------------------------------------------------------------------------------------

    def _message(self, direction: RecordStream, message: int, body: bytes) -> None:
        if direction.of_client:
            if message == CLIENT_HELLO:
                self._client_hello = HelloOfClient.read(body)
            if self._client_hello is None:
                self._give_up(self._unkeyed("its ClientHello is not in the capture"))
        elif message == NEW_SESSION_TICKET:
            self._ticket = ticket_in(body)
        elif message == SERVER_HELLO:
            hello = HelloOfServer.read(body)
            if hello is not None and hello.retry:
                self._retried = True
                return
            self._server_hello, self._agreed, self._ticket = hello, None, b""
            if hello is None:
                self._give_up(self._unkeyed("its ServerHello is not in the capture"))
            elif what := hello.unreadable():
                self._give_up(Unreadable(self._conversation, what))

    def _change(self, direction: RecordStream) -> None:
        """ChangeCipherSpec; of TLS 1.3 it says nothing."""
        if self._server_hello is None or self._server_hello.version == TLS13:
            return
        epochs = self._agreed_12()
        if epochs is not None:
            if self._master is not None:
                self._masters.remember(self._ticket, self._master)
            direction.epoch, direction.sequence = epochs[0 if direction.of_client else 1], 0
            direction.messages.clear()

    def _agreed_12(self) -> tuple[Epoch, Epoch] | None:
        """None: the key log does not have it; then nothing more is read."""
        client, server = self._client_hello, self._server_hello
        assert client is not None
        assert server is not None
        if self._agreed is None:
            self._master = self._masters.of(client, server)
            if self._master is None:
                self._give_up(self._unkeyed("the key log lacks a line", MASTER))
                return None
            mac_after = server.mac_after
            openers = openers_12(
                self._suite(), server.version, self._master, client.random, server.random, mac_after=mac_after
            )
            self._agreed = Epoch(MASTER, openers[0], True), Epoch(MASTER, openers[1], True)
        return self._agreed

    def _suite(self) -> Suite:
        assert self._server_hello is not None
        suite = suite_of(self._server_hello.suite)
        assert suite is not None
        return suite

    def _has_keys(self, direction: RecordStream) -> bool:
        """TLS 1.3. Looks up what a direction goes through; False: nothing of it can be read."""
        if not direction.has_keys:
            self._look_up()
        return not direction.silent

    def _look_up(self) -> None:
        client = self._client_hello
        assert client is not None
        missing: list[str] = []
        for direction, labels in zip(self._directions, zip(HANDSHAKE_SECRETS, APPLICATION, strict=True), strict=True):
            direction.has_keys = True
            direction.later = [epoch for label in labels if (epoch := self._epoch_13(label))]
            if direction.of_client and client.early_data:
                direction.early, direction.may_skip = self._epoch_13(EARLY), _MOST_SKIPPED
            known = [epoch.label for epoch in direction.later]
            if labels[0] not in known:
                direction.may_skip = _MOST_SKIPPED
            if labels[1] not in known:
                missing += [label for label in labels if label not in known]
        if missing:
            self._undecrypted.append(self._unkeyed("the key log lacks lines", *missing))
            for direction, label in zip(self._directions, APPLICATION, strict=True):
                if label in missing:
                    self._lose(direction)

    def _epoch_13(self, label: str) -> Epoch | None:
        assert self._client_hello is not None
        secret = self._keys.secret(label, self._client_hello.random)
        if secret is None:
            return None
        return Epoch(label, opener_13(self._suite(), secret), label not in HANDSHAKE_SECRETS, secret)

    # -- early data ----------------------------------------------------------------------------------------------------

    def _skip(self, direction: RecordStream, version: int, fragment: bytes) -> None:
        """A record that no key opens: early data, or a handshake that the key log has no secret of."""
        if direction.epoch is not None or not direction.may_skip:
            self._unopened(direction)
        elif not self._open_early(direction, version, fragment):
            direction.may_skip -= 1
            direction.skipped += len(fragment)

    def _open_early(self, direction: RecordStream, version: int, fragment: bytes) -> bool:
        if direction.early is None:
            return False
        try:
            kind, content = direction.early.opener.open(direction.early_sequence, DATA, version, fragment)
        except BadRecord:
            return False
        direction.early_sequence += 1
        if kind == DATA:
            # Only its end says that the server took it.
            direction.held.append((direction.ns, content))
            direction.held_size += len(content)
            if direction.held_size > _LONGEST_WAIT:
                self._broken(direction, "early data that does not end")
        elif kind == HANDSHAKE and content[:1] == bytes([END_OF_EARLY_DATA]):
            for ns, data in direction.held:
                self._give(direction, ns, data)
            direction.early, direction.held, direction.may_skip = None, [], 0
        return True

    def _miss_early_data(self, direction: RecordStream) -> None:
        """The first record that opens comes after some that did not."""
        client = self._client_hello
        assert client is not None
        if direction.of_client and client.early_data and not self._retried and direction.early is None:
            self._undecrypted.append(self._unkeyed("of its early data alone: the key log lacks a line", EARLY))
            self._miss(direction, direction.ns, direction.skipped)

    # -- holes ---------------------------------------------------------------------------------------------------------

    def _hole(self, direction: RecordStream, hole: Hole) -> None:
        if self._waits(direction, 0):
            direction.waits_with = 0
            self._put_off(direction, hole)
            return
        if hole.length is None:
            self._lose(direction)
        elif self._client_hello is None or self._server_hello is None:
            self._give_up(self._unkeyed("its handshake is not whole in the capture"))
        else:
            if direction.resync is not None and self._resync(direction, final=True):
                self._read(direction)
            if direction.epoch is not None and direction.epoch.opener.in_order:
                self._broken(direction, "a hole, and what TLS 1.0 encrypts cannot be read without what came before")
            if not direction.silent:
                direction.begin_resync(hole.offset + hole.length, hole.ns)

    def _resync(self, direction: RecordStream, *, final: bool) -> bool:
        """Whether the records are found again."""
        resync, hello = direction.resync, self._server_hello
        assert resync is not None
        assert hello is not None
        epochs = self._reachable(direction)
        if direction.silent:
            return False
        found = direction.find(resync, epochs, is_13=hello.version == TLS13, final=final)
        if found is None:
            if direction.is_hopeless(resync):
                self._broken(direction, "its records are not found again behind a hole")
            return False
        if missed := direction.missed(found, is_13=hello.version == TLS13):
            self._miss(direction, resync.ns, missed)
        direction.resync, direction.skipped = None, 0
        direction.messages.clear()
        self._enter(direction, found.epoch, found.sequence + 1)
        if hello.version != TLS13 or found.kind != HANDSHAKE:
            self._content(direction, found.kind, found.content)
        return True

    def _reachable(self, direction: RecordStream) -> list[Epoch]:
        """Whose records may come behind a hole."""
        assert self._server_hello is not None
        epochs = [] if direction.epoch is None else [direction.epoch]
        if self._server_hello.version == TLS13:
            if self._has_keys(direction):
                self._next_13(direction)
            return epochs + direction.later
        agreed = self._agreed_12()
        if agreed is not None and (new := agreed[0 if direction.of_client else 1]) not in epochs:
            epochs.append(new)
        return epochs

    # -- what is given out ---------------------------------------------------------------------------------------------

    def _give(self, direction: RecordStream, ns: int, data: bytes) -> None:
        if data:
            self._out.append(Data(self._conversation, direction.of_client, direction.offset, ns, data))
            direction.offset += len(data)

    def _miss(self, direction: RecordStream, ns: int, length: int) -> None:
        self._out.append(Hole(self._conversation, direction.of_client, direction.offset, length, ns))
        direction.offset += length

    def _end(self, direction: RecordStream, ns: int, how: How) -> None:
        self._out.append(Closed(self._conversation, direction.of_client, ns, how))
        direction.silent = direction.ended = True
        direction.buffer.clear()

    def _lose(self, direction: RecordStream) -> None:
        """Nothing more of a direction can be read."""
        if not direction.silent:
            self._out.append(Hole(self._conversation, direction.of_client, direction.offset, None, direction.ns))
            direction.silent = True
            direction.buffer.clear()

    def _broken(self, direction: RecordStream, why: str) -> None:
        if not direction.silent:
            self._undecrypted.append(Broken(self._conversation, direction.of_client, direction.offset, why))
            self._lose(direction)

    def _unopened(self, direction: RecordStream) -> None:
        """A record does not open: the first of a key by the key's fault, any other by its own."""
        epoch, assumed = direction.epoch, direction.later[0] if direction.later else None
        if epoch is not None and epoch.label == MASTER and direction.sequence == 0:
            assumed = epoch
        elif epoch is not None and epoch.has_data:
            assumed = None
        if assumed is None:
            self._broken(direction, "a record is not what was sent")
            return
        client = self._client_hello
        assert client is not None
        notice = WrongKey(self._conversation, direction.of_client, client.random, assumed.label)
        if assumed.label == MASTER:
            self._give_up(notice)
        else:
            self._undecrypted.append(notice)
            self._lose(direction)

    def _unkeyed(self, why: str, *labels: str) -> Unkeyed:
        random = self._client_hello.random if self._client_hello else None
        return Unkeyed(self._conversation, random, labels, why)

    def _give_up(self, notice: Undecrypted) -> None:
        """Nothing more of either direction can be read."""
        self._undecrypted.append(notice)
        for direction in self._directions:
            self._lose(direction)
            direction.waits_with = None
            self._catch_up(direction)
