"""Read a scenario file, apply `--set`, and check what its values decide together. All problems come at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.hosts import parse_endpoint
from loadgen.nmsp import services
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile
from loadgen.scenario.authentication import check_authentication
from loadgen.scenario.datagrams import check_datagrams
from loadgen.scenario.requests import check_requests
from loadgen.scenario.schema import DIMENSIONS, MOST_OF_A_FLEET, NAMED_MASKS, Scenario, StageTable, Subservices
from loadgen.scenario.site import check_site, check_switch
from loadgen.scenario.sources import check_bind
from loadgen.strict import (
    convert_leniently_untrusted,
    in_source,
    one_of,
    parse_toml_untrusted,
    read_toml_untrusted,
    shown,
)

_PATH = re.compile(r"\w+(\[\d{1,6}\]|\.\w+)*")
# Keys of [load] that only one kind of it has.
_ONLY_FOR = {
    **dict.fromkeys(("wire_rate", "interval", "burst"), "notify"),
    **dict.fromkeys(("concurrency", "resumed"), "handshake"),
    **dict.fromkeys(("capture", "capture_keylog", "scale", "speed", "macs", "aps"), "replay"),
}
# Of these a load of notifications has one.
_RATES = ("rate", "wire_rate", "interval")
STAGE_KINDS = ("ramp", "warmup", "hold")
_STEP = re.compile(r"\w+|\[\d+\]")


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> tuple[Scenario, WireProfile]:
    """Read and check a scenario and the wire profile that it names.

    Args:
        overrides: `path=value` as given to `--set`; the value is TOML, or else taken as text.

    Raises:
        InputError: every problem, with the file and the path in it.
    """
    return scenario_untrusted(read_toml_untrusted(path, "a scenario"), path, overrides)


def scenario_untrusted(
    data: dict[str, Any], path: Path, overrides: Sequence[str] = (), profile: WireProfile | None = None
) -> tuple[Scenario, WireProfile]:
    """Check a parsed scenario.

    Args:
        data: is changed by the overrides.
        path: where it comes from, for messages and for the files that it names.
        profile: the one that it names; read if None.

    Raises:
        InputError: every problem, with the file and the path in it.
    """
    problems: list[Problem] = []
    for override in overrides:
        try:
            _apply(data, override)
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    scenario, problems = convert_leniently_untrusted(data, Scenario)
    wrong = [problem.where for problem in problems]
    problems = in_source(problems, str(path))
    if scenario is None:
        raise InputError(problems)
    if profile is None:
        profile = reference_profile()
        if scenario.profile is not None:
            try:
                profile = load_profile(relative_to(path, scenario.profile))
            except InputError as error:
                problems.extend(error.problems)
    # What follows from a default in the place of a wrong value is not the user's problem.
    if "load.kind" in wrong:
        wrong.append("load")
    found = [p for p in _check(scenario, profile) if not any(_related(p.where, place) for place in wrong)]
    problems += in_source(found, str(path))
    if problems:
        raise InputError(problems)
    return scenario, profile


def _related(where: str, place: str) -> bool:
    """One path leads to the other, or into it."""
    short, long = sorted((where, place), key=len)
    return long.startswith(short) and (len(short) == len(long) or long[len(short)] in ".[")


def relative_to(scenario_path: Path, name: str) -> Path:
    """A file named in a scenario is looked for beside it."""
    return scenario_path.parent / name


def mask_of(value: Subservices) -> int:
    """The mask of "all", "catalyst-9800" or a list of names that was checked."""
    if isinstance(value, str):
        return NAMED_MASKS[value]
    return services.mask_of(services.BY_LABEL[label] for label in value)


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    steps = _STEP.findall(key)
    if not equals or not _PATH.fullmatch(key):
        raise InputError(Problem("--set", "path=value such as wlc.count=10", shown(override)))
    try:
        value = parse_toml_untrusted(f"value = {text}")["value"]
    except ValueError:
        value = text  # a word without quotes
    target: Any = data
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        index: Any = int(step[1:-1]) if step.startswith("[") else step
        if isinstance(index, int) != isinstance(target, list) or (isinstance(index, int) and index >= len(target)):
            raise InputError(Problem(f"--set {key}", "a path into the scenario", f"nothing at {step}"))
        if following is None:
            target[index] = value
        else:
            target = target.setdefault(index, {}) if isinstance(target, dict) else target[index]
            if not isinstance(target, dict | list):
                raise InputError(Problem(f"--set {key}", "a path into the scenario", f"a value at {step}"))


def check_scenario(scenario: Scenario, profile: WireProfile) -> list[Problem]:
    """What its values decide together, and should not."""
    return list(_check(scenario, profile))


def _check(scenario: Scenario, profile: WireProfile) -> Iterator[Problem]:
    yield from _check_wlc(scenario, profile)
    yield from _check_subservices("wlc.subservices", scenario.wlc.subservices)
    yield from _check_subservices("mse.subscribe", scenario.mse.subscribe)
    yield from _check_assignment(scenario)
    yield from _check_load(scenario)
    yield from _check_capacity(scenario)
    yield from check_authentication(scenario)
    yield from _check_requests(scenario, profile)
    if scenario.load.kind == "site":
        yield from check_site(scenario.site, profile.max_readings)
    if scenario.wlc.kind == "switch":
        yield from check_switch(scenario.switch)
        if scenario.load.kind == "notify":
            yield Problem(
                "wlc.kind", "a controller: a switch measures nothing (load.kind site, or handshake)", "switch"
            )
        if scenario.wlc.subservices != "catalyst-9800":
            yield Problem("wlc.subservices", "none: a switch offers attach and location", "some")
    yield from check_datagrams(scenario, profile, readings_range(scenario)[1])
    mse, session = scenario.mse, scenario.session
    yield from check_bind(mse.bind)
    if mse.identities and len(mse.identities) != mse.count:
        yield Problem("mse.identities", f"one file for each of {mse.count} MSEs", f"{len(mse.identities)}")
    for name, duration in (
        ("mse.setup_timeout", mse.setup_timeout),
        ("session.echo_interval", session.echo_interval),
        ("session.response_timeout", session.response_timeout),
    ):
        if duration <= 0:
            yield Problem(name, "more than 0", "0")
    if session.dead_interval <= session.echo_interval:
        yield Problem("session.dead_interval", "more than session.echo_interval", "not more")


def _check_wlc(scenario: Scenario, profile: WireProfile) -> Iterator[Problem]:
    wlc = scenario.wlc
    try:
        host, port = parse_endpoint(wlc.listen)
        address = ipaddress.ip_address(host)
    except ValueError as error:
        text = str(error)
        yield Problem(
            "wlc.listen", text if text.startswith("an address") else "a numeric IP address", shown(wlc.listen)
        )
    else:
        if wlc.step == "port" and port and port + wlc.count - 1 > 65535:
            yield Problem("wlc.count", f"at most {65536 - port} ports from {port} on", str(wlc.count))
        if wlc.step == "address":
            try:
                last = address + (wlc.count - 1)
            except ipaddress.AddressValueError:
                yield Problem("wlc.count", f"addresses from {address} on", f"{wlc.count}: past the last address")
            else:
                if address.is_loopback and not last.is_loopback:
                    yield Problem("wlc.count", f"loopback addresses from {address} on", f"{wlc.count}: up to {last}")
    low, high = readings_range(scenario)
    if not 0 <= low <= high:
        yield Problem("wlc.readings", "a number or [lowest, highest], 0 or more", shown(wlc.readings))
    if high > profile.max_readings:
        yield Problem("wlc.readings", f"at most {profile.max_readings} (profile {profile.name})", str(high))
    if 0 <= low < profile.min_readings:
        yield Problem("wlc.readings", f"at least {profile.min_readings} (profile {profile.name})", str(low))


def readings_range(scenario: Scenario) -> tuple[int, int]:
    """Lowest and highest number of AP readings in a notification."""
    readings = scenario.wlc.readings
    return (readings, readings) if isinstance(readings, int) else readings


def _check_subservices(where: str, value: Subservices) -> Iterator[Problem]:
    if isinstance(value, str):
        return
    if not value:
        yield Problem(where, "at least one subservice", "none")
    for index, label in enumerate(value):
        if label not in services.BY_LABEL:
            yield Problem(f"{where}[{index}]", one_of(label, services.BY_LABEL), shown(label))


def _check_assignment(scenario: Scenario) -> Iterator[Problem]:
    assign = scenario.mse.assign
    if isinstance(assign, str):
        if problem := too_many_sessions(scenario, scenario.wlc.count):
            yield problem
        return
    pairs: set[tuple[int, int]] = set()
    for index, row in enumerate(assign):
        if row.mse >= scenario.mse.count:
            yield Problem(f"mse.assign[{index}].mse", f"0 to {scenario.mse.count - 1}", str(row.mse))
        for position, wlc in enumerate(row.wlc):
            if wlc >= scenario.wlc.count:
                where = f"mse.assign[{index}].wlc[{position}]"
                yield Problem(where, f"0 to {scenario.wlc.count - 1}", str(wlc))
            if (row.mse, wlc) in pairs:
                yield Problem(f"mse.assign[{index}]", "each pair once", f"MSE {row.mse} and WLC {wlc} again")
            pairs.add((row.mse, wlc))
    if not pairs:
        yield Problem("mse.assign", "at least one MSE with a WLC", "none")


def _check_requests(scenario: Scenario, profile: WireProfile) -> Iterator[Problem]:
    subscribe = scenario.mse.subscribe
    known = isinstance(subscribe, str) or all(label in services.BY_LABEL for label in subscribe)
    subscription = mask_of(subscribe) if known else None
    yield from check_requests(scenario.requests, scenario.load.kind, subscription, profile)


def _check_load(scenario: Scenario) -> Iterator[Problem]:
    load = scenario.load
    for name, kind in _ONLY_FOR.items():
        if load.kind != kind and getattr(load, name) is not None:
            yield Problem(f"load.{name}", f'load.kind = "{kind}"', f'"{load.kind}"')
    given = [name for name in _RATES if getattr(load, name) is not None]
    if load.kind == "notify" and len(given) != 1:
        yield Problem("load", "one of rate, wire_rate and interval", " and ".join(given) or "none of them")
    if load.kind == "site" and load.rate is not None:
        yield Problem("load.rate", "none: what there is to tell follows from [site]", f"{load.rate:g}")
    if load.kind == "replay":
        yield from _check_replay(scenario)
    if load.interval is not None and load.interval <= 0:
        yield Problem("load.interval", "more than 0", "0")
    if not load.stages:
        yield Problem("load.stages", "at least one stage", "none")
    for index, stage in enumerate(load.stages):
        where = f"load.stages[{index}]"
        given = [name for name in STAGE_KINDS if getattr(stage, name) is not None]
        if len(given) != 1:
            yield Problem(where, "either ramp, warmup or hold", " and ".join(given) or "neither")
        elif stage_duration_ns(stage) <= 0:
            yield Problem(where, "a duration of more than 0", "0")
        if stage.rate is not None and stage.wire_rate is not None:
            yield Problem(where, "rate or wire_rate", "both")
        if load.kind == "site" and (stage.ramp is not None or stage.rate is not None or stage.wire_rate is not None):
            yield Problem(where, "a warmup or a hold without a rate: a site has none that could be set", "not so")
        elif load.kind in ("handshake", "replay") and stage.wire_rate is not None:
            yield Problem(f"{where}.wire_rate", 'load.kind = "notify"', f'"{load.kind}"')
        if load.kind == "handshake" and load.rate is None and (stage.ramp is not None or stage.rate is not None):
            yield Problem(where, "load.rate, for a stage with a ramp or a rate of its own", "none: as fast as it goes")


def _check_replay(scenario: Scenario) -> Iterator[Problem]:
    load = scenario.load
    if load.capture is None:
        yield Problem("load.capture", "the capture that is played", "none")
    if load.rate is not None and load.speed is not None:
        yield Problem("load", "rate or speed", "both")
    if scenario.transport != "tls":
        yield Problem("transport", "tls: captures are of TCP", f'"{scenario.transport}"')
    if scenario.wlc.kind == "switch":
        yield Problem("wlc.kind", "a controller, for a capture that is played", "switch")


def scaled(scenario: Scenario, *, plays_wlc: bool = True) -> Scenario:
    """With as many endpoints as a replay wants: WLCs where they are ours, else MSEs."""
    if (scale := scenario.load.scale) is None:
        return scenario
    if plays_wlc:
        return msgspec.structs.replace(scenario, wlc=msgspec.structs.replace(scenario.wlc, count=scale))
    return msgspec.structs.replace(scenario, mse=msgspec.structs.replace(scenario.mse, count=scale))


def _check_capacity(scenario: Scenario) -> Iterator[Problem]:
    for key in ("start", "max"):
        for name in getattr(scenario.capacity, key):
            if name not in DIMENSIONS:
                yield Problem(f"capacity.{key}.{name}", one_of(name, DIMENSIONS), "an unknown key")


def session_count(scenario: Scenario, wlcs: int) -> int:
    """How many sessions there are with that number of WLCs."""
    assign = scenario.mse.assign
    if not isinstance(assign, str):
        return sum(len(row.wlc) for row in assign)
    return wlcs * (scenario.mse.count if assign == "all" else 1)


def too_many_sessions(scenario: Scenario, wlcs: int) -> Problem | None:
    """Why a plan with that number of WLCs is not even made; None: it may be."""
    if (sessions := session_count(scenario, wlcs)) <= MOST_OF_A_FLEET:
        return None
    found = f"{sessions:,}: {scenario.mse.count:,} MSEs at each of {wlcs:,} WLCs"
    return Problem("mse.count", f"at most {MOST_OF_A_FLEET:,} sessions in one plan", found)


def stage_duration_ns(stage: StageTable) -> int:
    """Length of a stage that was checked."""
    return int(getattr(stage, stage_kind(stage)))


def stage_kind(stage: StageTable) -> str:
    """Which of STAGE_KINDS it is; of a stage that was checked."""
    return next(name for name in STAGE_KINDS if getattr(stage, name) is not None)
