"""MSEs that break the rules, met by our WLCs while a good one is served beside them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import e2e_wire as wire
import pytest
from e2e_loadgen import SMALL, Ended, Identities, Running, Start, eventually, new_identities
from e2e_peers import PATIENCE_S, FakeMse, reset, until_closed
from ports import free_port

Address = tuple[str, int]
_ALERT = 21  # TLS's content type, which TLS 1.2 shows


class Visit(NamedTuple):
    """What one visitor of `loadgen run --serve wlc` needs."""

    address: Address
    identity: Path
    stranger: Path


def _connect(visit: Visit) -> socket.socket:
    return socket.create_connection(visit.address, PATIENCE_S)


def _garbage_below_tls(visit: Visit) -> None:
    with _connect(visit) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until_closed(sock.recv)


def _noise_below_tls(visit: Visit) -> None:
    with _connect(visit) as sock:
        sock.sendall(bytes(range(200, 256)) * 10)
        until_closed(sock.recv)


def _silent(visit: Visit) -> None:
    with _connect(visit) as sock:
        assert until_closed(sock.recv) == b""


def _connects_and_resets(visit: Visit) -> None:
    reset(_connect(visit))


def _connects_and_closes(visit: Visit) -> None:
    _connect(visit).close()


def _inside_tls(data: bytes) -> Callable[[Visit], None]:
    def act(visit: Visit) -> None:
        with FakeMse(visit.address, visit.identity) as mse:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                mse.tls.sendall(data)
            until_closed(mse.tls.recv)

    return act


def _half_a_header(visit: Visit) -> None:
    with FakeMse(visit.address, visit.identity) as mse:
        mse.tls.sendall(wire.version_request()[:5])
        with contextlib.suppress(OSError):
            mse.tls.unwrap().close()


def _silent_inside_tls(visit: Visit) -> None:
    with FakeMse(visit.address, visit.identity) as mse:
        until_closed(mse.tls.recv)


def _after_set_up(data: bytes) -> Callable[[Visit], None]:
    def act(visit: Visit) -> None:
        with FakeMse(visit.address, visit.identity) as mse:
            mse.set_up()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                mse.tls.sendall(data)
            until_closed(mse.tls.recv)

    return act


def _resets_after_set_up(visit: Visit) -> None:
    with FakeMse(visit.address, visit.identity) as mse:
        mse.set_up()
        reset(mse.tls)


def _without_certificate(visit: Visit) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError), FakeMse(visit.address, None) as mse:
        until_closed(mse.tls.recv)


def _with_unlisted_certificate(visit: Visit) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError), FakeMse(visit.address, visit.stranger) as mse:
        until_closed(mse.tls.recv)


class Case(NamedTuple):
    """A visitor and the counters that it is found under."""

    act: Callable[[Visit], None]
    errors: tuple[str, ...]
    established: bool = False


_LENGTH_4_GIB = struct.pack(">BBHII", 0x4E, 0, 1, (1 << 32) - 1, 1)
CASES = {
    "HTTP": Case(_garbage_below_tls, ("errors.accept.http_request",)),
    "noise": Case(_noise_below_tls, ("errors.accept.wrong_version_number", "errors.accept.unsupported_protocol")),
    "silent": Case(_silent, ("errors.accept.timeout",)),
    "RST": Case(_connects_and_resets, ("errors.accept.reset",)),
    "FIN": Case(_connects_and_closes, ("errors.accept.closed",)),
    "no certificate": Case(_without_certificate, ("errors.accept.peer_did_not_return_a_certificate",)),
    "unlisted certificate": Case(_with_unlisted_certificate, ("errors.accept.key_hash_not_listed",)),
    "garbage": Case(_inside_tls(b"\x00" * 4000), ("errors.accept.garbage",)),
    "half a header": Case(_half_a_header, ("errors.accept.closed_mid_frame",)),
    "silent inside": Case(_silent_inside_tls, ("errors.accept.setup_timeout",)),
    "4 GiB": Case(_inside_tls(_LENGTH_4_GIB), ("errors.accept.oversized",)),
    "flood of version requests": Case(
        _inside_tls(b"".join(wire.version_request(number) for number in range(20000))),
        ("errors.accept.unexpected_message",),
    ),
    "subscription first": Case(_inside_tls(wire.subscribe_request()), ("errors.accept.unexpected_message",)),
    "notification": Case(_inside_tls(wire.notify(0)), ("errors.accept.unexpected_message",)),
    "another version": Case(_inside_tls(wire.version_request(lowest=2, highest=9)), ("errors.accept.setup_timeout",)),
    "body of another size": Case(_inside_tls(wire.frame(1, bytes(3), 1)), ("errors.accept.malformed",)),
    "second version request": Case(
        _after_set_up(wire.version_request(3)), ("errors.serve.unexpected_message",), established=True
    ),
    "garbage later": Case(_after_set_up(b"\xff" * 100), ("errors.serve.garbage",), established=True),
    "notification later": Case(
        _after_set_up(wire.notify(0)), ("errors.serve.unexpected_message",), established=True
    ),
    "RST later": Case(
        _resets_after_set_up, ("errors.serve.reset", "errors.serve.closed_without_notify"), established=True
    ),
}  # fmt: skip


class Good(threading.Thread):
    """An MSE that behaves: takes notifications until the WLC says goodbye."""

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self._visit = visit
        self.numbers: list[int] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with FakeMse(self._visit.address, self._visit.identity) as mse:
                mse.set_up()
                self.numbers = mse.sequence_numbers()
        except BaseException as failure:
            self.failure = failure

    def check(self, ended: Ended) -> None:
        """Everything that it was sent arrived, from 0 on without a gap."""
        self.join(PATIENCE_S)
        assert self.failure is None
        assert self.numbers == list(range(len(self.numbers)))
        assert self.numbers
        assert ended.counters["sessions.closed"] >= 1


def _serve(
    start: Start, folder: Path, identities: Identities, address: Address, duration: str
) -> tuple[Running, Visit]:
    scenario = folder / "serve.toml"
    text = SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", f"{address[0]}:{address[1]}")
    text = text.replace("[mse]", f'auth_list = "{identities.auth_list}"\n[mse]\nsetup_timeout = "1500ms"')
    scenario.write_text(text, "utf-8")
    strangers = new_identities(folder / "strangers")
    running = start("run", scenario, "--serve", "wlc", "--duration", duration)
    running.wait_for_listener(address)
    return running, Visit(address, identities.pems[0], strangers.pems[0])


@pytest.fixture(scope="module")
def all_at_once(
    start_shared: Start, tmp_path_factory: pytest.TempPathFactory, identities: Identities
) -> Iterator[tuple[Ended, Good]]:
    """One run that all of CASES visit, and one MSE that behaves."""
    address = ("127.77.20.1", free_port("127.77.20.1"))
    running, visit = _serve(start_shared, tmp_path_factory.mktemp("serve"), identities, address, "6s")
    # The load begins with the first session: those who never have one come before.
    failures: dict[str, BaseException] = {}

    def act(name: str, case: Case) -> None:
        try:
            case.act(visit)
        except BaseException as failure:
            failures[name] = failure

    threads = [threading.Thread(target=act, args=(name, case)) for name, case in CASES.items()]
    good = Good(visit)
    good.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    ended = running.end()
    assert failures == {}
    yield ended, good
    good.join(PATIENCE_S)


class TestAllInOneRun:
    """Every case at once."""

    def test_the_good_one_is_served(self, all_at_once: tuple[Ended, Good]) -> None:
        ended, good = all_at_once
        ended.check_fell_short()
        good.check(ended)

    def test_each_costs_its_own_session(self, all_at_once: tuple[Ended, Good]) -> None:
        counters = all_at_once[0].counters
        before = sum(not case.established for case in CASES.values())
        assert counters["sessions.attempted"] == len(CASES) + 1
        assert counters["sessions.failed"] == before
        assert counters["sessions.established"] == len(CASES) + 1 - before
        assert counters["sessions.lost"] == len(CASES) - before
        assert counters["sessions.closed"] == 1

    def test_each_is_counted_by_its_kind(self, all_at_once: tuple[Ended, Good]) -> None:
        left = dict(all_at_once[0].errors)
        missing = []
        for name, case in CASES.items():
            found = next((error for error in case.errors if left.get(error)), None)
            if found is None:
                missing.append(f"{name}: {' or '.join(case.errors)}")
            else:
                left[found] -= 1
        assert (missing, [error for error, count in left.items() if count]) == ([], [])

    def test_the_books_balance(self, all_at_once: tuple[Ended, Good]) -> None:
        counters = all_at_once[0].counters
        assert counters["notify.due"] == counters["notify.sent"] + counters["notify.dropped"]


def test_one_that_asks_and_does_not_read(start: Start, tmp_path: Path, identities: Identities) -> None:
    """Echo requests without end, before the load begins and through it, and nobody takes the answers."""
    address = ("127.77.21.1", free_port("127.77.21.1"))
    running, visit = _serve(start, tmp_path, identities, address, "6s")
    good = Good(visit)
    with FakeMse(address, identities.pems[1], receive_buffer=4096) as flood:
        flood.set_up()
        good.start()
        requests = b"".join(wire.frame(wire.ECHO_REQUEST, transaction=number) for number in range(1000))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while running.process.poll() is None:
                flood.tls.sendall(requests)
    ended = running.end()
    ended.check_fell_short()
    good.check(ended)
    assert ended.errors == {"errors.serve.not_reading": 1}
    assert ended.counters["sessions.lost"] == 1


_ONE_OF_THEM = """
name = "slow"
[wlc]
count = 1
authenticate = false
[mse]
count = 1
[load]
rate = 750
backlog = "200ms"
stages = [{ hold = "2s" }]
"""


def test_one_that_reads_late(start: Start, tmp_path: Path, identities: Identities) -> None:
    """The socket fills with answers before the load begins, and empties again: nothing of it is an error."""
    address = ("127.77.22.1", free_port("127.77.22.1"))
    running, visit = _serve(start, tmp_path, identities, address, "2s")
    with FakeMse(address, identities.pems[1], receive_buffer=2304) as late:
        late.set_up()
        asked = 0

        def ask_more() -> int:
            late.tls.sendall(b"".join(wire.frame(wire.ECHO_REQUEST, transaction=asked + each) for each in range(50)))
            return asked + 50

        # Small portions, each answered or at least sent, until the WLC's socket is full; and some whose answers wait.
        while _bytes_not_acknowledged(address) < 500 and asked < 20_000:
            asked = ask_more()
        for _ in range(3):
            asked = ask_more()
        good = Good(visit)
        good.start()
        answers = [late.frames.next() for _ in range(asked)]
        kinds = {answer.msg_id for answer in answers if answer is not None}
        assert kinds <= {wire.ECHO_RESPONSE, wire.MEASUREMENT_NOTIFY}
        while late.frames.next() is not None:
            pass
    ended = running.end()
    # 5 where the good one came so late, on a busy machine, that it was missing for a part of the load.
    assert ended.code in (0, 4, 5), ended.stderr + ended.stdout
    good.check(ended)
    assert "errors.serve.not_reading" in ended.errors or ended.errors == {}


def test_what_one_that_reads_nothing_has_no_room_for_is_not_sent(start: Start, tmp_path: Path) -> None:
    """160 KB in two seconds: our own kernel would hold them, and each would have been sent in time."""
    path = tmp_path / "slow.toml"
    path.write_text(_ONE_OF_THEM, "utf-8")
    address = ("127.77.24.1", free_port("127.77.24.1"))
    listen = f"wlc.listen={address[0]}:{address[1]}"
    running = start("run", path, "--serve", "wlc", "--set", listen)
    running.wait_for_listener(address)
    with FakeMse(address, None, receive_buffer=4096) as mse:
        mse.set_up()
        ended = running.end()
    assert ended.code == 5, ended.stderr + ended.stdout
    counters = ended.counters
    assert counters["notify.due"] == 1500
    # What its buffer has room for, and what is due in 25 ms.
    assert 0 < counters["notify.sent"] < 300
    assert counters["notify.sent"] + counters["notify.dropped"] == 1500


def test_one_that_reads_nothing_and_resets_behind_our_goodbye_has_passed_nothing(start: Start, tmp_path: Path) -> None:
    """Its kernel takes all of it, in time, and acknowledges it; nobody ever reads it."""
    path = tmp_path / "unread.toml"
    path.write_text(_ONE_OF_THEM.replace("750", "100"), "utf-8")
    address = ("127.77.25.1", free_port("127.77.25.1"))
    running = start("run", path, "--serve", "wlc", "--set", f"wlc.listen={address[0]}:{address[1]}")
    running.wait_for_listener(address)
    with FakeMse(address, None) as mse:
        assert mse.tls.version() == "TLSv1.2"
        mse.set_up()
        eventually(lambda: _goodbye_waits(mse.tls), "the WLC's goodbye")
        reset(mse.tls)
        ended = running.end()
    assert ended.code in (4, 5), ended.stderr + ended.stdout
    assert ended.errors == {"errors.serve.reset": 1}
    counters, verdict = ended.counters, ended.result["verdict"]
    assert (counters["notify.untaken_bytes"], counters["sessions.closed"]) == (0, 1)
    assert counters["notify.unconfirmed"] == counters["notify.sent"] > 0
    told = f"{counters['notify.sent']:,} of {counters['notify.sent']:,} notifications were sent in sessions that"
    assert any(reason.startswith(told) for reason in verdict["reasons"]), verdict


def _goodbye_waits(tls: ssl.SSLSocket) -> bool:
    """An alert lies unread in our kernel, behind all other records."""
    data = socket.socket.recv(tls, 1 << 20, socket.MSG_PEEK)
    position, kind = 0, 0
    while len(data) >= position + 5:
        kind = data[position]
        position += 5 + struct.unpack_from(">H", data, position + 3)[0]
    return position == len(data) and kind == _ALERT


def _bytes_not_acknowledged(address: Address) -> int:
    """What waits in the send queue of the established socket whose local address this is."""
    host, port = address
    wanted = "".join(f"{octet:02X}" for octet in reversed(socket.inet_aton(host))) + f":{port:04X}"
    rows = (row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    return sum(int(row[4].partition(":")[0], 16) for row in rows if row[1] == wanted and row[3] == "01")


def test_many_that_come_and_go(start: Start, tmp_path: Path, identities: Identities) -> None:
    """A storm of connections that end at once leaves nothing behind."""
    address = ("127.77.23.1", free_port("127.77.23.1"))
    running, visit = _serve(start, tmp_path, identities, address, "4s")
    (worker,) = running.wait_for_workers(1)
    for number in range(300):
        sock = _connect(visit)
        if number % 2:
            reset(sock)
        else:
            sock.close()

    def settled() -> bool:
        assert running.process.poll() is None, running.stderr
        return len(list(Path(f"/proc/{worker}/fd").iterdir())) < 64

    eventually(settled, "the descriptors of connections that have gone")
    good = Good(visit)
    good.start()
    ended = running.end()
    ended.check_fell_short()
    good.check(ended)
    counters = ended.counters
    assert counters["sessions.attempted"] == 301
    assert counters["sessions.failed"] == 300
    assert sum(ended.errors.values()) == 300
    assert set(ended.errors) <= {"errors.accept.reset", "errors.accept.closed"}
