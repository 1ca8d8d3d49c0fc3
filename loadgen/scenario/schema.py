"""The scenario file: its tables, keys, types and defaults. docs/scenario.md explains them to people.

Limits that one value alone can break stand here as annotations; what several values decide together is in `reading`.

Annotations are evaluated here, once, for whoever reads documents: as text, each would be compiled at every start.
"""

from typing import Annotated, Literal, get_args

import msgspec

from loadgen.nmsp.services import CATALYST_9800
from loadgen.scenario.requests import Requests
from loadgen.scenario.site import SiteTable, Switch
from loadgen.units import NS_PER_S, Duration, Offset

# WLCs, MSEs and sessions of one plan, each: both ends of so many sessions take 16 GB and all ports of nine addresses.
# Whatever is far beyond any machine is refused before anything is made of it.
MOST_OF_A_FLEET = 250_000
FleetCount = Annotated[int, msgspec.Meta(ge=1, le=MOST_OF_A_FLEET)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Index = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Speed = Annotated[float, msgspec.Meta(ge=0.1, le=100)]
DimensionName = Literal["handshake.per_s", "notify.per_s", "sessions", "stations", "scale", "speed"]
DIMENSIONS: tuple[str, ...] = get_args(DimensionName)
StageRate = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
# "all", the 15 subservices that a live Catalyst 9800 announces, or a list of names.
Subservices = Literal["all", "catalyst-9800"] | tuple[str, ...]

NAMED_MASKS = {"all": (1 << 23) - 1, "catalyst-9800": CATALYST_9800}


class ListSource(msgspec.Struct, frozen=True):
    """One of several auth lists: a file, or without one the MSEs of this run; and how long its answer takes."""

    auth_list: str | None = None
    delay: Duration | None = None


class AaaTable(msgspec.Struct, frozen=True):
    """`[wlc.aaa]`: how a WLC decides whom to let in, and how long that takes."""

    # "3850": what its trace shows, an answer after 1.0 s and a look at the connection every 300 ms.
    profile: Literal["immediate", "3850"] = "immediate"
    # Instead of the profile's. delay: of each list that is asked and has none of its own.
    delay: Duration | None = None
    poll_tick: Duration | None = None
    # Asked in this order until one knows the client; without them, wlc.auth_list is the only one.
    lists: tuple[ListSource, ...] = ()


class WlcShape(msgspec.Struct, frozen=True):
    """Of `[wlc]`, what a plan has as it stands."""

    authenticate: bool = True
    clock_skew: Offset = Offset(0)
    stations: Count = 50


class Wlc(WlcShape, frozen=True):
    """`[wlc]`: the controllers, or the switches in their place."""

    kind: Literal["controller", "switch"] = "controller"
    count: FleetCount = 1
    listen: str = "127.0.1.1:16113"
    step: Literal["address", "port"] = "address"
    subservices: Subservices = "catalyst-9800"
    auth_list: str | None = None
    # Where chains of CA-signed client certificates must end: "fleet" (the authority made for this run), "any", or a PEM
    # file.
    trust: str = "fleet"
    aaa: AaaTable = AaaTable()
    # AP readings in a notification: the same for all stations, or [lowest, highest]. Its limits are checked in
    # `reading`: msgspec 0.22 crashes on a union of a constrained int and a fixed-size tuple.
    readings: int | tuple[int, int] = 4


class AssignmentTable(msgspec.Struct, frozen=True):
    """One row of an explicit assignment: this MSE dials these WLCs (indexes from 0)."""

    mse: Index
    wlc: tuple[Index, ...]


class MseShape(msgspec.Struct, frozen=True):
    """Of `[mse]`, what a plan has as it stands."""

    # Of identities made for the run: self-signed, signed by an authority made for the run, or nothing to show.
    certificate: Literal["ssc", "lsc", "none"] = "ssc"
    validity: Duration | None = None
    clock_skew: Offset = Offset(0)
    connect_per_s: Rate = 250.0
    setup_timeout: Duration = Duration(10 * NS_PER_S)


class Mse(MseShape, frozen=True):
    """`[mse]`: the mobility services engines."""

    count: FleetCount = 1
    assign: Literal["all", "round-robin"] | tuple[AssignmentTable, ...] = "all"
    # PEM files from `loadgen identity new`, one per MSE; without them, new ones are made for every run.
    identities: tuple[str, ...] = ()
    # Where they dial from: addresses, ranges, prefixes. Without it, the kernel chooses.
    bind: tuple[str, ...] = ()
    subscribe: Subservices = ("rssi-ms",)


# A key-exchange group by OpenSSL's name. Each has a digit; OpenSSL's word for a whole list ("DEFAULT") has none.
GroupName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z][A-Za-z_-]*[0-9][A-Za-z0-9_-]*$")]
# What devices of the field agree on.
DEFAULT_GROUPS = ("X25519", "P-256")


class TlsShape(msgspec.Struct, frozen=True):
    """Of `[tls]`, what a plan has as it stands."""

    version: Literal["1.0", "1.1", "1.2", "1.3"] = "1.2"
    # On: ECDHE. Off: static RSA, as the field's trace shows.
    strong_cipher: bool = True
    # Take RSA keys of 1024 bits and signatures with SHA-1 in certificates, as old MSEs and controllers have them.
    old_certificates: bool = False
    # Of ECDHE, what is liked best first.
    groups: tuple[GroupName, ...] = DEFAULT_GROUPS
    key: Literal["p256", "rsa-2048"] = "p256"
    key_hash: Literal["sha1", "sha256"] = "sha256"
    hash_over: Literal["spki", "public-key", "certificate"] = "spki"


