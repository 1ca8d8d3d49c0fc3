"""Identities for the tests of this folder; keys are made once, their bytes never matter."""

from __future__ import annotations

import pytest
from identity_samples import MAC, NOW

from loadgen.identity.credentials import Authority, Identity, new_key, self_signed


@pytest.fixture(scope="session")
def ssc_p256() -> Identity:
    return self_signed(MAC, new_key("p256"), NOW)


@pytest.fixture(scope="session")
def ssc_rsa() -> Identity:
    return self_signed("00:50:56:9c:34:8a", new_key("rsa-2048"), NOW)


@pytest.fixture(scope="session", params=["p256", "rsa-2048"])
def ssc(request: pytest.FixtureRequest, ssc_p256: Identity, ssc_rsa: Identity) -> Identity:
    return ssc_p256 if request.param == "p256" else ssc_rsa


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.new("loadgen test run", NOW)


@pytest.fixture(scope="session", params=["p256", "rsa-2048"])
def issued(request: pytest.FixtureRequest, authority: Authority) -> Identity:
    return authority.issue("00:11:22:33:44:55", new_key(request.param), NOW)
