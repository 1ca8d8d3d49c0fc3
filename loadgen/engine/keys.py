"""Keys for a run: made for it, or read from the files that the scenario names."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from loadgen.engine.supervisor import Keys
from loadgen.errors import InputError, Problem
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import Authority, Identity, load_identity, new_key, self_signed
from loadgen.identity.devices import load_auth_list
from loadgen.identity.files import read_bounded
from loadgen.scenario.load import relative_to
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.schema import Scenario

# Making an RSA key takes about 50 ms; a fleet shares this many key pairs, each with a certificate of its own.
_RSA_KEYS = 8
_MAX_PEM_BYTES = 1 << 20


def make_keys(scenario: Scenario, scenario_path: Path, plan: Plan, now: datetime) -> Keys:
    """Identities of both fleets as far as they are ours, the WLCs' auth list, and what the MSEs trust.

    Raises:
        InputError: a file that the scenario names is missing or wrong, or an option lacks one.
    """
    problems: list[Problem] = []
    identities: list[Identity] = []
    auth_list: AuthList | None = None
    if plan.use.plays_mse:
        for name in scenario.mse.identities:
            try:
                identities.append(load_identity(relative_to(scenario_path, name)))
            except InputError as error:
                problems.extend(error.problems)
        if not scenario.mse.identities:
            identities = [self_signed(mac, new_key(scenario.tls.key), now) for mac in plan.mse_macs]
    if plan.use.plays_wlc and scenario.wlc.authenticate:
        if scenario.wlc.auth_list is not None:
            try:
                auth_list = load_auth_list(relative_to(scenario_path, scenario.wlc.auth_list), scenario.tls.hash_over)
            except InputError as error:
                problems.extend(error.problems)
        elif plan.use is Use.SERVE_WLC:
            expected = "a file of key hashes to let MSEs in by (or wlc.authenticate = false)"
            problems.append(Problem(f"{scenario_path}: wlc.auth_list", expected, "nothing"))
        else:
            auth_list = AuthList.of(identities, scenario.tls.key_hash, scenario.tls.hash_over)
    trusted = _trusted(scenario, scenario_path, plan, problems)
    if problems:
        raise InputError(problems)
    wlcs: list[Identity] = []
    if plan.use.plays_wlc:
        authority = Authority.new(f"loadgen {plan.scenario}"[:64], now, scenario.tls.key)
        wlcs = _wlc_identities(authority, scenario, plan, now)
        if plan.use.plays_mse and scenario.tls.trust == "fleet":
            trusted = authority.certificate_pem
    return Keys(tuple(wlcs), tuple(identities), auth_list, trusted)


def _wlc_identities(authority: Authority, scenario: Scenario, plan: Plan, now: datetime) -> list[Identity]:
    count = len(plan.wlcs) if scenario.tls.key == "p256" else min(len(plan.wlcs), _RSA_KEYS)
    pool = [new_key(scenario.tls.key) for _ in range(count)]
    return [authority.issue(wlc.mac, pool[index % count], now) for index, wlc in enumerate(plan.wlcs)]


def _trusted(scenario: Scenario, scenario_path: Path, plan: Plan, problems: list[Problem]) -> bytes | None:
    trust = scenario.tls.trust
    # "fleet" means the authority of this run; somebody else's WLC has another, which only a file can name.
    if trust in ("any", "fleet") or not plan.use.plays_mse:
        return None
    try:
        path = relative_to(scenario_path, trust)
        pem = read_bounded(path, _MAX_PEM_BYTES, 'PEM certificates, or "fleet", or "any"')
        x509.load_pem_x509_certificates(pem)
    except InputError as error:
        problems.extend(error.problems)
        return None
    except ValueError as error:
        problems.append(Problem(str(path), "PEM certificates", str(error)))
        return None
    return pem