class Tls(TlsShape, frozen=True):
    """`[tls]`: the tunnel and who is let in."""

    # How an MSE checks a WLC: "fleet" (the authority made for this run), "any", or a PEM file.
    trust: str = "fleet"


class Dtls(msgspec.Struct, frozen=True):
    """`[dtls]`: datagrams, with `transport = "dtls"`."""

    # Bytes of the largest IP packet that the path carries. 576: what every IPv4 host must take.
    mtu: Annotated[int, msgspec.Meta(ge=576, le=65535)] = 1500
    # A handshake's flight that is not answered is sent again after so long, then twice that, ...
    retransmit: Duration = Duration(NS_PER_S)


class NeighbourTimers(msgspec.Struct, frozen=True):
    """Of `[session]`, what every session has."""

    echo_interval: Duration = Duration(15 * NS_PER_S)
    dead_interval: Duration = Duration(30 * NS_PER_S)


class SessionTable(NeighbourTimers, frozen=True):
    """`[session]`: timers of NMSP; those of its own are for what is sent again."""

    # An MSE's request counts as not answered after the first of these, is sent again after the second, at most as often
    # as the third says.
    response_timeout: Duration = Duration(NS_PER_S)
    retransmit_interval: Duration = Duration(3 * NS_PER_S)
    max_retransmits: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 5


class StageTable(msgspec.Struct, frozen=True):
    """One stage of the load: `ramp` to a rate, or `hold` it. A `warmup` is a hold that does not count."""

    ramp: Duration | None = None
    warmup: Duration | None = None
    hold: Duration | None = None
    # At the end of a ramp, or during the others; as in [load], one of both. Without it a ramp goes to the rate of
    # [load], and the others keep what the stage before reached.
    rate: StageRate | None = None
    wire_rate: StageRate | None = None


# Of a load that says nothing of its length; a replay without stages is as long as its capture.
DEFAULT_STAGES = (StageTable(hold=Duration(30 * NS_PER_S)),)


class LoadShape(msgspec.Struct, frozen=True):
    """Of `[load]`, what a plan has as it stands."""

    # A notification that could not be sent for this long is given up and counted as dropped.
    backlog: Duration = Duration(2 * NS_PER_S)


class LoadTable(LoadShape, frozen=True):
    """`[load]`: what is done, and when it is due.

    Notifications: give `rate`, `wire_rate` or `interval`. `rate` counts what the WLC fleet has to tell; a WLC sends
    each notification to every MSE that subscribed, and `wire_rate` counts what is sent. Handshakes: give `rate`, or
    none for as fast as it goes. A site: none of them; what there is to tell follows from `[site]`. A replay: `speed`,
    or the mean `rate` that gives it; without either, as it was recorded.
    """

    kind: Literal["notify", "handshake", "site", "replay"] = "notify"
    rate: Rate | None = None
    # Of notifications only:
    wire_rate: Rate | None = None
    interval: Duration | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    # Of handshakes only; without it, 64 as fast as it goes, and 1000 at a rate.
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    resumed: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    # Of a replay only: a capture (pcap or pcapng) and the secrets of its tunnels, beside the scenario; how many
    # endpoints play it, instead of `wlc.count`; how fast; where MACs of devices are mapped to, and whether those of
    # access points are, too.
    capture: str | None = None
    capture_keylog: str | None = None
    scale: FleetCount | None = None
    speed: Speed | None = None
    macs: Literal["local", "oui"] | None = None
    aps: bool | None = None
    stages: tuple[StageTable, ...] = DEFAULT_STAGES


class Capacity(msgspec.Struct, frozen=True):
    """`[capacity]`: how `loadgen capacity` searches. Options of the command replace it."""

    dimensions: tuple[DimensionName, ...] = ()
    slo: tuple[str, ...] = ()
    # By dimension; where the search begins, and where it ends if nothing breaks before.
    start: dict[str, Rate] = {}
    max: dict[str, Rate] = {}
    resolution: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    warmup: Duration = Duration(NS_PER_S)
    hold: Duration = Duration(4 * NS_PER_S)
    confirm: Duration = Duration(12 * NS_PER_S)
    cooldown: Duration = Duration(NS_PER_S)


class Rule(msgspec.Struct, frozen=True):
    """A threshold, and whether the run is given up when it fails, from `delay` after the start of the load on."""

    threshold: str
    abort_on_fail: bool = False
    delay: Duration = Duration(0)


class Scenario(msgspec.Struct, frozen=True):
    """A whole scenario file."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] = 1
    profile: str | None = None
    transport: Literal["tls", "dtls"] = "tls"
    wlc: Wlc = Wlc()
    mse: Mse = Mse()
    tls: Tls = Tls()
    dtls: Dtls = Dtls()
    session: SessionTable = SessionTable()
    load: LoadTable = LoadTable()
    requests: Requests = Requests()
    site: SiteTable = SiteTable()
    switch: Switch = Switch()
    capacity: Capacity = Capacity()
    thresholds: tuple[str | Rule, ...] = ()
