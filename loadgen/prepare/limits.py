"""What the machine must allow before a run begins: file descriptors, local ports and memory."""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter
from pathlib import Path

from loadgen.errors import InputError, Problem
from loadgen.hosts import endpoint_shown
from loadgen.loads import LoadKind
from loadgen.scenario.plan import Plan
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


def allow_descriptors(plan: Plan, workers: int) -> None:
    """Raise the soft limit if the plan needs it; workers inherit it.

    Raises:
        InputError: the hard limit is too low.
    """
    needed = descriptors_needed(plan, workers)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise InputError(
            Problem(
                "file descriptors",
                f"a hard limit of at least {needed:,} (ulimit -Hn) for {len(plan.sessions):,} sessions in {workers} "
                f"worker(s) a side{_ELSEWHERE}",
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


def check_local_ports(plan: Plan) -> None:
    """Every session to one address needs a local port of its own.

    Raises:
        InputError: more sessions to one address than there are ports.
    """
    if not plan.use.plays_mse:
        return
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split())
    planned = ((session.wlc, plan.wlcs[session.wlc]) for session in plan.sessions)
    # The kernel chooses another port for each WLC whose port is 0.
    sessions = Counter((wlc.host, wlc.port, 0 if wlc.port else number) for number, wlc in planned)
    (host, port, _), most = sessions.most_common(1)[0]
    if plan.load.kind is LoadKind.HANDSHAKE:
        _check_closed_ports(plan, host, port, most / len(plan.sessions), high - low + 1)
        return
    if port and most > high - low + 1:
        expected = (
            f"at most {high - low + 1:,} sessions to {endpoint_shown(host, port)} "
            f"(net.ipv4.ip_local_port_range {low} to {high}){_ELSEWHERE}"
        )
        raise InputError(Problem("local ports", expected, f"{most:,}"))


def _check_closed_ports(plan: Plan, host: str, port: int, share: float, ports: int) -> None:
    """The port of a closed TCP connection rests in TIME_WAIT; many handshakes per second to one address use up all."""
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
            f"{ports:,} local ports for {rest_s} s (sysctl net.ipv4.tcp_tw_reuse=1 lifts that)"
        )
        raise InputError(Problem("local ports", expected, f"{peak_per_s:,.0f}/s"))


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
