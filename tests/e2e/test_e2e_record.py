"""`loadgen record` between real processes: what both sides said is in the file, as others read it."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import stat
import subprocess
from collections import Counter
from pathlib import Path

import prepared
import pytest
from e2e_loadgen import LOADGEN, PATIENCE_S, SMALL, Identities, Run, Running, Start, eventually
from e2e_openssl import OpenSsl, serve_openssl, serve_wlc
from e2e_peers import FakeMse, make_certificate, until_closed
from ports import free_port

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs Debian's tshark")

_FLAGS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
HOST = "127.77.61.1"


def tshark(*arguments: object) -> str:
    done = subprocess.run(["tshark", "-n", *map(str, arguments)], capture_output=True, timeout=PATIENCE_S, check=False)
    problems = [line for line in done.stderr.decode().splitlines() if "Running as user" not in line]
    assert (done.returncode, problems) == (0, []), done.stderr.decode()
    return done.stdout.decode("utf-8", "replace")


def streams(path: Path) -> dict[tuple[str, str], bytes]:
    """What each end sent to each, as tshark reads it."""
    fields = ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.payload")
    rows = tshark("-r", path, "-Y", "tcp.len > 0", "-T", "fields", *(word for name in fields for word in ("-e", name)))
    found: dict[tuple[str, str], bytes] = {}
    for source, source_port, target, target_port, payload in (row.split("\t") for row in rows.splitlines()):
        ends = (f"{source}:{source_port}", f"{target}:{target_port}")
        found[ends] = found.get(ends, b"") + bytes.fromhex(payload)
    return found


def no_oddities(path: Path) -> None:
    """tshark finds nothing wrong with TCP in it, nor anything missing."""
    assert tshark("-r", path, "-Y", "tcp.analysis.flags || _ws.malformed || tcp.checksum.status == Bad") == ""


def record(
    start: Start, identity: Path, target: str, out: Path, *options: object, **others: object
) -> tuple[Running, str]:
    """A recorder, and where MSEs dial it."""
    words = ("--listen", f"{HOST}:0", "--target", f"wlc={target}", "--identity", identity, "--out", out, *options)
    running = start("record", *words, **others)

    def ready() -> str | None:
        assert running.process.poll() is None, running.stderr
        lines = running.stdout.splitlines()
        return lines[0].removeprefix("ready: recording at ") if lines else None

    return running, eventually(ready, "a recorder that is ready")


@needs_openssl
@needs_tshark
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_openssl_says_to_openssl(start: Start, tmp_path: Path, identities: Identities, version: str) -> None:
    chance = random.Random(version)
    up, down = chance.randbytes(200_000), chance.randbytes(500_000)
    wlc_pem, mse_pem, out = make_certificate(tmp_path / "wlc.pem"), identities.pems[1], tmp_path / "t.pcapng"
    (tmp_path / "client").mkdir()
    with serve_openssl(tmp_path, HOST, "-quiet", "-cert", wlc_pem, "-Verify", "1", _FLAGS[version]) as (server, target):
        running, at = record(start, identities.pems[0], target, out)
        shown = ("-cert", mse_pem, "-key", mse_pem)
        with OpenSsl(tmp_path / "client", "s_client", "-quiet", _FLAGS[version], "-connect", at, *shown) as client:
            client.say(up)
            assert server.wait_for_bytes(len(up)) == up
            server.say(down)
            assert client.wait_for_bytes(len(down)) == down
            running.signal(signal.SIGTERM)
            ended = running.end()
            client.end()
    assert ended.code == 130, ended.stderr
    ends = {other: one for one, other in streams(out)}
    assert streams(out) == {(ends[target], target): up, (target, ends[target]): down}
    no_oddities(out)
    assert "1 session, 0 that did not come up" in ended.stdout
    assert f"{len(up):,} bytes" in ended.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert ended.stderr.count("PRIVATE") == 1


@needs_tshark
def test_fleets_of_ours_and_the_file_by_the_profiles_dissector(
    start: Start, run: Run, tmp_path: Path, identities: Identities
) -> None:
    """Two MSEs at one WLC, and a frame for all that both sides counted."""
    wlc, target = serve_wlc(start, tmp_path, identities, "127.77.61.2", "--wait-for-target", "60s")
    out = tmp_path / "t.pcapng"
    running, at = record(start, identities.pems[0], target, out, "--max-time", "1h")
    scenario = tmp_path / "mses.toml"
    scenario.write_text(SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", "127.0.0.1:0"), "utf-8")
    mses = run("run", scenario, "--target", f"wlc={at}", "--set", 'mse.assign="all"')
    mses.check_passed()
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130, ended.stderr
    wlc.signal(signal.SIGINT)
    wlc.end()
    script = tmp_path / "nmsp.lua"
    script.write_text(prepared.loadgen().run(["profile", "dissector"], PATIENCE_S).stdout, "utf-8")
    port = target.rpartition(":")[2]
    words = ("-X", f"lua_script:{script}", "-d", f"tcp.port=={port},nmsp", "-r", out)
    names = Counter[str]()
    for info in tshark(*words, "-Y", "nmsp", "-T", "fields", "-e", "_ws.col.Info").splitlines():
        for each in info.split(", "):
            name, _, times = each.partition(" x ")
            names[name] += int(times or 1)
    counters = mses.counters
    assert names["measurement_notify"] >= counters["notify.received"] > 0
    assert names["version_request"] == names["subscribe_response"] == counters["sessions.established"] == 2
    assert names["echo_request"] == counters["echo.sent"]
    assert not [name for name in names if name.startswith("message ")]
    no_oddities(out)
    assert tshark("-r", out, "-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0").count("\n") == 2


@needs_tshark
def test_a_recorder_that_is_killed_costs_the_last_moment(start: Start, tmp_path: Path, identities: Identities) -> None:
    _, target = serve_wlc(start, tmp_path, identities, "127.77.61.3")
    out = tmp_path / "t.pcapng"
    running, at = record(start, identities.pems[0], target, out)
    address, _, port = at.rpartition(":")
    mse = FakeMse((address, int(port)), identities.pems[1])
    with mse:
        mse.set_up()
        eventually(lambda: out.stat().st_size > 5_000, "some notifications in the file")
        running.signal(signal.SIGKILL)
        running.process.wait(PATIENCE_S)
    no_oddities(out)
    assert len(streams(out)) == 2


def test_a_wlc_that_refuses_is_told_of(start: Start, tmp_path: Path, identities: Identities) -> None:
    target, out = f"127.77.61.4:{free_port('127.77.61.4')}", tmp_path / "t.pcapng"
    running, at = record(start, identities.pems[0], target, out, "--max-time", "1h")
    address, _, port = at.rpartition(":")
    with pytest.raises(ConnectionResetError):
        FakeMse((address, int(port)), identities.pems[1])
    line = running.wait_for_line("session 1: not up")
    assert "the WLC, in TCP's connection to the WLC: refused; the MSE's side was closed likewise" in line
    running.signal(signal.SIGHUP)
    ended = running.end()
    assert ended.code == 130
    assert "0 sessions, 1 that did not come up" in ended.stdout


@pytest.mark.parametrize(("mses", "code"), [(0, 5), (1, 3)])
def test_a_limit_of_time(start: Start, tmp_path: Path, identities: Identities, mses: int, code: int) -> None:
    """5: no MSE came; 3: one came, and the WLC was not there."""
    target, out = f"127.77.61.4:{free_port('127.77.61.4')}", tmp_path / "t.pcapng"
    running, at = record(start, identities.pems[0], target, out, "--max-time", "2s", "--quiet")
    address, _, port = at.rpartition(":")
    for _ in range(mses):
        with pytest.raises(ConnectionResetError):
            FakeMse((address, int(port)), identities.pems[1])
    ended = running.end()
    assert ended.code == code, ended.stderr
    assert out.stat().st_size > 100


@needs_tshark
def test_a_limit_of_size_ends_it_in_order(start: Start, tmp_path: Path, identities: Identities) -> None:
    _, target = serve_wlc(start, tmp_path, identities, "127.77.61.5", "--set", "load.rate=2000")
    out = tmp_path / "t.pcapng"
    running, at = record(start, identities.pems[0], target, out, "--max-size", "128KiB", "--rotate-size", "64KiB")
    address, _, port = at.rpartition(":")
    mse = FakeMse((address, int(port)), identities.pems[1])
    with mse:
        mse.set_up()
        until_closed(mse.tls.recv)
    ended = running.end()
    assert ended.code == 0, ended.stderr
    files = sorted(tmp_path.glob("t_*.pcapng"))
    assert len(files) in (2, 3)  # as whole blocks fit
    assert [file.name[:8] for file in files] == [f"t_{number:05d}_" for number in range(1, len(files) + 1)]
    assert 100 << 10 < sum(file.stat().st_size for file in files) <= 128 << 10
    for file in files:
        assert f"wrote {file}" in ended.stdout
        assert streams(file)


@needs_tshark
def test_a_full_disk_ends_the_recording_and_no_session(start: Start, tmp_path: Path, identities: Identities) -> None:
    _, target = serve_wlc(start, tmp_path, identities, "127.77.61.6", "--set", "load.rate=2000")
    out = tmp_path / "t.pcapng"

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    running, at = record(
        start, identities.pems[0], target, out, command=LOADGEN, preexec_fn=small_disk, env={**os.environ}
    )
    address, _, port = at.rpartition(":")
    mse = FakeMse((address, int(port)), identities.pems[1])
    with mse:
        mse.set_up()
        running.wait_for_line("NOTHING IS RECORDED ANY MORE: file too large")
        heard = mse.frames.next()
        assert heard is not None
        running.signal(signal.SIGINT)
        until_closed(mse.tls.recv)
    ended = running.end()
    assert ended.code == 7, ended.stderr
    assert ended.stderr.count("NOTHING IS RECORDED ANY MORE") == 1
    assert 30_000 < out.stat().st_size <= 40_000
    no_oddities(out)


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([], ["--listen: expected to be given", "--target", "--identity", "--out"]),
    "a name to listen at": (["--listen", "localhost:1"], ["--listen", "an IP address and a port", "localhost:1"]),
    "an MSE as target": (["--target", "mse=127.0.0.1:1"], ["--target", "wlc=HOST:PORT"]),
    "two targets": (["--target", "wlc=127.0.0.1:1,127.0.0.1:2"], ["--target", "one WLC", "found 2"]),
    "no identity": (
        ["--identity", "missing.pem"],
        ["missing.pem", "a private key and its certificate", "no such file"],
    ),
    "no list": (["--auth-list", "missing.txt"], ["missing.txt", "no such file"]),
    "a size that is none": (["--max-size", "much"], ["--max-size", "a size such as", '"much"']),
    "a size too small": (["--rotate-size", "1kB"], ["--rotate-size", "at least 64KiB", '"1kB"']),
    "a time that is none": (["--max-time", "soon"], ["--max-time", "a duration such as", '"soon"']),
    "no time": (["--timeout", "0s"], ["--timeout", "more than 0"]),
    "files without rotation": (["--files", "3"], ["--files", "--rotate-size or --rotate-time", "neither"]),
    "several at once": (["--max-time", "soon", "--target", "x"], ["--max-time", "--target"]),
    "an option that is none": (["--into", "x"], ["no such option", "--into"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_message(tmp_path: Path, identities: Identities, case: str) -> None:
    options, parts = REFUSED[case]
    given = {
        "--listen": f"{HOST}:0",
        "--target": "wlc=127.0.0.1:9",
        "--identity": str(identities.pems[0]),
        "--out": str(tmp_path / "t.pcapng"),
    }
    given |= dict(zip(options[::2], options[1::2], strict=True))
    words = [word for pair in given.items() for word in pair] if options else []
    done = prepared.loadgen().run(["record", *words], PATIENCE_S)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for part in parts:
        assert part.lower() in done.stderr.lower()
    assert [*tmp_path.iterdir()] == []


def test_an_address_that_is_taken_and_a_file_that_is_there(
    tmp_path: Path, identities: Identities, start: Start
) -> None:
    out = tmp_path / "t.pcapng"
    _, at = record(start, identities.pems[0], "127.0.0.1:9", out)
    words = ["record", "--target", "wlc=127.0.0.1:9", "--identity", identities.pems[0], "--out"]
    other = prepared.loadgen().run([*words, tmp_path / "u.pcapng", "--listen", at], PATIENCE_S)
    assert (other.returncode, "nobody listens yet" in other.stderr) == (2, True)
    assert not (tmp_path / "u.pcapng").exists()
    there = prepared.loadgen().run([*words, out, "--listen", f"{HOST}:0"], PATIENCE_S)
    assert (there.returncode, "an existing file" in there.stderr) == (2, True)
