"""Both profiles: the one that comes with the package, and a made-up one that differs in everything it may."""

from __future__ import annotations

import pytest
from nmsp_samples import OTHER_TOML

from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile


@pytest.fixture(scope="session")
def other_profile(tmp_path_factory: pytest.TempPathFactory) -> WireProfile:
    path = tmp_path_factory.mktemp("profile") / "other.toml"
    path.write_text(OTHER_TOML, "utf-8")
    return load_profile(path)


@pytest.fixture(scope="session", params=["reference", "other"])
def profile(request: pytest.FixtureRequest, other_profile: WireProfile) -> WireProfile:
    return reference_profile() if request.param == "reference" else other_profile
