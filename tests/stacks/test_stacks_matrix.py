"""Both checks at TLS stacks of other make: the first cause is the right one, and whoever is refused reads why.

`stacks_matrix.py` prints all of it. Here each is met where it is not listed, those in this process also where it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stacks_makes import MAKES
from stacks_matrix import as_mse, as_wlc
from stacks_programs import Make, files_in

# It lets everybody in, and hangs up on whom it does not like.
AFTERWARDS = ("tlslite-ng",)
# They look at a WLC's certificate when the handshake is over, Node.js up to TLS 1.2.
LETS_US_IN_FIRST = ("Node.js", "tlslite-ng")
# They hang up without an alert: these always, and the sockets of python-mbedtls when a handshake has failed.
WITHOUT_A_WORD = ("BearSSL", "Mbed TLS", "Node.js", "s2n-tls")
# They take seconds to build, or a minute the first time.
SLOW = ("Botan", "Go", "Haskell tls", "rustls")
# One version of those that are programs; `stacks_matrix.py` has the others.
EACH = [
    pytest.param(make, version, marks=pytest.mark.skipif(bool(make.missing), reason=make.missing))
    for make in MAKES
    if make.name not in SLOW
    for version in (make.versions if make.quick else ("1.2",))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files_in(tmp_path_factory.mktemp("files"))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has no time for a Java program, half a second is short."""
    monkeypatch.setattr("loadgen.transport.parting._PARTING_NS", 30 * 10**9)


@pytest.mark.parametrize(("make", "version"), EACH, ids=str)
def test_an_mse_that_is_not_listed(make: Make, version: str, folder: Path) -> None:
    met = as_mse(make, version, folder, listed=False)
    assert (met.report.failed, met.report.kind) == ("listed", "key_hash_not_listed")
    assert met.report.causes[0].name == "not_listed"
    assert re.search(make.heard, met.said), met.said


@pytest.mark.parametrize(("make", "version"), EACH, ids=str)
def test_a_wlc_that_does_not_list_us(make: Make, version: str, folder: Path) -> None:
    met = as_wlc(make, version, folder, listed=False)
    if make.name in AFTERWARDS:
        assert met.report.failed == "capability"
        assert met.report.causes[0].name == "wlc_hangs_up"
        return
    assert met.report.failed in ("accepted", "listed")
    assert met.report.kind.startswith("alert_") or make.name in WITHOUT_A_WORD
    assert met.report.causes[0].name == "not_listed"


@pytest.mark.parametrize(("make", "version"), EACH, ids=str)
def test_an_mse_that_does_not_take_our_certificate(make: Make, version: str, folder: Path) -> None:
    met = as_mse(make, version, folder, listed=True, trusts=False)
    if make.name in LETS_US_IN_FIRST:
        assert met.report.failed == "capability"
        assert met.report.causes[0].name == "mse_hangs_up"
        return
    assert met.report.failed == "tls"
    assert met.report.causes[0].name == "mse_refuses_wlc"


@pytest.mark.parametrize(("make", "version"), [each for each in EACH if each.values[0].quick], ids=str)
def test_one_that_is_listed(make: Make, version: str, folder: Path) -> None:
    assert as_mse(make, version, folder, listed=True).up
    assert as_wlc(make, version, folder, listed=True).up
