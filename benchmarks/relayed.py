"""What a man in the middle adds to a message's way: `python -m benchmarks.relayed KIND`, prints JSON.

A WLC sends messages of a size at a rate, a record of TLS each, with the time in each; an MSE in another process reads
it. Between them there is nothing (`direct`), `loadgen record`, or another program that takes TLS from one and hands it
to the other by TLS. All keys are RSA of 2048 bits.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL

from benchmarks.processes import COUNTERPART_CORE
from loadgen.identity.credentials import Identity, new_key, save_identity, self_signed
from loadgen.transport.contexts import client_context, server_context

PER_S = 5000
_MESSAGE_BYTES = 128
_SECONDS = 4
_WARM = PER_S // 2
_WLC, _RELAY = ("127.0.23.1", 23113), ("127.0.23.2", 23114)
_READY_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def measure(kind: str) -> dict[str, float]:
    """Latencies in seconds, and messages per CPU-second of what is in the middle."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wlc, mse = (self_signed(mac, new_key("rsa-2048"), datetime.now(UTC)) for mac in ("02:00:00:00:00:01",) * 2)
        save_identity(mse, folder / "mse.pem")
        save_identity(wlc, folder / "wlc.pem")
        listener = socket.create_server(_WLC)
        child = os.fork()
        if child == 0:
            try:
                _send(listener, wlc)
            finally:
                os._exit(0)
        listener.close()
        try:
            with _between(kind, folder) as (address, pid):
                latencies, cpu_s = _receive(address, mse, pid)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    latencies = sorted(latencies[_WARM:])
    figures = {
        "p50_s": latencies[len(latencies) // 2],
        "p99_s": latencies[len(latencies) * 99 // 100],
        "count": float(len(latencies)),
    }
    return figures | ({"per_cpu_s": PER_S * _SECONDS / cpu_s} if cpu_s else {})


def _send(listener: socket.socket, identity: Identity) -> None:
    os.sched_setaffinity(0, {COUNTERPART_CORE})
    context = server_context(identity.key_pem, identity.certificate_pem, b"", "1.2", None)
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tunnel = SSL.Connection(context, sock)
    tunnel.set_accept_state()
    tunnel.do_handshake()
    rest = bytes(_MESSAGE_BYTES - 8)
    begin = time.monotonic_ns()
    for number in range(PER_S * _SECONDS):
        due = begin + number * 1_000_000_000 // PER_S
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        tunnel.sendall(time.monotonic_ns().to_bytes(8, "big") + rest)
    time.sleep(_READY_S)  # until it is killed


def _receive(address: tuple[str, int], identity: Identity, pid: int) -> tuple[list[float], float]:
    context = client_context(identity.key_pem, identity.certificate_pem, b"", "1.2", None)
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tunnel = SSL.Connection(context, sock)
    tunnel.set_connect_state()
    tunnel.do_handshake()
    before = _cpu_s(pid)
    latencies, rest = [], b""
    while len(latencies) < PER_S * _SECONDS:
        rest += tunnel.recv(16384)
        now = time.monotonic_ns()
        while len(rest) >= _MESSAGE_BYTES:
            latencies.append((now - int.from_bytes(rest[:8], "big")) / 1e9)
            rest = rest[_MESSAGE_BYTES:]
    return latencies, _cpu_s(pid) - before


def _cpu_s(pid: int) -> float:
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@contextmanager
def _between(kind: str, folder: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """Where the MSE dials, and the process in the middle; 0: there is none."""
    if kind == "direct":
        yield _WLC, 0
        return
    at, target = (f"{host}:{port}" for host, port in (_RELAY, _WLC))
    pem = folder / "mse.pem"
    command = {
        "record": [
            *(sys.executable, "-m", "loadgen", "record", "--quiet", "--listen", at, "--target", f"wlc={target}"),
            *("--identity", str(pem), "--out", str(folder / "tunnel.pcapng")),
        ],
        "socat": [
            *("socat", f"OPENSSL-LISTEN:{_RELAY[1]},bind={_RELAY[0]},cert={folder / 'wlc.pem'},verify=0,nodelay"),
            f"OPENSSL:{target},cert={pem},verify=0,nodelay",
        ],
    }[kind]
    if shutil.which(command[0]) is None:
        raise SystemExit(f"{command[0]} is not on PATH")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {COUNTERPART_CORE}),
    )
    try:
        _await_listener(process)
        yield _RELAY, process.pid
    finally:
        process.terminate()
        process.wait()


def _await_listener(process: subprocess.Popen[bytes]) -> None:
    """Looked up, not tried: socat serves one caller."""
    host = "".join(f"{byte:02X}" for byte in reversed(socket.inet_aton(_RELAY[0])))
    wanted = f"{host}:{_RELAY[1]:04X}"
    end = time.monotonic() + _READY_S
    while time.monotonic() < end and process.poll() is None:
        rows = (row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
        if any(row[1] == wanted and row[3] == "0A" for row in rows):
            return
        time.sleep(0.02)
    raise SystemExit("nobody listens in the middle")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
