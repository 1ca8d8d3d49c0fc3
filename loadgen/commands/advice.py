"""What to try after a run in which no session came up: the order of the sides, and the very command to look closer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadgen.hosts import endpoint_shown
from loadgen.prepare.job import Source
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.reading import relative_to
from loadgen.scenario.schema import Scenario
from loadgen.transports import TRANSPORTS

NMSP_PORT = 16113


def advice(source: Source, plan: Plan, counters: Mapping[str, int]) -> list[str]:
    """A line for each thing to try, after a run in which no session came up. Args: counters: of the run."""
    if plan.use is Use.BOTH:
        return []
    wlc = plan.wlcs[0]
    where = endpoint_shown(wlc.host, wlc.port or NMSP_PORT)
    return [*_order(plan, counters, where), _closer(source, plan, where)]


def _order(plan: Plan, counters: Mapping[str, int], where: str) -> list[str]:
    """The side that is dialed has to be there first."""
    errors = {name for name, count in counters.items() if name.startswith("errors.") and count}
    if not plan.use.plays_mse or not errors or not errors <= TRANSPORTS[plan.transport].silence:
        return []
    return [f"nobody answered at {where}: start the WLCs first, or wait for them here with --wait-for-target 30s"]


def _closer(source: Source, plan: Plan, where: str) -> str:
    scenario, path = source.scenario, source.path
    before, identity = "", []
    if plan.use.plays_mse:
        words = ["loadgen", "check", "wlc", where]
        if scenario.mse.identities:
            identity = ["--identity", str(relative_to(path, scenario.mse.identities[0]))]
        else:  # those of this run are gone with it
            before = "loadgen identity new --out keys && "
            identity = ["--identity", "keys/mse-*.pem"]
        words += _file("--trust", scenario.tls.trust, path)
        words += _names("--subscribe", scenario.mse.subscribe, "rssi-ms")
    else:
        words = ["loadgen", "check", "mse", "--listen", where]
        words += _names("--offer", scenario.wlc.subservices, "catalyst-9800")
    words += _same_for_both(scenario, path)
    shown = shlex.join([*words, *identity]).replace("'keys/mse-*.pem'", "keys/mse-*.pem")
    return f"to look at one tunnel step by step: {before}{shown}"


def _same_for_both(scenario: Scenario, path: Path) -> list[str]:
    words = [] if scenario.wlc.auth_list is None else ["--auth-list", str(relative_to(path, scenario.wlc.auth_list))]
    if not scenario.wlc.authenticate:
        words = ["--unauthenticated"]
    if scenario.transport != "tls":
        words += ["--transport", scenario.transport]
    if scenario.tls.key_hash != "sha256":
        words += ["--key-hash", scenario.tls.key_hash]
    if scenario.tls.hash_over != "spki":
        words += ["--hash-over", scenario.tls.hash_over]
    if not scenario.tls.strong_cipher:
        words += ["--strong-cipher", "off"]
    if scenario.tls.old_certificates:
        words.append("--old-certificates")
    return words + ([] if scenario.profile is None else ["--profile", str(relative_to(path, scenario.profile))])


def _file(option: str, value: str, path: Path) -> list[str]:
    return [] if value in ("fleet", "any") else [option, str(relative_to(path, value))]


def _names(option: str, value: str | Sequence[str], default: str) -> list[str]:
    shown = value if isinstance(value, str) else ",".join(value)
    return [] if shown == default else [option, shown]
