"""Captures as `loadgen replay` reads them: what is played of them, and what is said of all else."""

from __future__ import annotations

from pathlib import Path

import pytest
import replay_samples as samples
from tls_sessions import contexts, session

from loadgen.capture.streams import Exchange
from loadgen.commands import recorded
from loadgen.commands.recorded import played, read_recorded
from loadgen.commands.replaying import ReplayOptions, source_of
from loadgen.commands.source import read_source
from loadgen.errors import InputError
from loadgen.nmsp.profile import reference_profile
from loadgen.prepare.job import plan_of

PROFILE = reference_profile()


def exchange() -> Exchange:
    return samples.exchange(PROFILE, [*samples.opening(), *samples.notified(40)])


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "tunnel.pcapng"
    path.write_bytes(samples.captured([exchange()]))
    return path


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_is_encrypted_is_played_with_its_key_log(capture: Path, tmp_path: Path, version: str) -> None:
    tls = session(contexts(version))
    encrypted, keys = tmp_path / "tls.pcapng", tmp_path / "keys.log"
    encrypted.write_bytes(samples.encrypted(exchange(), tls))
    keys.write_bytes(tls.keylog)
    plain, opened = read_recorded(capture, PROFILE), read_recorded(encrypted, PROFILE, keys)
    assert opened.recording == plain.recording
    assert opened.plan == plain.plan
    assert opened.remarks == plain.remarks == ()
    with pytest.raises(InputError) as refused:
        read_recorded(encrypted, PROFILE)
    none, why = refused.value.problems
    assert none.found == "none in 1 sessions (0 other messages of WLCs)"
    assert why.expected == "tunnels with their keys"
    line = "CLIENT_RANDOM" if version == "1.2" else "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
    assert line in why.found


def test_a_session_without_its_keys_is_named_beside_one_that_is_played(tmp_path: Path) -> None:
    path = tmp_path / "both.pcapng"
    other = samples.exchange(PROFILE, [*samples.opening(), *samples.notified(40)], 1)
    path.write_bytes(samples.captured([exchange()]) + samples.encrypted(other, session(contexts("1.3"))))
    made = read_recorded(path, PROFILE)
    assert made.messages == 40
    (remark,) = made.remarks
    assert remark.startswith(f"{path}: not decrypted: ")
    assert "192.0.2.9:40001" in remark


def test_what_was_left_out_of_a_capture_is_said(capture: Path) -> None:
    whole = capture.read_bytes()
    capture.write_bytes(whole[: len(whole) * 3 // 4])
    made = read_recorded(capture, PROFILE)
    assert 0 < made.messages < 40
    (remark,) = made.remarks
    assert remark.startswith(f"{capture}: the file ends within the block or packet at byte ")


def test_of_a_long_capture_the_beginning_is_played(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MOST_BYTES", 1_500)
    made = read_recorded(capture, PROFILE)
    assert 10 < made.messages < 30
    assert made.remarks == (f"{capture}: only its first 0 MiB of plaintext are played",)


def test_tracks_that_no_endpoint_plays_are_said(tmp_path: Path) -> None:
    path = tmp_path / "tunnels.pcapng"
    path.write_bytes(samples.captured([exchange(), samples.exchange(PROFILE, samples.notified(40), 1)]))
    for scale, said in (
        (1, ["only 1 of 2 tracks are played: an endpoint plays one of them (--scale, load.scale)"]),
        (2, []),
    ):
        source = read_source(source_of(ReplayOptions(path, scale=scale)))
        assert source.recorded is not None
        first, *others = played(source.recorded, plan_of(source)[0])
        assert first == f"{path}: 80 messages of 2 of 2 sessions in 0.8 s"
        assert others == said


def test_a_capture_of_datagrams_is_refused_with_how_many(tmp_path: Path) -> None:
    path = tmp_path / "udp.pcapng"
    data = bytearray(samples.captured([exchange()]))
    header = bytes.fromhex("4500")
    at = data.find(header)
    while at >= 0:
        if data[at + 9] == 6:  # TCP
            data[at + 9] = 17
            data[at + 10 : at + 12] = bytes(2)
        at = data.find(header, at + 1)
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_recorded(path, PROFILE)
    none, why = refused.value.problems
    assert none.found == "no session"
    assert why.expected == "TCP, whole"
    assert why.found.endswith(" not TCP")
