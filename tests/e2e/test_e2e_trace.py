"""`loadgen run --trace`: the field's two traces out of running fleets, of either side, and what bounds them."""

from __future__ import annotations

import re
import shutil
import signal
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest
from e2e_loadgen import SMALL, Identities, Run, Start, eventually, new_identities
from e2e_openssl import OpenSsl, serve_wlc
from ports import free_port

_LINE = re.compile(
    r"(WLC|MSE) (\d+) (\S+:\d+) \[\d\d/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3} UTC ([0-9a-f]+) \d+\] (.+)", re.ASCII
)
_STATE = re.compile(r"SSL state = (\S+); where = (\S+), ret = (\S+)")
# Static RSA and TLS 1.2, as in the field.
FIELD = ("--set", "tls.strong_cipher=false", "--set", "tls.key=rsa-2048")
_MINUS_ONE = "0xffffffff"

# The field's two traces, as in tests/diagnosis/test_diagnosis_trace.py, but without waiting: whether a client's answer
# is there when it is looked for is the machine's affair. Of lines that are no states, the beginning.
_WAITING = (
    "-- returning WANT_READ",
    "sslConnectionInit() success",
    "doSSLRecvLoop",
    "sslConnectionInit: SSL_do_handsh",
)
_UNTIL_THE_LIST: list[str | tuple[str, str, str]] = [
    *("New NMSP connection", "sslConnectionInit: SSL_new"),
    ("0x6000", "0x10", "0x1"),
    ("0x6000", "0x2001", "0x1"),
    ("0x2111", "0x2001", "0x1"),
    ("0x2130", "0x2001", "0x1"),
    ("0x2140", "0x2001", "0x1"),
    ("0x2160", "0x2001", "0x1"),
    ("0x2100", "0x2001", "0x1"),
    "Peer certificate Validation Done",
]
WLC_REFUSES: list[str | tuple[str, str, str]] = [
    *_UNTIL_THE_LIST,
    *("Authlist authentication failed", "Peer not validated against AuthList"),
    ("0x2182", "0x4008", "0x22e"),
    ("0x2182", "0x2002", _MINUS_ONE),
    *("-- handshake failed", "Nmsp conn ssl"),
]
WLC_TAKES: list[str | tuple[str, str, str]] = [
    *_UNTIL_THE_LIST,
    *("Authlist authentication successful", "Peer validated against AuthList"),
    ("0x2180", "0x2001", "0x1"),
    ("0x2190", "0x2001", "0x1"),
    ("0x21a0", "0x2001", "0x1"),
    ("0x21c0", "0x2001", "0x1"),
    ("0x21d0", "0x2001", "0x1"),
    ("0x21e0", "0x2001", "0x1"),
    ("0x2100", "0x2001", "0x1"),
    ("0x3", "0x20", "0x1"),
    ("0x3", "0x2002", "0x1"),
    *("SSL_do_handshake() succeeded", "NMSP connection success!"),
]
_DTLS_HELLOS = [
    ("0x1110", "0x1001"),
    ("none", "0x1001"),
    ("0x1110", "0x1001"),
]  # with a hello verify request in between
_MSE_SPEAKS = [
    *(("0x5000", "0x10"), ("0x5000", "0x1001"), ("0x1110", "0x1001"), ("0x1120", "0x1001"), ("0x1130", "0x1001")),
    *(("0x1150", "0x1001"), ("0x1160", "0x1001"), ("0x1170", "0x1001"), ("0x1180", "0x1001"), ("0x1190", "0x1001")),
    *(("0x11a0", "0x1001"), ("0x11b0", "0x1001"), ("0x1100", "0x1001")),
]
MSE_IS_TAKEN = [*_MSE_SPEAKS, ("0x11d0", "0x1001"), ("0x3", "0x20"), ("0x3", "0x1002")]
MSE_IS_REFUSED = [*_MSE_SPEAKS, ("0x11d0", "0x4004"), ("0x11d0", "0x1002")]


class Trace(NamedTuple):
    """One handshake's lines."""

    side: str
    number: int
    peer: str
    texts: list[str]

    @property
    def steps(self) -> list[str | tuple[str, ...]]:
        """All but waiting; states as number, `where` and `ret`."""
        texts = [text for text in self.texts if not text.startswith(("ret_", "SSL_state_string"))]
        found: list[str | tuple[str, ...]] = []
        for text, after in zip(texts, [*texts[1:], ""], strict=True):
            if not text.startswith(_WAITING) and not after.startswith(_WAITING[0]):
                state = _STATE.fullmatch(text)
                found.append(text if state is None else state.groups())
        return found

    @property
    def reached(self) -> list[tuple[str, ...]]:
        """States, and `where`."""
        return [step[:2] for step in self.steps if isinstance(step, tuple)]

    def check(self, expected: list[str | tuple[str, str, str]]) -> None:
        """The same steps in the same order."""
        steps = self.steps
        assert len(steps) == len(expected), steps
        for step, wanted in zip(steps, expected, strict=True):
            assert step == wanted or (isinstance(step, str) and isinstance(wanted, str) and step.startswith(wanted))

    def after(self, text: str) -> list[str]:
        """The three lines behind a state's first one."""
        index = next(index for index, each in enumerate(self.texts) if text in each)
        return self.texts[index + 1 : index + 4]


