"""A site, resolved: what each of its controllers hears, what it tells, and how often; and what to expect of it."""

from __future__ import annotations

import math

import msgspec

from loadgen.nmsp.services import Subservice
from loadgen.scenario.site import CLASSES, Others, Reports, SiteTable, Switch, Tags
from loadgen.units import NS_PER_S


class PlannedClass(msgspec.Struct, frozen=True):
    """One class of what is heard, on one floor. Durations in ns.

    Attributes:
        every_ns: shortest and longest interval at which one of them sends.
        moves: walks about; otherwise it stands where it is.
        leaves: stays and is away, by turns.
        share_of_5_ghz: of what they send; the rest is in the 2.4 GHz band.
        associates: with the access point that hears it best, some of them.
    """

    name: str
    subservice: int
    count: int
    every_ns: tuple[int, int]
    interval_ns: int
    threshold_db: int
    expiry_ns: int
    moves: bool
    leaves: bool
    associates: bool
    share_of_5_ghz: float


class PlannedService(msgspec.Struct, frozen=True):
    """What is told under a subservice beside measurements, and how often."""

    subservice: int
    interval_ns: int


class PlannedSwitch(msgspec.Struct, frozen=True):
    """A switch's ports, resolved. suppressed: numbers of ports, from 1. suppressed_share: of the others, by chance."""

    ports: int
    up_ns: int
    down_ns: int
    suppressed: tuple[int, ...]
    suppressed_share: float


class PlannedSite(msgspec.Struct, frozen=True):
    """A site, resolved. Durations in ns, lengths in m."""

    floor_m: tuple[float, float]
    aps: int
    path_loss_exponent: float
    shadowing_db: float
    sensitivity_dbm: int
    walk_m_per_s: tuple[float, float]
    pause_ns: int
    associated: float
    randomised: float
    stay_ns: int
    away_ns: int
    reported_aps: int
    high_queue: int
    normal_queue: int
    classes: tuple[PlannedClass, ...]
    services: tuple[PlannedService, ...]
    alarms_per_h: float
    switch: PlannedSwitch | None = None

    @property
    def present(self) -> float:
        """Share of its life for which whatever leaves is there."""
        return self.stay_ns / (self.stay_ns + self.away_ns)


class _About(msgspec.Struct, frozen=True):
    """What is true of a class whatever a scenario says."""

    subservice: Subservice
    moves: bool
    leaves: bool
    associates: bool = False
    share_of_5_ghz: float = 0.5


_ABOUT = {
    "stations": _About(Subservice.RSSI_MS, moves=True, leaves=True, associates=True, share_of_5_ghz=0.7),
    "tags": _About(Subservice.RSSI_RFID, moves=True, leaves=False, share_of_5_ghz=0.0),
    "rogues": _About(Subservice.RSSI_ROGUE, moves=False, leaves=True),
    "rogue_clients": _About(Subservice.RSSI_ROGUE, moves=True, leaves=True),
    "interferers": _About(Subservice.RSSI_INTERFERER, moves=False, leaves=True),
    "handovers": _About(Subservice.RSSI_HS, moves=True, leaves=True),
}
_ASSOCIATED_ONLY = 1 << Subservice.RSSI_MS_ASSOCIATED_ONLY
# Of what is not measured: under which subservice, at which of `Services`' intervals, and what must be on the site.
_SERVICES = (
    (Subservice.INFO_RFID, "information", ("tags",)),
    (Subservice.INFO_ROGUE, "information", ("rogues", "rogue_clients")),
    (Subservice.INFO_HS, "information", ("handovers",)),
    (Subservice.STATS_MS, "statistics", ("stations",)),
    (Subservice.STATS_RFID, "statistics", ("tags",)),
    (Subservice.STATS_ROGUE, "statistics", ("rogues", "rogue_clients")),
    (Subservice.SPECTRUM_INTERFERER, "spectrum", ("interferers",)),
    (Subservice.SPECTRUM_AGGREGATE_INTERFERER, "spectrum", ("interferers",)),
    (Subservice.SPECTRUM_AIR_QUALITY, "air_quality", ()),
    (Subservice.AP_MONITOR, "aps", ()),
    (Subservice.AP_INFO, "aps", ()),
)


