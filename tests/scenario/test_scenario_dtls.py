"""`transport = "dtls"`: what it adds to a scenario and a plan, and what it cannot be together with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from scenario_samples import SMALL, plan_of, problems_of

from loadgen.nmsp import profile as module
from loadgen.nmsp.profile import reference_profile

DTLS = f'transport = "dtls"\n{SMALL}'


def test_the_plan_has_it(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, DTLS, "dtls.mtu=576", "dtls.retransmit=250ms", "session.response_timeout=2s",
        "session.retransmit_interval=5s", "session.max_retransmits=1",
    )  # fmt: skip
    assert plan.transport == "dtls"
    assert (plan.dtls.mtu, plan.dtls.retransmit) == (576, 250_000_000)
    assert msgspec.structs.astuple(plan.session)[2:] == (2 * 10**9, 5 * 10**9, 1)


def test_defaults(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, DTLS)
    assert (plan.dtls.mtu, plan.dtls.retransmit) == (1500, 10**9)
    assert msgspec.structs.astuple(plan.session)[2:] == (10**9, 3 * 10**9, 5)
    assert plan_of(tmp_path, SMALL).transport == "tls"


def test_the_digest_has_it_with_dtls_only(tmp_path: Path) -> None:
    """Results from before there was another transport stay comparable."""
    plain = plan_of(tmp_path, SMALL)
    assert plan_of(tmp_path, SMALL, "session.max_retransmits=1", "transport=tls").digest == plain.digest
    over_dtls = [
        plan_of(tmp_path, DTLS, *overrides).digest
        for overrides in ((), ("dtls.mtu=1400",), ("dtls.retransmit=2s",), ("session.max_retransmits=1",))
    ]
    assert len({plain.digest, *over_dtls}) == 5


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["tls.version='1.3'"], 'tls.version: expected "1.2", with transport = "dtls", found "1.3"'),
        (["dtls.retransmit=0s"], "dtls.retransmit: expected more than 0, found 0"),
        (["session.response_timeout=0s"], "session.response_timeout: expected more than 0, found 0"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, overrides: list[str], problem: str) -> None:
    assert problem in problems_of(tmp_path, DTLS, *overrides)


def test_keys_of_datagrams_need_datagrams(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SMALL, "dtls.mtu=1400") == ['dtls: expected transport = "dtls", found "tls"']


def test_requests_and_their_answers_must_fit_too(tmp_path: Path) -> None:
    groups = ",".join(f'"group-{number}"' for number in range(20))
    found = problems_of(tmp_path, DTLS, f"requests.subscribe_groups={{rate=1, groups=[{groups}]}}", "dtls.mtu=700")
    size = 22 + 20 * 32
    expected = f"at least {size + 48 + 93}, for subscribe_groups requests of {size} bytes (frames are not split)"
    assert found == [f"dtls.mtu: expected {expected}, found 700"]
    asking = ("requests.wips_config={rate=1, signatures=64}", "requests.measurement={rate=1}")
    assert plan_of(tmp_path, DTLS, *asking, "dtls.mtu=576").requests
    text = (Path(module.__file__).parent / "reference.toml").read_text("utf-8")
    text = text.replace("max = 64", "max = 16")
    head, name, body = text.partition("[records.client_statistics]")
    assert name
    (tmp_path / "wide.toml").write_text(head + name + body.replace("size = 52", "size = 900", 1), "utf-8")
    wide = ("profile=wide.toml", "requests.statistics={rate=1}", "mse.subscribe=['rssi-ms','stats-ms']")
    (problem,) = problems_of(tmp_path, DTLS, *wide, "dtls.mtu=1000")
    assert "for answers to statistics requests of 922 bytes" in problem


def test_what_is_repeated_is_part_of_the_digest_with_requests_too(tmp_path: Path) -> None:
    asking = "requests.capability={rate=1}"
    digests = {
        plan_of(tmp_path, text, *overrides).digest
        for text in (SMALL, DTLS)
        for overrides in ((), (asking,), (asking, "session.max_retransmits=1"))
    }
    assert len(digests) == 6


@pytest.mark.parametrize("readings", [16, "[0,16]"])
def test_a_notification_that_no_datagram_can_carry(tmp_path: Path, readings: object) -> None:
    """The wire profile is 12 + 32 + 14 x 16 = 268 bytes at most; a wider one does not fit."""
    assert plan_of(tmp_path, DTLS, f"wlc.readings={readings}", "dtls.mtu=576").dtls.mtu == 576
    text = (Path(module.__file__).parent / "reference.toml").read_text("utf-8")
    head, name, body = text.partition("[messages.measurement_notify]")
    (tmp_path / "wide.toml").write_text(head + name + body.replace("size = 32", "size = 400", 1), "utf-8")
    most = 12 + 400 + 14 * 16
    found = problems_of(tmp_path, DTLS, f"wlc.readings={readings}", "dtls.mtu=600", "profile=wide.toml")
    expected = f"at least {most + 48 + 93}, for notifications of {most} bytes (frames are not split)"
    assert found == [f"dtls.mtu: expected {expected}, found 600"]
    assert reference_profile().notify_bytes(16) == 268
