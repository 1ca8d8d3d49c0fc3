"""What decides who is let in: combinations that cannot be, how long it takes, and what a digest makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario_samples import SMALL, plan_of

from loadgen.errors import InputError
from loadgen.scenario.authentication import list_delays_ns, poll_tick_ns
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schema import AaaTable, ListSource
from loadgen.units import Duration, Offset

MS = 10**6
WEAK = "tls.strong_cipher = false\ntls.key = 'rsa-2048'\n"


def problems_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "s.toml"
    path.write_text(SMALL + text, "utf-8")
    with pytest.raises(InputError) as refusal:
        load_scenario(path)
    return [str(problem).removeprefix(f"{path}: ") for problem in refusal.value.problems]


IMPOSSIBLE = {
    "tls.version = '1.0'": ['tls.version: expected one of 1.2, 1.3 with tls.strong_cipher = true, found "1.0"'],
    "tls.version = 1.1": ['tls.version: expected one of 1.2, 1.3 with tls.strong_cipher = true, found "1.1"'],
    WEAK + "tls.version = '1.3'": [
        'tls.version: expected one of 1.0, 1.1, 1.2 with tls.strong_cipher = false, found "1.3"'
    ],
    "tls.strong_cipher = false": [
        'tls.key: expected "rsa-2048" with tls.strong_cipher = false (static RSA key exchange), found "p256"'
    ],
    WEAK + "tls.groups = ['P-256']": [
        "tls.groups: expected tls.strong_cipher = true: static RSA exchanges keys without a group, found false"
    ],
    "tls.groups = []": ['tls.groups: expected at least one group, such as "X25519", found none'],
    "tls.groups = ['X25519:P-256']": ["tls.groups[0]: expected"],
    "tls.groups = ['DEFAULT']": ["tls.groups[0]: expected"],
    "tls.strong_cipher = 'off'": ["tls.strong_cipher: expected bool"],
    "wlc.authenticate = false\nwlc.aaa.delay = '1s'": [
        "wlc.aaa: expected wlc.authenticate = true, to ask anybody, found false"
    ],
    "wlc.auth_list = 'a'\nwlc.aaa.lists = [{ auth_list = 'b' }]": [
        "wlc.auth_list: expected either this or wlc.aaa.lists, found both"
    ],
    "wlc.aaa.lists = [{}, {}, {}, {}, {}]": ["wlc.aaa.lists: expected at most 4, found 5"],
    "wlc.aaa.lists = [{ file = 'b' }]": [
        "wlc.aaa.lists[0].file: expected one of auth_list, delay, found an unknown key"
    ],
    "wlc.aaa.profile = '3850'\nmse.setup_timeout = '1300ms'": [
        "mse.setup_timeout: expected longer than all lists of wlc.aaa take, found not longer"
    ],
    "wlc.aaa.profile = '9800'": ["wlc.aaa.profile: expected"],
    "wlc.aaa.delay = '-1s'": ["wlc.aaa.delay: expected a duration such as"],
    "mse.identities = ['a.pem']\nmse.certificate = 'lsc'\nmse.validity = '1h'": [
        "mse.certificate: expected no files in mse.identities, which have their certificates, "
        'found "lsc", and mse.identities',
        "mse.validity: expected no files in mse.identities, which have theirs, found both",
    ],
    "mse.certificate = 'none'\nmse.validity = '1h'": [
        'mse.validity: expected mse.certificate = "ssc" or "lsc", found "none"'
    ],
    "mse.certificate = 'mic'": ["mse.certificate: expected"],
    "mse.clock_skew = '1 hour'": ['mse.clock_skew: expected a duration such as "90s", or "-90s", found "1 hour"'],
    "wlc.clock_skew = 3600": ["wlc.clock_skew: expected"],
}


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_what_cannot_be_is_said(tmp_path: Path, text: str) -> None:
    found = problems_of(tmp_path, text)
    assert len(found) == len(IMPOSSIBLE[text])
    for problem, begin in zip(found, IMPOSSIBLE[text], strict=True):
        assert problem.startswith(begin)


def test_how_long_an_answer_takes() -> None:
    assert list_delays_ns(AaaTable()) == (0,)
    assert poll_tick_ns(AaaTable()) == 0
    field = AaaTable(profile="3850")
    assert (list_delays_ns(field), poll_tick_ns(field)) == ((1000 * MS,), 300 * MS)
    own = AaaTable(profile="3850", delay=Duration(20 * MS), poll_tick=Duration(0))
    assert (list_delays_ns(own), poll_tick_ns(own)) == ((20 * MS,), 0)
    several = AaaTable(
        profile="3850", lists=(ListSource("a", Duration(5 * MS)), ListSource(), ListSource("b", Duration(0)))
    )
    assert list_delays_ns(several) == (5 * MS, 1000 * MS, 0)


@pytest.mark.parametrize(("text", "ns"), [("90s", 90 * 10**9), ("-1m30s", -90 * 10**9), ("0s", 0), ("-0s", 0)])
def test_an_offset(text: str, ns: int) -> None:
    assert Offset.parse(text) == ns


@pytest.mark.parametrize("text", ["", "-", "--1s", "1", "- 1s", "+1s", "-9000h"])
def test_no_offset(text: str) -> None:
    with pytest.raises(ValueError, match="Expected a duration"):
        Offset.parse(text)


_CHANGES = [
    WEAK,
    WEAK + "tls.version = '1.0'",
    "wlc.aaa.profile = '3850'",
    "wlc.aaa.poll_tick = '1ms'",
    "wlc.aaa.lists = [{ delay = '1ms' }, {}]",
    "mse.certificate = 'lsc'",
    "mse.certificate = 'none'",
    "mse.validity = '1h'",
    "mse.clock_skew = '1s'",
    "wlc.clock_skew = '1s'",
]


def test_a_digest_tells_who_is_let_in_how(tmp_path: Path) -> None:
    digests = [plan_of(tmp_path, SMALL + change).digest for change in ("", *_CHANGES)]
    assert len(set(digests)) == len(digests)


def test_what_was_there_before_has_the_digest_that_it_had(tmp_path: Path) -> None:
    spelt_out = (
        "tls.strong_cipher = true\nwlc.aaa.profile = 'immediate'\nwlc.aaa.lists = [{}]\nwlc.trust = 'any'\n"
        "mse.certificate = 'ssc'\nmse.clock_skew = '0s'\nwlc.clock_skew = '0s'"
    )
    assert plan_of(tmp_path, SMALL + spelt_out).digest == plan_of(tmp_path, SMALL).digest
