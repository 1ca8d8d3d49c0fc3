"""`[site]`: what surrounds each controller, from which follows what it has to tell. docs/site.md has the model.

The tables of a scenario, and what may be wrong with them; `site_plan` resolves them.

Annotations are evaluated here, once, for whoever reads documents: as text, each would be compiled at every start.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from loadgen.errors import Problem
from loadgen.units import NS_PER_S, Duration

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Some = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

_MINUTE = 60 * NS_PER_S
# The tables of `SiteTable` that are of something heard.
CLASSES = ("stations", "tags", "rogues", "rogue_clients", "interferers", "handovers")
# The range of every notification interval of a controller, and of the threshold (Cisco-IOS-XE-wireless-location-cfg).
_INTERVAL_NS = (NS_PER_S, 180 * NS_PER_S)
_EXPIRY_NS = (NS_PER_S, 3600 * NS_PER_S)


class Reports(msgspec.Struct, frozen=True):
    """A class of what is heard: how often each of it sends, and how a controller tells of it.

    The defaults are a controller's for clients.
    """

    # Each sends at an interval of its own between these, of which short and long ones are equally likely by ratio.
    every: tuple[Duration, Duration] = (Duration(10 * NS_PER_S), Duration(5 * _MINUTE))
    interval: Duration = Duration(2 * NS_PER_S)
    threshold_db: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    expiry: Duration = Duration(15 * NS_PER_S)


class Tags(Reports, frozen=True):
    """`[site.tags]`: RFID tags; the defaults are a controller's for them."""

    count: Some = 0
    every: tuple[Duration, Duration] = (Duration(10 * NS_PER_S), Duration(_MINUTE))
    threshold_db: Annotated[int, msgspec.Meta(ge=0, le=10)] = 5
    expiry: Duration = Duration(5 * NS_PER_S)


class Others(Reports, frozen=True):
    """Rogues, interferers, stations that are handed over: as stations, unless the scenario says otherwise."""

    count: Some = 0


class Services(msgspec.Struct, frozen=True):
    """`[site.services]`: how often a controller tells what is not measured; client information has the stations'
    interval.
    """

    information: Duration = Duration(10 * NS_PER_S)
    statistics: Duration = Duration(_MINUTE)
    spectrum: Duration = Duration(2 * NS_PER_S)
    air_quality: Duration = Duration(_MINUTE)
    aps: Duration = Duration(_MINUTE)
    alarms_per_h: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.5


class Switch(msgspec.Struct, frozen=True):
    """`[switch]`: what a switch (`wlc.kind = "switch"`) has instead of a site."""

    ports: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 48
    # Means of how long a port is up and down, by turns.
    up: Duration = Duration(60 * _MINUTE)
    down: Duration = Duration(5 * _MINUTE)
    interval: Duration = Duration(30 * NS_PER_S)
    # Numbers of ports (from 1) of which nothing is told; or a share of them, chosen by chance.
    suppress: float | tuple[int, ...] = ()


class Queues(msgspec.Struct, frozen=True):
    """`[site.queue]`: messages that may wait for a link, by priority."""

    high: Limit = 256
    normal: Limit = 2048


class SiteTable(msgspec.Struct, frozen=True):
    """`[site]`: one floor plan for each controller, all alike but for what chance decides."""

    floor_m: tuple[float, float] = (120.0, 80.0)
    aps: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 24
    path_loss_exponent: Annotated[float, msgspec.Meta(ge=1, le=8)] = 3.8
    shadowing_db: Annotated[float, msgspec.Meta(ge=0, le=20)] = 4.0
    sensitivity_dbm: Annotated[int, msgspec.Meta(ge=-110, le=-40)] = -88
    walk_m_per_s: tuple[float, float] = (0.5, 1.5)
    pause: Duration = Duration(_MINUTE)
    associated: Share = 0.8
    randomised: Share = 0.8
    stay: Duration = Duration(30 * _MINUTE)
    away: Duration = Duration(10 * _MINUTE)
    reported_aps: Annotated[int, msgspec.Meta(ge=1, le=16)] = 16
    stations: Reports = Reports()
    tags: Tags = Tags()
    rogues: Others = Others()
    rogue_clients: Others = Others()
    interferers: Others = Others()
    handovers: Others = Others()
    services: Services = Services()
    queue: Queues = Queues()


_SWITCH_INTERVAL_NS = (NS_PER_S, 30 * NS_PER_S)


def check_switch(switch: Switch) -> Iterator[Problem]:
    """What its values decide together."""
    if not _SWITCH_INTERVAL_NS[0] <= switch.interval <= _SWITCH_INTERVAL_NS[1]:
        yield Problem("switch.interval", "1s to 30s", f"{switch.interval / NS_PER_S:g} s")
    for name in ("up", "down"):
        if getattr(switch, name) < NS_PER_S:
            yield Problem(f"switch.{name}", "1s or more", f"{getattr(switch, name) / NS_PER_S:g} s")
    if isinstance(switch.suppress, tuple):
        if wrong := [port for port in switch.suppress if not 1 <= port <= switch.ports]:
            yield Problem("switch.suppress", f"ports 1 to {switch.ports}, or a share", f"{wrong[0]}")
    elif not 0 <= switch.suppress <= 1:
        yield Problem("switch.suppress", "numbers of ports, or a share of 0 to 1", f"{switch.suppress:g}")


def check_site(site: SiteTable, max_readings: int) -> Iterator[Problem]:
    """What several of its values decide together. Args: max_readings: that the wire profile has room for."""
    low, high = site.walk_m_per_s
    if not 0 < low <= high:
        yield Problem("site.walk_m_per_s", "[slowest, fastest], more than 0", f"{list(site.walk_m_per_s)}")
    if not all(0 < side <= 10_000 for side in site.floor_m):
        yield Problem("site.floor_m", "[width, depth], more than 0 and at most 10000", f"{list(site.floor_m)}")
    if site.reported_aps > max_readings:
        yield Problem("site.reported_aps", f"at most {max_readings} (the wire profile's)", f"{site.reported_aps}")
    if site.stay <= 0:
        yield Problem("site.stay", "more than 0", "0")
    for key in ("information", "statistics", "spectrum", "air_quality", "aps"):
        if getattr(site.services, key) < NS_PER_S:
            yield Problem(f"site.services.{key}", "1s or more", f"{getattr(site.services, key) / NS_PER_S:g} s")
    for name in CLASSES:
        reports: Reports = getattr(site, name)
        shortest, longest = reports.every
        if not NS_PER_S // 10 <= shortest <= longest:
            yield Problem(f"site.{name}.every", "[shortest, longest], 100ms or more", "not so")
        for key, (least, most) in (("interval", _INTERVAL_NS), ("expiry", _EXPIRY_NS)):
            if not least <= getattr(reports, key) <= most:
                expected = f"{least // NS_PER_S}s to {most // NS_PER_S}s"
                yield Problem(f"site.{name}.{key}", expected, f"{getattr(reports, key) / NS_PER_S:g} s")
