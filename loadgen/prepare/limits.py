"""What the machine must allow before a run begins: file descriptors, local ports and memory."""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from loadgen.errors import InputError, Problem
from loadgen.hosts import endpoint_shown
from loadgen.loads import LoadKind
from loadgen.scenario.plan import Plan
from loadgen.scenario.sources import Sources, is_v6, turns_of
from loadgen.transport.address import socket_address
from loadgen.transport.parting import MOST_PARTINGS
from loadgen.transports import TRANSPORTS
from loadgen.units import NS_PER_S

# Beside the sessions of the plan, for each worker. Each costs some 50 KiB, over DTLS some 90.
MOST_STRANGERS = 256
# A plan that is too large for one machine is not too large for several.
_ELSEWHERE = "; for several machines see docs/distributed.md"
# Python, trio, the channel, epoll, log files; measured about 20.
_OWN_DESCRIPTORS = 64
# Strangers, and those who were refused and are heard out: a descriptor each, where the hard limit allows it.
_SPARE_DESCRIPTORS = MOST_STRANGERS + MOST_PARTINGS
# Two pipes, what it says on stderr, its process: held by the supervisor, plus the far ends while it starts.
_DESCRIPTORS_PER_WORKER = 8

# Per side.
MOST_WORKERS = 256

# Addresses that cannot be dialed from, by name.
_MOST_TOLD = 4
# Where their number is not known before.
_MOST_DESCRIPTORS = 1 << 16