def traces_of(text: str) -> tuple[list[Trace], str]:
    """Handshakes in the order of the file, and its last line. Serials count every line of a side."""
    *lines, last = text.splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    for side in ("WLC", "MSE"):
        serials = [int(match[4], 16) for match in matches if match and match[1] == side]
        assert serials == list(range(len(serials)))
    found = []
    for (side, number, peer), group in groupby((m for m in matches if m), key=lambda match: match.groups()[:3]):
        found.append(Trace(side, int(number), peer, [match[5] for match in group]))
    return found, last


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return new_identities(tmp_path_factory.mktemp("rsa"), "--key", "rsa-2048")


@pytest.fixture
def half_listed(tmp_path: Path, rsa: Identities) -> Path:
    """One WLC and two MSEs, of which it knows the first."""
    (tmp_path / "half.txt").write_text(rsa.auth_list.read_text("utf-8").partition("!")[0], "utf-8")
    listen = f"127.77.95.1:{free_port('127.77.95.1')}"
    text = SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", listen)
    text = text.replace("[mse]", f'auth_list = "half.txt"\n[mse]\nidentities = ["{rsa.pems[0]}", "{rsa.pems[1]}"]')
    path = tmp_path / "half.toml"
    path.write_text(text, "utf-8")
    return path


def check_wlc_s(traces: list[Trace]) -> None:
    refused = next(trace for trace in traces if trace.texts[-1].startswith("Nmsp conn ssl"))
    (taken,) = (trace for trace in traces if trace is not refused)
    refused.check(WLC_REFUSES)
    taken.check(WLC_TAKES)
    assert refused.after("where = 0x4008") == [
        "ret_type_string=fatal",
        "ret_desc_string=certificate unknown",
        "SSL_state_string=SSLv3 read client certificate C",
    ]
    assert {(trace.side, trace.number) for trace in traces} == {("WLC", 0)}


def over_dtls(reached: list[tuple[str, str]]) -> list[tuple[str, str]]:
    at = reached.index(_DTLS_HELLOS[0])
    return [*reached[:at], *_DTLS_HELLOS, *reached[at + 1 :]]


def check_mse_s(traces: list[Trace], transport: str = "tls") -> None:
    by_number = {trace.number: trace for trace in traces}
    assert sorted(by_number) == [0, 1]
    taken, refused = by_number[0], by_number[1]
    spoken = over_dtls if transport == "dtls" else list
    assert taken.reached == spoken(MSE_IS_TAKEN)
    assert taken.texts[-1].startswith("NMSP connection success!")
    assert refused.reached == spoken(MSE_IS_REFUSED)
    assert refused.after("where = 0x4004, ret = 0x22e")[:2] == [
        "ret_type_string=fatal",
        "ret_desc_string=certificate unknown",
    ]
    assert refused.texts[-1].startswith("Nmsp conn ssl")


@pytest.mark.parametrize("transport", ["tls", "dtls"])
def test_both_fleets_in_one_run(run: Run, tmp_path: Path, half_listed: Path, transport: str) -> None:
    carried = ("--set", f"transport={transport}")
    ended = run("run", half_listed, *FIELD, *carried, "--trace", tmp_path / "trace.txt")
    assert ended.counters["sessions.established"] == ended.counters["sessions.failed"] == 1
    traces, last = traces_of((tmp_path / "trace.txt").read_text("utf-8"))
    assert len(traces) == 4
    check_wlc_s([trace for trace in traces if trace.side == "WLC"])
    check_mse_s([trace for trace in traces if trace.side == "MSE"], transport)
    assert len({trace.peer for trace in traces if trace.side == "WLC"}) == 2
    assert {trace.peer.partition(":")[0] for trace in traces if trace.side == "MSE"} == {"127.77.95.1"}
    assert last == "handshakes of WLCs: 2 traced, 0 not; of MSEs: 2 traced, 0 not (--trace-limit 100)"


