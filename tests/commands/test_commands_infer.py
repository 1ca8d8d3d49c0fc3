"""`loadgen infer`: what it writes, prints, refuses; and its function. What is found is the matter of tests/infer."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result
from tls_sessions import Session, contexts, session

from loadgen.capture.events import How
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.commands import infer, inferrer
from loadgen.errors import ExitCode, InputError
from loadgen.infer.from_profile import layout_of
from loadgen.infer.inference import Inference
from loadgen.infer.layout_document import layout_from
from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.profile import WireProfile, load_profile
from loadgen.nmsp.records import Reading

ROOT = Path(__file__).parents[2]
cli = importlib.import_module("loadgen.cli.main")
SECOND = 1_000_000_000
BEGAN = 1_790_000_000 * SECOND
MSE, WLC = ("192.0.2.9", 40_001), ("192.0.2.7", 16113)
AP, STATION = "02:41:00:00:00:a1", "02:53:00:00:00:01"


@pytest.fixture(scope="module")
def heron() -> WireProfile:
    return load_profile(ROOT / "docs" / "wire-profile" / "heron.toml")


def captured(profile: WireProfile, tls: Session | None = None) -> bytes:
    """A session: its opening, an echo, a notification every two seconds. Args: tls: what it goes through."""
    codec, tunnel = Codec(profile), TunnelWriter(MSE, WLC)
    parts = [file_header(application="tests", interface="tunnel", description="plain"), tunnel.open(BEGAN)]

    def pass_on(at_ns: int) -> None:
        assert tls is not None
        parts.extend(tunnel.data(of_client, at_ns, data) for of_client, data in tls.wire)
        tls.wire.clear()

    if tls is not None:
        tls.shake()
        pass_on(BEGAN)

    def say(of_client: bool, at_s: float, message: Any, transaction: int = 0) -> None:
        frame, at_ns = bytes(codec.encode(message, transaction)), BEGAN + int(at_s * SECOND)
        if tls is None:
            parts.append(tunnel.data(of_client, at_ns, frame))
        else:
            tls.say(of_client, frame)
            pass_on(at_ns)

    say(True, 0.1, m.VersionRequest(1, 1), 1)
    say(False, 0.2, m.VersionResponse(1, 0), 1)
    say(False, 0.3, m.Capability(subservices=0x68EBE7))
    say(True, 0.4, m.SubscribeRequest(subservices=1), 2)
    say(False, 0.5, m.SubscribeResponse(subservices=1, status=0), 2)
    for number in range(60):
        at_s = 1 + 2 * number
        if number % 7 == 3:
            say(True, at_s - 0.5, m.EchoRequest(), 3 + number)
            say(False, at_s - 0.4, m.EchoResponse(), 3 + number)
        near = Reading(bytes.fromhex(AP.replace(":", "")), 0, 0, 1, -50 - number % 3, -52, 30, number % 5)
        station = bytes.fromhex(STATION.replace(":", ""))
        told = m.MeasurementNotify(
            station_mac=station, readings=(near,) * (1 + number % 3), time=BEGAN + int(at_s * SECOND)
        )
        say(False, at_s, told)
    parts += [tunnel.close(True, BEGAN + 130 * SECOND, How.FIN), tunnel.close(False, BEGAN + 130 * SECOND, How.FIN)]
    return b"".join(parts)


@pytest.fixture
def capture(heron: WireProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a folder of its own, which is the current one; found in it is heron's layout, whatever inference can."""
    layout, _ = layout_of(heron.document)
    found = Inference(layout=layout, frames=80, decoded=1.0, explained=0.75, unexplained={"capability": 0.25})
    found.doubts = ["capture a session with two access points"]
    monkeypatch.setattr(inferrer, "infer_layout", lambda exchanges, hints: found)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tunnel.pcapng"
    path.write_bytes(captured(heron))
    return path


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["infer", *arguments], standalone_mode=False)


def test_a_profile_a_layout_and_a_page(capture: Path, heron: WireProfile) -> None:
    found = command("tunnel.pcapng", "--out", "found.toml", "--json", "found.json", "--report", "found.html")
    assert found.return_value == ExitCode.PASSED
    profile = load_profile(Path("found.toml"))
    assert profile.name == "found"
    assert profile.document.header == heron.document.header
    assert profile.document.checksum == heron.document.checksum
    assert profile.document.messages.keys() == heron.document.messages.keys()
    layout = layout_from(json.loads(Path("found.json").read_text()))
    assert layout.findings is not None
    assert layout.findings.captures == ("tunnel.pcapng",)
    assert layout.findings.sessions == 1
    page = Path("found.html").read_text()
    assert f'title="rssi_a: rssi, bytes {14 + 16 + 8} to {14 + 16 + 8}' in page
    assert "capture a session with two access points" in page
    assert not re.search(r'(src|href)="?http', page)
    assert {path.stat().st_mode & 0o777 for path in Path.cwd().glob("found.*")} == {0o600}
    for said in (
        "message 0x4001 measurement_notify",
        "80 frames of 1 sessions",
        "without explanation: capability 25.0%",
    ):
        assert said in found.output


def test_what_is_written_follows_its_schema(capture: Path) -> None:
    schema = json.loads(CliRunner().invoke(cli.cli, ["schema", "inference"], standalone_mode=False).output)
    validate: Callable[[Any], Any] = fastjsonschema.compile(schema)
    result = infer(["tunnel.pcapng"])
    document = json.loads(result.as_json())
    validate(document)
    assert document["format"] == "layout-1"
    del document["header"]["frame_size"]
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate(document)


