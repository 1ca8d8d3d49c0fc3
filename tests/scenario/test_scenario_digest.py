"""The digest of a plan: keys that come later leave it as it is, and no default changes unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import fastjsonschema
import msgspec
import pytest
from click.testing import CliRunner
from scenario_samples import SMALL, plan_of

from loadgen.cli.schema import schema
from loadgen.scenario.digest import chosen_of
from loadgen.scenario.plan import Plan, PlannedLoad
from loadgen.scenario.requests import PlannedRequest
from loadgen.scenario.schedule import RateStage
from loadgen.scenario.schema import SessionTable
from loadgen.scenario.site_plan import PlannedSite
from loadgen.strict import read_unit, write_unit
from loadgen.units import Duration

# Of those that the validator knows the nearest; of what the schema uses, it has the same.
DRAFT = "http://json-schema.org/draft-07/schema"
SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.toml"))


# -- keys that come later ----------------------------------------------------------------------------------------------


class LaterTimers(SessionTable, frozen=True):
    jitter: Duration = Duration(0)


class LaterStage(RateStage, frozen=True):
    shape: str = "straight"


class LaterRequest(PlannedRequest, frozen=True):
    retries: int = 3


class LaterLoad(PlannedLoad, frozen=True, kw_only=True):
    phases: tuple[int, ...] = ()


class LaterSite(PlannedSite, frozen=True):
    storeys: int = 1


class Faults(msgspec.Struct, frozen=True):
    """A whole table that comes later."""

    per_s: float = 0.0
    kinds: tuple[str, ...] = ("reset",)


class LaterPlan(Plan, frozen=True):
    faults: Faults = Faults()


def later(of: msgspec.Struct, kind: type[Any], **keys: object) -> Any:
    """The same value of a class that has a key more."""
    return kind(**{name: getattr(of, name) for name in of.__struct_fields__}, **keys)


TEXT = SMALL + "requests.capability.rate = 5\nload.stages = [{ ramp = '1s' }, { hold = '2s' }]"


def grown(plan: Plan, /, **keys: dict[str, object]) -> Plan:
    """The plan of a program with more keys. Args: keys: what is chosen of them, by the table that has them."""
    load = later(plan.load, LaterLoad, **keys.get("load", {}))
    stages = tuple(later(stage, LaterStage, **keys.get("stages", {})) for stage in plan.load.stages)
    made = msgspec.structs.replace(
        plan,
        session=later(plan.session, LaterTimers, **keys.get("session", {})),
        load=msgspec.structs.replace(load, stages=stages),
        requests=tuple(later(each, LaterRequest, **keys.get("requests", {})) for each in plan.requests),
        site=None if plan.site is None else later(plan.site, LaterSite, **keys.get("site", {})),
    )
    grown: Plan = later(made, LaterPlan, **keys.get("plan", {}))
    return grown


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_key_that_comes_later_leaves_digests_as_they_are(path: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, path.read_text("utf-8"))
    assert grown(plan).digest == plan.digest


def test_a_key_that_comes_later_counts_once_it_is_given(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TEXT)
    chosen: list[dict[str, dict[str, object]]] = [
        {"session": {"jitter": Duration(1)}},
        {"load": {"phases": (1,)}},
        {"stages": {"shape": "sine"}},
        {"requests": {"retries": 2}},
        {"plan": {"faults": Faults(per_s=1.0)}},
        {"plan": {"faults": Faults(kinds=("reset", "stall"))}},
    ]
    digests = {plan.digest, *(grown(plan, **keys).digest for keys in chosen)}
    assert len(digests) == 1 + len(chosen)


def test_a_site_s_key_that_comes_later_counts_once_it_is_given(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 'name = "s"\nload.kind = "site"')
    assert grown(plan).digest == plan.digest != grown(plan, site={"storeys": 2}).digest


def test_what_is_at_its_default_is_the_same_spelt_out_or_not(tmp_path: Path) -> None:
    assert chosen_of(plan_of(tmp_path).session) == {}
    spelt_out = "session = { echo_interval = '15s', max_retransmits = 5 }\nmse.connect_per_s = 250\ntls.key = 'p256'\n"
    assert plan_of(tmp_path, spelt_out + SMALL).digest == plan_of(tmp_path, SMALL).digest


# -- defaults ----------------------------------------------------------------------------------------------------------

# A plan's values that may be left out, by class. A default that changes is another load for all plans that leave it
# out: write the new one here, and raise `_DEFAULTS` in loadgen/scenario/digest.py. A key that is new: add it here only.
DEFAULTS: dict[str, dict[str, object]] = {
    "Plan": {
        "thresholds": [],
        "first": 0,
        "sessions_per_user": 0,
        "requests": [],
        "site": None,
        "transport": "tls",
        "carried": [64, 64, 64],
        "carried_of": [],
        "replay": None,
        "bind": [],
    },
    "PlannedWlcs": {"authenticate": True, "clock_skew": "0s", "stations": 50, "list_delays_ns": [0], "poll_tick_ns": 0},
    "PlannedMses": {
        "certificate": "ssc",
        "validity": None,
        "clock_skew": "0s",
        "connect_per_s": 250.0,
        "setup_timeout": "10s",
    },
    "TlsShape": {
        "version": "1.2",
        "strong_cipher": True,
        "old_certificates": False,
        "groups": ["X25519", "P-256"],
        "key": "p256",
        "key_hash": "sha256",
        "hash_over": "spki",
    },
    "SessionTable": {
        "echo_interval": "15s",
        "dead_interval": "30s",
        "response_timeout": "1s",
        "retransmit_interval": "3s",
        "max_retransmits": 5,
    },
    "PlannedLoad": {"backlog": "2s", "resumed": 0.0, "burst": 1},
    "RateStage": {"counted": True},
    "PlannedThreshold": {"abort_on_fail": False, "delay_ns": 0},
    "PlannedRequest": {"subservices": [], "device": "", "groups": [], "signatures": 0, "delay_ns": 0},
    "PlannedSite": {"switch": None},
    "PlannedReplay": {"macs": "local", "aps": False},
    "Dtls": {"mtu": 1500, "retransmit": "1s"},
}


def structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """All that a plan is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from structs_in(field.type)
    for arg in get_args(kind):
        yield from structs_in(arg)


def test_no_default_changes_unseen() -> None:
    """Whatever is left out of a digest has to mean the same for ever."""
    found = {
        kind.__name__: {
            field.name: json.loads(msgspec.json.encode(field.default, enc_hook=write_unit))
            for field in msgspec.structs.fields(kind)
            if field.default is not msgspec.NODEFAULT and not isinstance(field.default, msgspec.Struct)
        }
        for kind in structs_in(Plan)
    }
    assert {name: defaults for name, defaults in found.items() if defaults} == DEFAULTS


# -- plan.json ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_plan_read_from_its_json_is_that_plan(path: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, path.read_text("utf-8"), "session.echo_interval=1500ms", "mse.clock_skew=-90s")
    text = msgspec.json.encode(plan, enc_hook=write_unit)
    assert json.loads(text)["session"]["echo_interval"] == "1500ms"
    said = CliRunner().invoke(schema, ["plan"])
    fastjsonschema.validate(json.loads(said.stdout) | {"$schema": DRAFT}, json.loads(text))
    read = msgspec.json.decode(text, type=Plan, dec_hook=read_unit)
    assert (read, read.digest) == (plan, plan.digest)
