"""`[requests]`: what MSEs ask the WLCs of running sessions, and how often. Tables, their checks, the plan of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from loadgen.errors import Problem
from loadgen.nmsp import services
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import Subservice
from loadgen.strict import one_of, shown
from loadgen.units import NS_PER_S, Duration

_Rate = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
# Asked about by the MACs that the seed gives our WLCs' stations; about any of the class; by a MAC that no device has.
Device = Literal["known", "any", "unknown"]

# A kind's table in the scenario, its name in metrics and counters, and the message.
ASKED: dict[str, Kind] = {
    "capability": Kind.CAPABILITY_REQUEST,
    "subscribe": Kind.SUBSCRIBE_REQUEST,
    "subscribe_groups": Kind.SUBSCRIBE_GROUPS_REQUEST,
    "unsubscribe": Kind.UNSUBSCRIBE_REQUEST,
    "measurement": Kind.MEASUREMENT_REQUEST,
    "information": Kind.INFORMATION_REQUEST,
    "statistics": Kind.STATISTICS_REQUEST,
    "on_demand": Kind.ON_DEMAND_REQUEST,
    "wips_config": Kind.WIPS_CONFIG_REQUEST,
}
_DEVICES = ("measurement", "information", "statistics", "on_demand")
# A subscription without `subservices` asks for what mse.subscribe has; what to leave must be said.
_SUBSCRIBING = ("subscribe", "subscribe_groups")


class Request(msgspec.Struct, frozen=True):
    """Any kind. Give `rate` (per second, of all sessions together) or `interval` (of each session)."""

    rate: _Rate | None = None
    interval: Duration | None = None
    # The first one is due so long after the start of the load.
    delay: Duration = Duration(0)


class Subscription(Request, frozen=True):
    """What is subscribed to, or no longer, as a whole."""

    subservices: tuple[str, ...] = ()


class GroupSubscription(Subscription, frozen=True):
    """The same for the access points of groups."""

    groups: tuple[str, ...] = ("group-1",)


class DeviceQuestion(Request, frozen=True):
    """About devices, under each of the subservices in turn; without any, those of this kind in mse.subscribe."""

    subservices: tuple[str, ...] = ()
    device: Device | None = None


class OnDemand(Request, frozen=True):
    """Measure a device now."""

    device: Device | None = None


class WipsConfig(Request, frozen=True):
    """A wIPS configuration of `signatures` lines."""

    signatures: _Count = 8


class Requests(msgspec.Struct, frozen=True):
    """`[requests]`: a table for each kind that is asked."""

    capability: Request | None = None
    subscribe: Subscription | None = None
    subscribe_groups: GroupSubscription | None = None
    unsubscribe: Subscription | None = None
    measurement: DeviceQuestion | None = None
    information: DeviceQuestion | None = None
    statistics: DeviceQuestion | None = None
    on_demand: OnDemand | None = None
    wips_config: WipsConfig | None = None


class PlannedRequest(msgspec.Struct, frozen=True):
    """One kind, resolved.

    Attributes:
        name: as in `ASKED`. per_s: of all sessions of the fleet together; they take turns.
        subservices: asked under in turn, or subscribed to together.
        device: empty for what asks about none.
    """

    name: str
    per_s: float
    subservices: tuple[int, ...] = ()
    device: str = ""
    groups: tuple[str, ...] = ()
    signatures: int = 0
    delay_ns: int = 0


def given(requests: Requests) -> Iterator[tuple[str, Request]]:
    """The kinds that have a table."""
    for name in ASKED:
        if (request := getattr(requests, name)) is not None:
            yield name, request


def plan_requests(
    requests: Requests, subscription: int, sessions: int, *, stations_are_known: bool
) -> list[PlannedRequest]:
    """What was checked, resolved.

    Args:
        subscription: the mask of mse.subscribe.
        stations_are_known: both sides make them from the seed.
    """
    planned = []
    for name, request in given(requests):
        per_s = request.rate
        if per_s is None:
            assert request.interval is not None
            per_s = sessions * NS_PER_S / request.interval
        device = ""
        if name in _DEVICES:
            device = getattr(request, "device", None) or ("known" if stations_are_known else "any")
        planned.append(
            PlannedRequest(
                name=name,
                per_s=per_s,
                subservices=tuple(_subservices(name, request, subscription)),
                device=device,
                groups=getattr(request, "groups", ()),
                signatures=getattr(request, "signatures", 0),
                delay_ns=int(request.delay),
            )
        )
    return planned


def refusable(requests: Sequence[PlannedRequest], subscription: int, length_ns: int) -> float:
    """Share of what is asked in a load of that length that a WLC refuses because it is asked so: about what nobody has,
    or under what the MSEs have not subscribed to, or unsubscribe from.

    Args:
        subscription: the mask of mse.subscribe.
    """
    held: set[int] = {service for service in Subservice if subscription >> service & 1}
    held |= {service for each in requests if each.name in _SUBSCRIBING for service in each.subservices}
    held -= {service for each in requests if each.name == "unsubscribe" for service in each.subservices}
    every = refused = 0.0
    for each in requests:
        number = each.per_s * max(0, length_ns - each.delay_ns)
        every += number
        if each.device == "unknown":
            refused += number
        elif each.name in _DEVICES:
            refused += number * sum(service not in held for service in each.subservices) / len(each.subservices)
    return refused / every if every else 0.0


def _subservices(name: str, request: Request, subscription: int) -> list[Subservice]:
    labels = getattr(request, "subservices", ())
    if labels:
        return [services.BY_LABEL[label] for label in labels]
    subscribed = [service for service in Subservice if subscription >> service & 1]
    if name in _SUBSCRIBING:
        return subscribed
    allowed = CATALOGUE[ASKED[name]].subservices
    return [service for service in allowed if service in subscribed] if name in _DEVICES else []


def check_requests(
    requests: Requests, load_kind: str, subscription: int | None, profile: WireProfile
) -> Iterator[Problem]:
    """What is wrong with them, with its path. Args: subscription: None if mse.subscribe is wrong itself."""
    for name, request in given(requests):
        where = f"requests.{name}"
        if load_kind == "handshake":
            yield Problem(where, "sessions that stay up: another load.kind", '"handshake"')
        if load_kind in ("site", "replay") and getattr(request, "device", None) == "known":
            yield Problem(f"{where}.device", '"any" or "unknown": who is at a site changes', '"known"')
        if (request.rate is None) == (request.interval is None):
            yield Problem(where, "either rate or interval", "both" if request.rate is not None else "neither")
        if request.interval is not None and request.interval <= 0:
            yield Problem(f"{where}.interval", "more than 0", "0")
        wrong = list(_check_subservices(name, request))
        yield from wrong
        yield from _check_profile(name, request, profile)
        if wrong or subscription is None:
            continue
        if not _subservices(name, request, subscription) and name not in ("capability", "wips_config"):
            if name == "unsubscribe":
                yield Problem(f"{where}.subservices", "what to unsubscribe from", "nothing")
            else:
                allowed = ", ".join(service.label for service in CATALOGUE[ASKED[name]].subservices)
                yield Problem(where, f"one of {allowed} in mse.subscribe", "none")


def _check_subservices(name: str, request: Request) -> Iterator[Problem]:
    allowed = CATALOGUE[ASKED[name]].subservices or tuple(Subservice)
    labels = [service.label for service in allowed]
    for index, label in enumerate(getattr(request, "subservices", ())):
        if label not in labels:
            yield Problem(f"requests.{name}.subservices[{index}]", one_of(label, labels), shown(label))


def _check_profile(name: str, request: Request, profile: WireProfile) -> Iterator[Problem]:
    kind = ASKED[name]
    needed = [kind, *(answer for answer, entry in CATALOGUE.items() if kind in entry.answers)]
    if missing := [each.label for each in needed if each not in profile.layouts]:
        yield Problem(f"requests.{name}", "a wire profile with these messages", f"{profile.name} without {missing}")
        return
    if (Role.MSE, kind) in profile.dialogue.endings:
        yield Problem(f"requests.{name}", f"nothing: {kind.label} ends a session (profile {profile.name})", "a table")
    most = profile.layouts[kind].most_records
    for key in ("groups", "signatures"):
        value = getattr(request, key, None)
        if value is None or not most:
            continue
        count = value if isinstance(value, int) else len(value)
        if not 1 <= count <= most:
            yield Problem(f"requests.{name}.{key}", f"1 to {most} (profile {profile.name})", str(count))