def test_a_profile_says_why_as_comments(capture: Path) -> None:
    result = infer(["tunnel.pcapng"], name="mine")
    assert result.profile is not None
    assert result.profile.startswith("# Found by `loadgen infer` in tunnel.pcapng: 80 frames of 1 sessions; 100.0%")
    assert tomllib.loads(result.profile)["name"] == "mine"
    assert result.exit_code == ExitCode.PASSED


def test_hints_that_the_capture_contradicts(capture: Path) -> None:
    Path("hints.toml").write_text(
        f'aps = ["{AP}", "02:41:00:00:00:ff"]\nstations = ["{STATION}"]\nmse = "192.0.2.77"\ninterval = "30s"\n'
    )
    result = infer(["tunnel.pcapng"], hints="hints.toml")
    assert result.findings.contradicted == (
        "aps: 02:41:00:00:00:ff occurs nowhere in what was captured",
        "mse: 192.0.2.77 began none of the sessions; 192.0.2.9 did",
        "interval: 30s, but a station is told of every 2.0 s, in the median",
    )
    Path("hints.toml").write_text(f'aps = ["{AP}"]\nstations = ["{STATION}"]\nmse = "192.0.2.9"\ninterval = "2s"\n')
    assert infer(["tunnel.pcapng"], hints="hints.toml").findings.contradicted == ()


def test_hints_that_are_none(capture: Path) -> None:
    Path("hints.toml").write_text('aps = ["02:41"]\nmse = "somewhere"\ninterval = "soon"\n')
    with pytest.raises(InputError) as found:
        infer(["tunnel.pcapng"], hints="hints.toml")
    assert [problem.where for problem in found.value.problems] == [
        *("hints.toml: aps[0]", "hints.toml: mse", "hints.toml: interval"),
    ]


def test_a_layout_that_no_profile_can_say(capture: Path, monkeypatch: pytest.MonkeyPatch, heron: WireProfile) -> None:
    layout, _ = layout_of(heron.document)
    kept = tuple(each for each in layout.messages if each.name != "measurement_notify")
    fewer = msgspec.structs.replace(layout, messages=kept)
    monkeypatch.setattr(inferrer, "infer_layout", lambda exchanges, hints: Inference(layout=fewer, frames=80))
    found = command("tunnel.pcapng", "--out", "found.toml", "--json", "found.json")
    assert found.return_value == ExitCode.INCONCLUSIVE
    assert "messages.measurement_notify: expected a table" in found.stderr
    assert not Path("found.toml").exists()
    assert Path("found.json").exists()


def test_nothing_found(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inferrer, "infer_layout", lambda exchanges, hints: Inference(why="no length was found"))
    found = command("tunnel.pcapng", "--out", "found.toml", "--json", "found.json", "--report", "found.html")
    assert found.return_value == ExitCode.INCONCLUSIVE
    assert "no layout was found: no length was found" in found.stderr
    assert "held out" not in found.output
    assert [path.name for path in Path.cwd().iterdir()] == ["tunnel.pcapng"]
    with pytest.raises(ValueError, match="no length was found"):
        infer(["tunnel.pcapng"]).as_json()


def test_files_that_are_there_stay(capture: Path) -> None:
    Path("found.toml").write_text("mine")
    with pytest.raises(InputError, match=r"found\.toml"):
        CliRunner().invoke(
            cli.cli, ["infer", "tunnel.pcapng", "--out", "found.toml"], standalone_mode=False, catch_exceptions=False
        )
    assert Path("found.toml").read_text() == "mine"
    assert command("tunnel.pcapng", "--out", "found.toml", "--force").return_value == ExitCode.PASSED
    assert Path("found.toml").read_text() != "mine"


def test_captures_are_taken_together_up_to_a_bound(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("second.pcapng").write_bytes(capture.read_bytes())
    both = infer(["tunnel.pcapng", "second.pcapng"])
    assert both.findings.sessions == 2
    assert {frame.session for frame in both.frames} == {0, 1}
    monkeypatch.setattr(inferrer, "MOST_BYTES", 2 << 10)
    fewer = infer(["tunnel.pcapng", "second.pcapng"])
    assert len(fewer.frames) < len(both.frames) // 2
    assert "only the first 0 MiB of plaintext were looked at" in fewer.findings.remarks


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_is_encrypted_gives_the_same_with_its_key_log(heron: WireProfile, tmp_path: Path, version: str) -> None:
    tls = session(contexts(version))
    (tmp_path / "plain.pcapng").write_bytes(captured(heron))
    (tmp_path / "tls.pcapng").write_bytes(captured(heron, tls))
    (tmp_path / "keys.log").write_bytes(tls.keylog)
    plain = infer([tmp_path / "plain.pcapng"])
    assert plain.layout is not None
    opened = infer([tmp_path / "tls.pcapng"], keylog=tmp_path / "keys.log")
    assert opened.layout is not None
    assert [frame.data for frame in opened.frames] == [frame.data for frame in plain.frames]
    findings = msgspec.structs.replace(opened.findings, captures=plain.findings.captures)
    assert findings == plain.findings
    assert msgspec.structs.replace(opened.layout, findings=plain.findings) == plain.layout
    with pytest.raises(InputError, match=r"tls\.pcapng: expected tunnels with their keys"):
        infer([tmp_path / "tls.pcapng"])


def test_a_file_that_is_no_capture(capture: Path) -> None:
    Path("other.pcapng").write_bytes(b"no capture at all")
    with pytest.raises(InputError, match=r"other\.pcapng"):
        infer(["tunnel.pcapng", "other.pcapng"])
    with pytest.raises(TypeError, match="a sequence of texts"):
        infer("tunnel.pcapng")
