"""What a scenario's values say together about the tunnel and who is let in: impossible ones, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.errors import Problem
from loadgen.scenario.schema import DEFAULT_GROUPS, AaaTable, Scenario
from loadgen.units import NS_PER_MS, NS_PER_S

# Delay and poll tick. Source: the trace of a 3850, once refused and once let in; see docs/authentication.md.
_PROFILES = {"immediate": (0, 0), "3850": (NS_PER_S, 300 * NS_PER_MS)}
# Each has a counter.
MAX_LISTS = 4
_STATIC_RSA_VERSIONS = ("1.0", "1.1", "1.2")
_STRONG_VERSIONS = ("1.2", "1.3")


def poll_tick_ns(aaa: AaaTable) -> int:
    """How often a WLC looks at a connection whose handshake is under way; 0: whenever something came."""
    return _PROFILES[aaa.profile][1] if aaa.poll_tick is None else int(aaa.poll_tick)


def list_delays_ns(aaa: AaaTable) -> tuple[int, ...]:
    """How long each auth list takes to answer, in the order in which they are asked."""
    usual = _PROFILES[aaa.profile][0] if aaa.delay is None else int(aaa.delay)
    return tuple(usual if each.delay is None else int(each.delay) for each in aaa.lists) or (usual,)


def check_authentication(scenario: Scenario) -> Iterator[Problem]:
    """Combinations of `[tls]`, `[wlc]` and `[mse]` that cannot be."""
    tls, wlc, mse = scenario.tls, scenario.wlc, scenario.mse
    versions = _STRONG_VERSIONS if tls.strong_cipher else _STATIC_RSA_VERSIONS
    switch = f"tls.strong_cipher = {str(tls.strong_cipher).lower()}"
    if tls.version not in versions:
        yield Problem("tls.version", f"one of {', '.join(versions)} with {switch}", f'"{tls.version}"')
    if not tls.strong_cipher and tls.key != "rsa-2048":
        yield Problem("tls.key", f'"rsa-2048" with {switch} (static RSA key exchange)', f'"{tls.key}"')
    if not tls.groups:
        yield Problem("tls.groups", 'at least one group, such as "X25519"', "none")
    elif not tls.strong_cipher and tls.groups != DEFAULT_GROUPS:
        yield Problem("tls.groups", "tls.strong_cipher = true: static RSA exchanges keys without a group", "false")
    if not wlc.authenticate and wlc.aaa != AaaTable():
        yield Problem("wlc.aaa", "wlc.authenticate = true, to ask anybody", "false")
    if wlc.aaa.lists and wlc.auth_list is not None:
        yield Problem("wlc.auth_list", "either this or wlc.aaa.lists", "both")
    if len(wlc.aaa.lists) > MAX_LISTS:
        yield Problem("wlc.aaa.lists", f"at most {MAX_LISTS}", str(len(wlc.aaa.lists)))
    if sum(list_delays_ns(wlc.aaa)) + poll_tick_ns(wlc.aaa) >= mse.setup_timeout > 0:
        yield Problem("mse.setup_timeout", "longer than all lists of wlc.aaa take", "not longer")
    if mse.identities:
        if mse.certificate != "ssc":
            found = f'"{mse.certificate}", and mse.identities'
            yield Problem("mse.certificate", "no files in mse.identities, which have their certificates", found)
        if mse.validity is not None:
            yield Problem("mse.validity", "no files in mse.identities, which have theirs", "both")
    if mse.certificate == "none" and mse.validity is not None:
        yield Problem("mse.validity", 'mse.certificate = "ssc" or "lsc"', '"none"')