def plan_site(site: SiteTable, stations: int, switch: Switch | None = None) -> PlannedSite:
    """Resolve a site that was checked.

    Args:
        stations: of each controller.
        switch: what the controllers are, instead, and what they have, instead.
    """
    classes = []
    for name in CLASSES:
        about = _ABOUT[name]
        reports: Reports = getattr(site, name)
        count = reports.count if isinstance(reports, Tags | Others) else stations
        if count and switch is None:
            classes.append(
                PlannedClass(
                    name=name,
                    subservice=about.subservice,
                    count=count,
                    every_ns=(int(reports.every[0]), int(reports.every[1])),
                    interval_ns=int(reports.interval),
                    threshold_db=reports.threshold_db,
                    expiry_ns=int(reports.expiry),
                    moves=about.moves,
                    leaves=about.leaves,
                    associates=about.associates,
                    share_of_5_ghz=about.share_of_5_ghz,
                )
            )
    there = {planned.name for planned in classes}
    services = [
        PlannedService(subservice, int(getattr(site.services, key)))
        for subservice, key, needs in _SERVICES
        if switch is None and (not needs or there & set(needs))
    ]
    for name, subservice in (("stations", Subservice.INFO_MS), ("handovers", Subservice.FMCHS)):
        if name in there:
            services.append(PlannedService(subservice, int(getattr(site, name).interval)))
    if switch is not None:
        services = [PlannedService(s, int(switch.interval)) for s in (Subservice.ATTACH, Subservice.LOCATION)]
    elif site.services.alarms_per_h:
        services.append(PlannedService(Subservice.WIPS, int(site.services.spectrum)))
    return PlannedSite(
        floor_m=site.floor_m,
        aps=site.aps,
        path_loss_exponent=site.path_loss_exponent,
        shadowing_db=site.shadowing_db,
        sensitivity_dbm=site.sensitivity_dbm,
        walk_m_per_s=site.walk_m_per_s,
        pause_ns=int(site.pause),
        associated=site.associated,
        randomised=site.randomised,
        stay_ns=int(site.stay),
        away_ns=int(site.away),
        reported_aps=site.reported_aps,
        high_queue=site.queue.high,
        normal_queue=site.queue.normal,
        classes=tuple(classes),
        services=tuple(services),
        alarms_per_h=site.services.alarms_per_h,
        switch=None if switch is None else _plan_switch(switch),
    )


def _plan_switch(switch: Switch) -> PlannedSwitch:
    listed = isinstance(switch.suppress, tuple)
    return PlannedSwitch(
        ports=switch.ports,
        up_ns=int(switch.up),
        down_ns=int(switch.down),
        suppressed=switch.suppress if isinstance(switch.suppress, tuple) else (),
        suppressed_share=0.0 if listed else float(switch.suppress),  # type: ignore[arg-type]
    )


def sends_per_s(planned: PlannedClass) -> float:
    """How often one of a class sends, on average over its kind, while it is there.

    With intervals from a to b, equally likely by ratio (log-uniform), the mean of 1/T is (1/a - 1/b) / ln(b/a).
    """
    low, high = (every / NS_PER_S for every in planned.every_ns)
    return 1 / low if low == high else (1 / low - 1 / high) / math.log(high / low)


def records_per_s(site: PlannedSite, planned: PlannedClass) -> float:
    """Records of a class that one controller is to find changed, if all of it is heard.

    Exact for a threshold of 0, when whatever was heard again has changed, and for intervals of notification that are
    shorter than those of sending; otherwise the most there can be.
    """
    return planned.count * (site.present if planned.leaves else 1.0) * sends_per_s(planned)


def told_by(site: PlannedSite) -> tuple[Subservice, ...]:
    """The subservices under which something of this site may be told."""
    told = {Subservice(planned.subservice) for planned in site.classes}
    told |= {Subservice(service.subservice) for service in site.services}
    if Subservice.RSSI_MS in told:
        told.add(Subservice.RSSI_MS_ASSOCIATED_ONLY)
    return tuple(sorted(told))


def notifications_per_s(site: PlannedSite, mask: int) -> float:
    """What one controller is to tell one subscriber to these subservices: measurements, or a switch's attachments.

    What is told beside measurements is not in it: few messages, of many records each.
    """
    told = {planned.subservice: 0.0 for planned in site.classes}
    for planned in site.classes:
        told[planned.subservice] += records_per_s(site, planned)
    if mask & _ASSOCIATED_ONLY and not mask & 1 << Subservice.RSSI_MS:
        told[Subservice.RSSI_MS_ASSOCIATED_ONLY] = site.associated * told.get(Subservice.RSSI_MS, 0.0)
    if site.switch is not None:
        told |= {
            service.subservice: attachments_per_s(site.switch, service.interval_ns) for service in site.services[:1]
        }
    return sum(per_s for subservice, per_s in told.items() if mask >> subservice & 1)


def flaps_per_s(switch: PlannedSwitch) -> float:
    """Records of links that go up or down, at one switch: two for each time that a port was up and down."""
    told = (switch.ports - len(switch.suppressed)) * (1 - switch.suppressed_share)
    return told * 2 * NS_PER_S / (switch.up_ns + switch.down_ns)


def attachments_per_s(switch: PlannedSwitch, interval_ns: int) -> float:
    """Notifications that carry those: one for each interval in which anything happened. That number of events is
    Poisson's, as ports are many and do not know of each other.
    """
    interval_s = interval_ns / NS_PER_S
    return (1 - math.exp(-flaps_per_s(switch) * interval_s)) / interval_s