def descriptors_needed(plan: Plan, workers: int) -> int:
    """File descriptors of the process that needs most of them."""
    supervisor = 2 * workers * _DESCRIPTORS_PER_WORKER
    if plan.load.kind is LoadKind.HANDSHAKE:
        # Twice: the far side closes a little later than we begin the next one.
        return max(2 * plan.load.concurrency - (-len(plan.wlcs) // workers), supervisor) + _OWN_DESCRIPTORS
    sessions = -(-len(plan.sessions) // workers)
    listeners = -(-len(plan.wlcs) // workers) if plan.use.plays_wlc else 0
    # A WLC worker holds the sessions of its WLCs, which may be all of them if one WLC has them all.
    if plan.use.plays_wlc:
        per_wlc = Counter(session.wlc for session in plan.sessions)
        shares = Counter[int]()
        for wlc, count in per_wlc.items():
            shares[wlc % workers] += count
        sessions = max(sessions, *shares.values())
    return max(sessions + listeners, supervisor) + _OWN_DESCRIPTORS


def most_workers(plan: Plan) -> int:
    """As many have something to do: a WLC or a session each, or a handshake of their own at once."""
    most = len(plan.wlcs) if plan.use.plays_wlc else len(plan.sessions)
    if plan.load.kind is LoadKind.HANDSHAKE:
        most = min(most, len(plan.sessions), plan.load.concurrency)
    return min(most, MOST_WORKERS)


def workers_with_descriptors(plan: Plan, least: int) -> int | None:
    """The least number of workers a side, from this one on, of which each has descriptors enough; None: none has."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return least
    fitting = (workers for workers in range(least, most_workers(plan) + 1) if descriptors_needed(plan, workers) <= hard)
    return next(fitting, None)


def allow_descriptors(plan: Plan, workers: int) -> None:
    """Raise the soft limit if the plan needs it; workers inherit it.

    Raises:
        InputError: the hard limit is too low.
    """
    needed = descriptors_needed(plan, workers)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        enough = workers_with_descriptors(plan, workers + 1)
        would_do = _ELSEWHERE if enough is None else f", or --workers {enough}"
        raise InputError(
            Problem(
                "file descriptors",
                f"a hard limit of at least {needed:,} (ulimit -Hn) for {len(plan.sessions):,} sessions in {workers} "
                f"worker(s) a side{would_do}",
                f"{hard:,}",
            )
        )
    wanted = needed + _SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def allow_all_descriptors() -> None:
    """As many as this process may have: nobody knows how many peers will come."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def check_memory(expected_bytes: int, available_bytes: int) -> None:
    """A run that makes its machine swap measures the swapping.

    Raises:
        InputError: more memory is expected to be used than there is.
    """
    if available_bytes and expected_bytes > available_bytes:
        expected = f"at least {expected_bytes / 2**20:,.0f} MiB, by the plan (`loadgen plan`){_ELSEWHERE}"
        raise InputError(Problem("memory", expected, f"{available_bytes / 2**20:,.0f} MiB"))


class LocalPorts(NamedTuple):
    """What local ports a plan takes, where it takes most of them.

    Attributes:
        host, port: of the WLC whose sessions take them; over DTLS they share all of an address's with the others.
        sessions: of that WLC; over DTLS, of all.
        needed: of one local address. there: that one has. sources: addresses that are dialed from.
    """

    host: str
    port: int
    sessions: int
    needed: int
    there: int
    sources: int


def local_ports(plan: Plan) -> LocalPorts | None:
    """Of a plan with sessions that are dialed here; None: none are."""
    if not plan.use.plays_mse:
        return None
    low, high = _port_range()
    sources = Sources(plan.bind)
    # The kernel chooses another port for each WLC whose port is 0.
    wlcs = [(wlc.host, wlc.port, 0 if wlc.port else number) for number, wlc in enumerate(plan.wlcs)]
    sessions = Counter(wlcs[session.wlc] for session in plan.sessions)
    if TRANSPORTS[plan.transport].port_rest_s:
        # A connection is an address and a port at both ends.
        most = {wlc: -(-count // max(1, len(sources.for_peer(wlc[0])))) for wlc, count in sessions.items()}
        wlc, needed = max(most.items(), key=lambda item: item[1])
        (host, port, _), count = wlc, sessions[wlc]
    else:
        # Each association has a socket of its own, which has its port to itself.
        turns = turns_of(session.wlc for session in plan.sessions)
        hosts = [plan.wlcs[session.wlc].host for session in plan.sessions]
        places = zip(hosts, turns, strict=True)
        ((_, family), needed), *_ = Counter(
            (sources.of(host, turn), is_v6(host)) for host, turn in places
        ).most_common()
        host, port, _ = next(wlc for wlc, _ in sessions.most_common() if is_v6(wlc[0]) is family)
        count = sum(is_v6(host) is family for host in hosts)
    return LocalPorts(host, port, count, needed, high - low + 1, len(sources.for_peer(host)) or 1)


def _port_range() -> tuple[int, int]:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split())
    return low, high


def check_local_ports(plan: Plan) -> None:
    """Every session to one address needs a local port of its own.

    Raises:
        InputError: more sessions than there are ports for.
    """
    if (ports := local_ports(plan)) is None:
        return
    host, port, sessions, needed, there, sources = ports
    if plan.load.kind is LoadKind.HANDSHAKE:  # each comes from the next address
        _check_closed_ports(plan, host, port, sessions / len(plan.sessions), there * sources)
        return
    connected = bool(TRANSPORTS[plan.transport].port_rest_s)
    if needed > there and (port or not connected):
        to = f" to {endpoint_shown(host, port)}" if connected else ""
        low, high = _port_range()
        enough = -(-sessions // there)
        raise InputError(
            Problem(
                "local ports",
                f"at most {there * sources:,} sessions{to} from {_addresses(sources)} "
                f"(net.ipv4.ip_local_port_range {low} to {high}), or {enough:,} addresses in mse.bind{_ELSEWHERE}",
                f"{sessions:,}",
            )
        )


def _addresses(count: int) -> str:
    return "one address" if count == 1 else f"{count:,} addresses"


def check_sources(plan: Plan) -> None:
    """Every address that MSEs are to dial from is this machine's, and there is one for each kind of WLC.

    Raises:
        InputError: all that are not.
    """
    if not plan.bind or not plan.use.plays_mse:
        return
    sources, problems = Sources(plan.bind), []
    for version, v6 in ((4, False), (6, True)):
        wlc = next((wlc for wlc in plan.wlcs if is_v6(wlc.host) is v6), None)
        if wlc is None:
            continue
        if not (addresses := sources.for_peer(wlc.host)):
            problems.append(f"none of IPv{version}, to dial {wlc.host} from")
        problems += [f"{each} ({why})" for each in addresses if (why := _not_a_source(each, wlc.host))]
    if problems:
        told = "; ".join(problems[:_MOST_TOLD]) + (
            f"; and {len(problems) - _MOST_TOLD:,} more" * (len(problems) > _MOST_TOLD)
        )
        raise InputError(Problem("mse.bind", "addresses of this machine to dial the WLCs from", told))


def _not_a_source(source: str, host: str) -> str:
    """Why an address cannot be dialed from; empty if it can. Nothing is sent."""
    with socket.socket(socket.AF_INET6 if is_v6(source) else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(socket_address(source, 0))
        except OSError as error:
            return (error.strerror or str(error)).lower()
        try:
            sock.connect(socket_address(host, 9))
        except OSError as error:
            if error.errno == errno.EINVAL:  # a loopback address, and a WLC elsewhere
                return f"{host} cannot be dialed from it"
    return ""  # whether the WLC can be reached at all, the run tells


def _check_closed_ports(plan: Plan, host: str, port: int, share: float, ports: int) -> None:
    """The port of a closed TCP connection rests in TIME_WAIT; many handshakes per second to one address use up all.

    Args:
        ports: of all addresses that are dialed from.
    """
    # 1: ports are used again after a second, everywhere; 2: to loopback addresses only (Linux's default).
    reuse = Path("/proc/sys/net/ipv4/tcp_tw_reuse").read_text("ascii").strip()
    rest_s = TRANSPORTS[plan.transport].port_rest_s
    if not rest_s or not plan.load.paced or reuse == "1" or (reuse == "2" and _is_loopback(host)):
        return
    peak_per_s = share * max(max(stage.start_per_s, stage.end_per_s) for stage in plan.load.stages)
    most = peak_per_s * min(rest_s, plan.duration_ns / NS_PER_S)
    if most > ports:
        expected = (
            f"at most {ports / rest_s:,.0f} handshakes/s to {endpoint_shown(host, port)}: each keeps one of "
            f"{ports:,} local ports for {rest_s} s (sysctl net.ipv4.tcp_tw_reuse=1 lifts that, and more addresses in "
            "mse.bind raise it)"
        )
        raise InputError(Problem("local ports", expected, f"{peak_per_s:,.0f}/s"))


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