def test_each_fleet_in_a_run_of_its_own(start: Start, tmp_path: Path, half_listed: Path) -> None:
    address = half_listed.read_text("utf-8").partition('listen = "')[2].partition('"')[0]
    host, port = address.split(":")
    wlc = start("run", half_listed, *FIELD, "--serve", "wlc", "--duration", "60s", "--trace", tmp_path / "wlc.txt")
    wlc.wait_for_listener((host, int(port)))
    mse = start("run", half_listed, *FIELD, "--target", f"wlc={address}", "--quiet", "--trace", "-").end()
    # A trace is there when the handshake is over, not when the run is.
    eventually(lambda: (tmp_path / "wlc.txt").read_text("utf-8").count(" allocated\n") == 2, "the WLC's traces")
    wlc.signal(signal.SIGINT)
    wlc.end()
    theirs, last = traces_of((tmp_path / "wlc.txt").read_text("utf-8"))
    check_wlc_s(theirs)
    assert last == "handshakes of WLCs: 2 traced, 0 not (--trace-limit 100)"
    ours, last = traces_of(mse.stderr)
    check_mse_s(ours)
    assert {trace.peer for trace in ours} == {address}
    assert last == "handshakes of MSEs: 2 traced, 0 not (--trace-limit 100)"


def test_a_refusal_with_tls_1_3_comes_behind_the_mse_s_handshake(run: Run, tmp_path: Path, half_listed: Path) -> None:
    run("run", half_listed, "--set", "tls.version=1.3", "--trace", tmp_path / "trace.txt")
    traces, _ = traces_of((tmp_path / "trace.txt").read_text("utf-8"))
    (refused,) = (trace for trace in traces if (trace.side, trace.number) == ("MSE", 1))
    succeeded = next(i for i, text in enumerate(refused.texts) if text.startswith("NMSP connection success!"))
    assert any("where = 0x4004, ret = 0x22e" in text for text in refused.texts[succeeded:])
    (taken,) = (trace for trace in traces if (trace.side, trace.number) == ("MSE", 0))
    assert any(text.startswith("NMSP connection success!") for text in taken.texts)
    assert not any("where = 0x4004" in text or "freed" in text for text in taken.texts)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_at_our_wlc(start: Start, tmp_path: Path, rsa: Identities) -> None:
    strangers = new_identities(tmp_path / "strangers", "--key", "rsa-2048", count=1)
    wlc, address = serve_wlc(start, tmp_path, rsa, "127.77.96.1", *FIELD, "--trace", str(tmp_path / "trace.txt"))
    for pem, said in ((rsa.pems[0], "Verify return code"), (strangers.pems[0], "SSL alert number 46")):
        words = ("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0", "-cert", pem, "-key", pem)
        with OpenSsl(tmp_path, "s_client", "-connect", address, *words) as client:
            client.wait_for_text(said)
    wlc.signal(signal.SIGINT)
    wlc.end()
    traces, _ = traces_of((tmp_path / "trace.txt").read_text("utf-8"))
    check_wlc_s(traces)


def test_a_storm_of_handshakes_is_traced_as_far_as_the_limit(run: Run, tmp_path: Path, small: Path) -> None:
    storm = ("--set", "load.kind=handshake", "--set", "load.concurrency=8", "--set", "load.rate=100")
    ended = run("run", small, *storm, "--trace", tmp_path / "trace.txt", "--trace-limit", 5, "--workers", 2)
    traces, last = traces_of((tmp_path / "trace.txt").read_text("utf-8"))
    sides = [trace.side for trace in traces]
    assert sides.count("WLC") == sides.count("MSE") == 5
    assert all(trace.texts[-1].startswith("NMSP connection success!") for trace in traces)
    accepted, attempted = ended.counters["accept.attempts"], ended.counters["handshakes.attempted"]
    assert min(accepted, attempted) > 5
    assert last == (
        f"handshakes of WLCs: 5 traced, {accepted - 5:,} not; "
        f"of MSEs: 5 traced, {attempted - 5:,} not (--trace-limit 5)"
    )


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--trace", "/nowhere/trace.txt"), ("--trace: expected a file that can be written", "no such file")),
        (("--trace", "/"), ("--trace: expected a file that can be written", "is a directory")),
        (("--trace-limit", "5"), ("--trace-limit: expected --trace FILE", "found no --trace")),
    ],
    ids=["no folder", "a folder", "a limit of nothing"],
)
def test_a_trace_that_cannot_be(refuse: Run, small: Path, options: tuple[str, ...], parts: tuple[str, ...]) -> None:
    refuse("run", small, *options).check_refused(*parts)


def test_a_disk_that_is_full_ends_the_trace_and_not_the_run(run: Run, small: Path) -> None:
    ended = run("run", small, "--trace", "/dev/full")
    ended.check_passed()
    assert ended.counters["sessions.established"] == 8
    assert ended.stderr.count("--trace /dev/full: no space left on device; the trace ends here") == 1
