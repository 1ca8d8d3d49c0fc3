"""Bad input: exit 2, one message that names place, expected and found, nothing written and nothing sent.

In this process, but where one of its own matters: limits of the system, folders, workers, an option that is none.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from e2e_loadgen import QUICK, REPO, SMALL, Run, Running, Start, new_identities

MAC = "02:4d:53:00:00:01"
HASH = "ab" * 32


OPTIONS: list[tuple[list[str], list[str]]] = [
        # Keys and types: all of them at once.
        (["--set", "wlc.cuont=3", "--set", "typo=3", "--set", 'wlc.count="ten"', "--set", "load.rate=-5",
          "--set", "mse.count=0", "--set", "tls.version=1.1"],
         ["small.toml: wlc.cuont: expected one of", "an unknown key", "small.toml: typo",
          'small.toml: wlc.count: expected int', 'found "ten"', "small.toml: load.rate", "> 0", "found -5",
          "small.toml: mse.count", ">= 1", "found 0", "small.toml: tls.version", "1.1"]),
        # What values decide together: all of it at once.
        (["--set", "load.stages=[]", "--set", "wlc.readings=17", "--set", 'wlc.listen="localhost:1"',
          "--set", 'wlc.subservices=["nope"]', "--set", 'session.dead_interval="1s"'],
         ["small.toml: load.stages: expected at least one stage", "small.toml: wlc.readings", "at most 16", "found 17",
          "small.toml: wlc.listen", "numeric IP address", "localhost:1", "small.toml: wlc.subservices[0]",
          'found "nope"', "small.toml: session.dead_interval", "session.echo_interval"]),
        (["--set", "load.rate=nan"], ["small.toml", "load.rate", "found nan"]),
        (["--set", "load.rate=0"], ["small.toml", "load.rate", "> 0", "found 0"]),
        (["--set", "wlc.count=0"], ["small.toml", "wlc.count", ">= 1", "found 0"]),
        (["--set", "load.interval=1s"], ["small.toml", "load", "rate, wire_rate and interval", "rate and interval"]),
        (["--set", 'load.stages=[{ hold = "0s" }]'], ["small.toml", "load.stages[0]", "more than 0"]),
        (["--set", "wlc.readings=[5, 2]"], ["small.toml", "wlc.readings", "[lowest, highest]", "(5, 2)"]),
        (["--set", 'wlc.listen="127.0.0.1"'], ["small.toml", "wlc.listen", "an address and a port"]),
        (["--set", "wlc.step=address", "--set", 'wlc.listen="127.255.255.250:0"', "--set", "wlc.count=9"],
         ["small.toml", "wlc.count", "loopback addresses from 127.255.255.250"]),
        (["--set", 'mse.subscribe=["rssi-ms", "rssi-mss"]'],
         ["small.toml", "mse.subscribe[1]", "expected one of rssi-ms", 'found "rssi-mss"']),
        (["--set", "mse.assign=[{ mse = 2, wlc = [4] }]"],
         ["small.toml", "mse.assign[0].mse", "0 to 1", "mse.assign[0].wlc[0]", "0 to 3"]),
        (["--set", "nonsense"], ["--set", "path=value", "nonsense"]),
        (["--set", "load.stages[7].hold=1s"], ["--set load.stages[7].hold", "a path into the scenario"]),
        (["--duration", "10"], ["--duration", "a duration such as", 'found "10"']),
        (["--duration", "0s"], ["--duration", "a duration such as", 'found "0s"']),
        (["--duration", "-1s"], ["--duration", "a duration such as", 'found "-1s"']),
        (["--duration", "99999999999999999999h"], ["--duration", "99999999999999999999h"]),
        (["--workers", "0"], ["--workers", '"auto" or 1 to 256', 'found "0"']),
        (["--workers", "many"], ["--workers", '"auto" or 1 to 256', 'found "many"']),
        (["--threshold", "latency < 3"], ["--threshold", "notify.latency", 'found "latency"']),
        (["--threshold", "notify.latency.p99 < 50"], ["--threshold", "a duration", 'found "50"']),
        (["--threshold", "notify.latency.p98 < 50ms"], ["--threshold", "p99_9", 'found "p98"']),
        (["--threshold", "sessions.failed"], ["--threshold", "a threshold such as", 'found "sessions.failed"']),
        (["--set", 'thresholds=["bogus > 1"]'], ["small.toml: thresholds[0]", 'found "bogus"']),
        (["--target", "wlc=127.0.0.1:1", "--serve", "wlc"], ["--target, --serve", "one of them", "both"]),
        (["--target", "mse=127.0.0.1:1"], ["--target", "wlc=HOST:PORT"]),
        (["--target", "wlc=127.0.0.1"], ["--target", "an address and a port", '"127.0.0.1"']),
        (["--target", "wlc=127.0.0.1:0"], ["--target", "a port of 1 to 65535", '"127.0.0.1:0"']),
        (["--target", "wlc=no.such.host.invalid:1"], ["--target", "a host name that resolves"]),
        (["--serve", "wlc"], ["small.toml: wlc.auth_list", "a file of key hashes", "found nothing"]),
        # An MSE has to know where to dial; port 0 is for those who listen.
        (["--serve", "mse"], ["small.toml: wlc.listen", "port"]),
        # No WLC of the assignment is among the targets: there is nothing to do.
        (["--target", "wlc=127.77.4.1:9", "--set", "mse.assign=[{ mse = 0, wlc = [3] }]"], ["mse.assign"]),
        (["--set", 'mse.subscribe=["wips"]'], ["small.toml: mse.subscribe", "a class of mobile stations"]),
        (["--set", 'mse.identities=["a.pem"]'], ["small.toml: mse.identities", "2 MSEs", "found 1"]),
        (["--set", 'mse.identities=["a.pem", "b.pem"]'], ["a.pem", "b.pem", "no such file"]),
        (["--set", "wlc.auth_list=nobody.txt"], ["nobody.txt", "no such file"]),
        (["--set", "tls.trust=nobody.pem"], ["nobody.pem"]),
        (["--set", "profile=nobody.toml"], ["nobody.toml", "a wire profile", "no such file"]),
    ]  # fmt: skip


@pytest.mark.parametrize(("options", "parts"), OPTIONS, ids=[" ".join(options) for options, _ in OPTIONS])
def test_option(refuse: Run, small: Path, options: list[str], parts: list[str]) -> None:
    ended = refuse("run", small, *options)
    ended.check_refused(*parts)
    assert len(ended.stderr.splitlines()) <= 8


def test_unknown_option_and_no_scenario(run: Run, small: Path) -> None:
    unknown = run("run", small, "--loud")
    unknown.check_refused("--loud")
    none = run("run")
    none.check_refused("SCENARIO")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["a scenario", "no such file or directory"]),
        (b"name = = 3", ["a scenario in TOML", "line 1"]),
        (b'name = "\xff"', ["a scenario in UTF-8", "0xff", "offset 8"]),
        (b"", ["a scenario", "an empty file"]),
        (b"# nothing\n", ["name", "a value", "nothing"]),
        (b'name = "No Good"', ["name", "No Good"]),
        (b'name = "x"\nwlc = 3\n', ["wlc", "a table", "found 3"]),
    ],
    ids=["missing", "not TOML", "not UTF-8", "empty", "no name", "bad name", "no table"],
)
def test_scenario_file(refuse: Run, tmp_path: Path, content: bytes | None, parts: list[str]) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    refuse("run", path).check_refused(str(path), *parts)


def test_scenario_is_a_directory(refuse: Run, tmp_path: Path) -> None:
    refuse("run", tmp_path).check_refused(str(tmp_path), "a scenario", "is a directory")


def test_several_problems_at_once(refuse: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    text = SMALL.replace("count = 4", "count = 0").replace("rate = 200", 'rate = "fast"') + "\n[tls]\nkye = 1\n"
    path.write_text(text, "utf-8")
    ended = refuse("run", path)
    ended.check_refused("wlc.count", "load.rate", "tls.kye")
    assert len([line for line in ended.stderr.splitlines() if "expected" in line]) == 3


def test_several_problems_between_values_at_once(refuse: Run, small: Path) -> None:
    ended = refuse(
        "run", small, "--set", "wlc.readings=99", "--set", 'mse.subscribe=["x"]', "--set", "load.stages=[]",
        "--set", "profile=none.toml",
    )  # fmt: skip
    ended.check_refused("wlc.readings", "mse.subscribe[0]", "load.stages", "none.toml")


class TestAuthList:
    """wlc.auth_list: what a device printed, copied badly."""

    def _refused(self, refuse: Run, small: Path, text: str, *parts: str) -> None:
        path = small.parent / "auth.txt"
        path.write_text(text, "utf-8")
        ended = refuse("run", small, "--serve", "wlc", "--set", "wlc.auth_list=auth.txt")
        ended.check_refused(str(path), *parts)

    def test_hash_of_wrong_length(self, refuse: Run, small: Path) -> None:
        text = (
            f"username 024d53000001 aaa attribute list N\naaa attribute list N\n attribute type password {HASH[3:]}\n"
        )
        self._refused(refuse, small, text, "line 3", "64 hex digits (SHA-256)", "found 61 hex digits")

    def test_mac_of_wrong_form(self, refuse: Run, small: Path) -> None:
        text = f"MAC Address: 02:4d-53:00:00:01\nSHA2 Key Hash: {HASH}\n"
        self._refused(refuse, small, text, "line 1", "a MAC address", "02:4d-53:00:00:01")

    def test_both_at_once(self, refuse: Run, small: Path) -> None:
        text = f"MAC Address: nonsense\nSHA2 Key Hash: {HASH}\n\nMAC Address: {MAC}\nSHA2 Key Hash: {HASH}ff\n"
        self._refused(refuse, small, text, "line 1", "nonsense", "line 5", "66 hex digits")

    def test_nothing_in_it(self, refuse: Run, small: Path) -> None:
        self._refused(refuse, small, "hello\n", "IOS-XE users", "none of them")

    def test_empty(self, refuse: Run, small: Path) -> None:
        self._refused(refuse, small, "", "an empty file")


class TestIdentities:
    """mse.identities: PEM files that are none."""

    def test_what_is_in_the_file(self, refuse: Run, small: Path) -> None:
        made = new_identities(small.parent / "made")
        pem = made.pems[0].read_text("ascii")
        key, certificate = pem.split("-----BEGIN CERTIFICATE-----")
        (small.parent / "key.pem").write_text(key, "ascii")
        (small.parent / "certificate.pem").write_text("-----BEGIN CERTIFICATE-----" + certificate, "ascii")
        ended = refuse("run", small, "--set", 'mse.identities=["key.pem", "certificate.pem"]')
        ended.check_refused("key.pem", "no certificate", "certificate.pem", "no private key")


class TestProfile:
    """profile: a layout that does not fit."""

    def _profile(self, small: Path, old: str, new: str) -> None:
        text = (REPO / "loadgen" / "nmsp" / "reference.toml").read_text("utf-8")
        assert old in text
        (small.parent / "mine.toml").write_text(text.replace(old, new, 1), "utf-8")

    def test_a_field_runs_past_its_record(self, refuse: Run, small: Path) -> None:
        self._profile(
            small,
            'name = "reading_count", type = "u8",  offset = 31',
            'name = "reading_count", type = "u8", offset = 32',
        )
        ended = refuse("run", small, "--set", "profile=mine.toml")
        ended.check_refused(
            str(small.parent / "mine.toml"), "messages.measurement_notify.fields[5] (reading_count)",
            "within the record of 32 bytes", "an end at byte 33",
        )  # fmt: skip

    def test_two_messages_of_one_id(self, refuse: Run, small: Path) -> None:
        self._profile(small, "id = 7", "id = 5")  # both from the WLC
        refuse("run", small, "--set", "profile=mine.toml").check_refused(
            "messages.echo_response.id", "subscribe_response"
        )

    def test_unknown_key(self, refuse: Run, small: Path) -> None:
        self._profile(small, 'byte_order = "big"', 'byte_ordr = "big"')
        refuse("run", small, "--set", "profile=mine.toml").check_refused("mine.toml", "byte_ordr", "an unknown key")


class TestDescriptors:
    """More sessions than the system lets a process have."""

    def _limited(self, start: Start, limits: str, *arguments: object) -> Running:
        command = ["bash", "-c", f'{limits}; exec "$@"', "bash", sys.executable, "-m", "loadgen"]
        return start(*arguments, command=command)

    def test_hard_limit_too_low(self, start: Start) -> None:
        ended = self._limited(start, "ulimit -n 256", "run", QUICK, "--set", "wlc.count=1000", "--workers", "1").end()
        ended.check_refused("file descriptors", "2,000 sessions", "ulimit -Hn", "found 256")
        assert "at least 3,0" in ended.stderr

    def test_soft_limit_is_raised(self, start: Start, small: Path) -> None:
        ended = self._limited(
            start, "ulimit -Sn 80; ulimit -Hn 512", "run", small, "--set", "wlc.count=80", "--workers", "1"
        ).end()
        ended.check_passed()
        assert ended.counters["sessions.established"] == 160
        assert ended.errors == {}

    def test_limit_that_the_supervisor_does_not_fit_into(self, start: Start, small: Path) -> None:
        """Each worker takes descriptors of the supervisor as well: refused beforehand, or it works."""
        ended = self._limited(start, "ulimit -n 70", "run", small, "--workers", "8", "--set", "wlc.count=8").end()
        assert "Traceback" not in ended.stderr
        if ended.code == 2:
            ended.check_refused("file descriptors")
        else:
            ended.check_passed()


class TestResultsFolder:
    """Where nothing can be written."""

    def test_a_file_in_the_way(self, start: Start, small: Path) -> None:
        in_the_way = small.parent / "file"
        in_the_way.write_text("mine", "utf-8")
        ended = start("run", small, results=in_the_way / "results").end()
        assert ended.code == 2, ended.stderr
        assert "Traceback" not in ended.stderr
        assert str(in_the_way) in ended.stderr
        assert "--results" in ended.stderr
        assert in_the_way.read_text("utf-8") == "mine"
        assert len(ended.stderr.strip().splitlines()) == 1

    def test_is_a_file(self, start: Start, small: Path) -> None:
        in_the_way = small.parent / "file"
        in_the_way.write_text("mine", "utf-8")
        ended = start("run", small, results=in_the_way).end()
        assert ended.code == 2, ended.stderr
        assert "Traceback" not in ended.stderr
        assert "--results" in ended.stderr
        assert in_the_way.read_text("utf-8") == "mine"


def test_wlc_address_in_use(run: Run, small: Path) -> None:
    """Found by a worker: the same kind of message, and nothing is written."""
    with socket.create_server(("127.77.5.1", 0)) as server:
        port = server.getsockname()[1]
        ended = run("run", small, "--set", f"wlc.listen=127.77.5.1:{port}", "--set", "wlc.count=1")
        ended.check_refused("wlc.listen", f"127.77.5.1:{port}", "address already in use")


def test_two_wlc_addresses_in_use(run: Run, small: Path) -> None:
    """Both are named, whichever worker found out."""
    with socket.create_server(("127.77.5.2", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_server(("127.77.5.3", port)):
            ended = run(
                "run", small, "--set", f"wlc.listen=127.77.5.1:{port}", "--set", "wlc.step=address", "--workers", "2"
            )  # fmt: skip
    ended.check_refused(f"127.77.5.2:{port}", f"127.77.5.3:{port}")


def test_wlc_address_that_is_not_ours(run: Run, small: Path) -> None:
    ended = run("run", small, "--set", "wlc.listen=192.0.2.1:0", "--set", "wlc.count=1")
    ended.check_refused("wlc.listen", "192.0.2.1", "cannot assign requested address")
