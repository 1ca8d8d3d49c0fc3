"""What handshakes need of the machine, told before the run: descriptors, and local ports that rest in TIME_WAIT."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from loadgen.errors import InputError
from loadgen.prepare.limits import (
    allow_descriptors,
    check_local_ports,
    check_sources,
    descriptors_needed,
    local_ports,
    workers_with_descriptors,
)
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario

SHAKE = 'name = "shake"\nload.kind = "handshake"\nwlc.listen = "192.0.2.1:16113"\n'
SHAKE += 'load.stages = [{ hold = "60s" }]\n'
# 10,000 ports: at 60 s each, 166 closed connections a second.
RANGE = "20000\t29999\n"
PER_S = 166
_SYSCTLS = Path("/proc/sys/net/ipv4")

Machine = Callable[..., None]
PlanOf = Callable[..., Plan]


@pytest.fixture
def plan_of(tmp_path: Path) -> PlanOf:
    def make(*overrides: str, use: Use = Use.BOTH, targets: tuple[tuple[str, int], ...] = ()) -> Plan:
        path = tmp_path / "x.toml"
        path.write_text(SHAKE, "utf-8")
        scenario, profile = load_scenario(path, overrides)
        return make_plan(scenario, profile, use=use, targets=targets)

    return make


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with these sysctls."""

    real = Path.read_text

    def be(reuse: int, ports: str = RANGE) -> None:
        texts = {"ip_local_port_range": ports, "tcp_tw_reuse": f"{reuse}\n"}

        def read_text(self: Path, *arguments: str) -> str:
            # The folder too: the scenario, and whatever else is read, stays what it is.
            return texts[self.name] if self.parent == _SYSCTLS else real(self, *arguments)

        monkeypatch.setattr(Path, "read_text", read_text)

    return be


def check_refused(plan: Plan, *parts: str) -> None:
    with pytest.raises(InputError) as refusal:
        check_local_ports(plan)
    (problem,) = refusal.value.problems
    assert problem.where == "local ports"
    for part in parts:
        assert part in str(problem), problem


class TestLocalPorts:
    """net.ipv4.tcp_tw_reuse: 0 never, 1 everywhere, 2 to loopback addresses."""

    def test_as_many_as_there_are_ports_for(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        check_local_ports(plan_of(f"load.rate={PER_S}"))
        check_refused(
            plan_of(f"load.rate={PER_S + 1}"), "167 handshakes/s", "192.0.2.1:16113", "10,000", "167/s", "60 s"
        )

    def test_a_longer_run_needs_no_more(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        check_local_ports(plan_of(f"load.rate={PER_S}", 'load.stages=[{hold="10h"}]'))
        check_refused(plan_of(f"load.rate={PER_S + 1}", 'load.stages=[{hold="10h"}]'))

    def test_a_shorter_run_may_be_faster(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        check_local_ports(plan_of("load.rate=5000", 'load.stages=[{hold="2s"}]'))
        check_refused(plan_of("load.rate=5001", 'load.stages=[{hold="2s"}]'))

    @pytest.mark.parametrize(
        "stages",
        [
            '[{ramp="60s"}, {hold="60s", rate=1}]',
            '[{hold="60s", rate=1}, {ramp="60s"}]',
            '[{hold="60s"}, {ramp="60s", rate=1}]',
            '[{hold="60s", rate=1}, {hold="60s", rate=200}]',
        ],
    )
    def test_the_highest_rate_of_all_stages_counts(self, machine: Machine, plan_of: PlanOf, stages: str) -> None:
        machine(reuse=0)
        check_refused(plan_of("load.rate=200", f"load.stages={stages}"), "200/s")
        check_local_ports(plan_of("load.rate=100", f"load.stages={stages.replace('200', '100')}"))

    def test_addresses_share_the_rate(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        check_local_ports(plan_of(f"load.rate={PER_S * 3}", "wlc.count=3"))
        check_local_ports(plan_of(f"load.rate={PER_S * 3}", "wlc.count=3", "mse.count=4"))
        check_refused(plan_of(f"load.rate={(PER_S + 1) * 3}", "wlc.count=3", "mse.count=4"), "167/s")

    def test_the_busiest_address_counts(self, machine: Machine, plan_of: PlanOf) -> None:
        """WLC 1 has two of three pairs."""
        machine(reuse=0)
        fleet = ("wlc.count=2", "mse.count=2", "mse.assign=[{mse=0, wlc=[0, 1]}, {mse=1, wlc=[1]}]")
        check_local_ports(plan_of("load.rate=249", *fleet))
        check_refused(plan_of("load.rate=252", *fleet), "192.0.2.2:16113", "168/s")

    def test_ports_that_the_kernel_will_choose_are_different_addresses(self, machine: Machine, plan_of: PlanOf) -> None:
        """As many WLCs at one host, with port 0: each of them gets a port of its own."""
        machine(reuse=0)
        ten = ("wlc.count=10", "wlc.step=port")
        check_local_ports(plan_of("load.rate=1000", "wlc.listen=127.0.0.1:16113", *ten))
        check_local_ports(plan_of("load.rate=1000", "wlc.listen=127.0.0.1:0", *ten))

    @pytest.mark.parametrize(
        ("reuse", "host", "refused"),
        [
            (0, "192.0.2.1", True),
            (0, "127.0.0.1", True),
            (0, "[::1]", True),
            (1, "192.0.2.1", False),
            (1, "127.0.0.1", False),
            (2, "192.0.2.1", True),
            (2, "[2001:db8::1]", True),
            (2, "127.0.0.1", False),
            (2, "127.200.3.4", False),
            (2, "[::1]", False),
        ],
    )
    def test_ports_that_are_used_again(
        self, machine: Machine, plan_of: PlanOf, reuse: int, host: str, refused: bool
    ) -> None:
        machine(reuse=reuse)
        plan = plan_of("load.rate=5000", f'wlc.listen="{host}:16113"')
        if refused:
            check_refused(plan, host.strip("[]"))
        else:
            check_local_ports(plan)

    def test_as_fast_as_it_goes_nobody_knows_how_many(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0, ports="20000 20001")
        check_local_ports(plan_of())

    def test_a_target(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=2)
        targets = (("198.51.100.1", 7), ("198.51.100.2", 7))
        plan = plan_of(f"load.rate={PER_S * 2}", use=Use.TARGET_WLC, targets=targets)
        check_local_ports(plan)
        check_refused(plan_of(f"load.rate={PER_S * 2 + 2}", use=Use.TARGET_WLC, targets=targets), "198.51.100.1:7")

    def test_who_only_serves_dials_nobody(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        check_local_ports(plan_of("load.rate=5000", use=Use.SERVE_WLC))


NOTIFY = ("load={rate=1}", "wlc.count=1", "wlc.listen=127.0.0.1:16113")


class TestSources:
    """Addresses that MSEs dial from: each has ports of its own."""

    def test_more_sessions_than_one_address_has_ports(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        check_local_ports(plan_of(*NOTIFY, "mse.count=10000"))
        many = (*NOTIFY, "mse.count=25000")
        check_refused(plan_of(*many), "at most 10,000 sessions to 127.0.0.1:16113 from one address", "or 3 addresses")
        two = plan_of(*many, 'mse.bind=["127.0.9.1-127.0.9.2"]')
        check_refused(two, "at most 20,000 sessions", "from 2 addresses", "or 3 addresses in mse.bind", "found 25,000")
        check_local_ports(plan_of(*many, 'mse.bind=["127.0.9.1-127.0.9.3"]'))

    def test_over_dtls_an_address_has_its_ports_for_all_wlcs(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        many = (*NOTIFY, "transport=dtls", "mse.count=6000", "wlc.count=2")
        check_local_ports(plan_of(*many, "transport=tls"))
        check_refused(plan_of(*many), "at most 10,000 sessions from one address", "or 2 addresses", "found 12,000")
        check_local_ports(plan_of(*many, 'mse.bind=["127.0.9.1", "127.0.9.2"]'))

    def test_each_kind_of_wlc_has_its_own(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        targets = (("127.0.0.1", 7), ("::1", 7))
        changes = ("load={rate=1}", "mse.count=15000", 'mse.bind=["127.0.9.1", "127.0.9.2", "::1"]')
        plan = plan_of(*changes, use=Use.TARGET_WLC, targets=targets)
        check_refused(plan, "10,000 sessions to [::1]:7 from one address", "found 15,000")

    def test_handshakes_come_from_each_in_turn(self, machine: Machine, plan_of: PlanOf) -> None:
        machine(reuse=0)
        bind = 'mse.bind=["192.0.2.101-192.0.2.103"]'
        check_local_ports(plan_of(f"load.rate={PER_S * 3}", bind))
        check_refused(plan_of(f"load.rate={PER_S * 3 + 4}", bind), "30,000 local ports", "500 handshakes/s")

    def test_what_is_no_address_of_this_machine(self, plan_of: PlanOf) -> None:
        plan = plan_of(*NOTIFY, 'mse.bind=["127.0.9.1", "203.0.113.1-203.0.113.6"]')
        with pytest.raises(InputError) as refusal:
            check_sources(plan)
        (problem,) = refusal.value.problems
        assert problem.where == "mse.bind"
        assert problem.found.startswith("203.0.113.1 (cannot assign requested address); 203.0.113.2 (")
        assert problem.found.endswith("; and 2 more")

    def test_none_of_the_wlcs_kind(self, plan_of: PlanOf) -> None:
        with pytest.raises(InputError, match=r"none of IPv4, to dial 127\.0\.0\.1 from"):
            check_sources(plan_of(*NOTIFY, 'mse.bind=["::1"]'))

    def test_who_dials_nobody_needs_none(self, plan_of: PlanOf) -> None:
        plan = plan_of(*NOTIFY, 'mse.bind=["203.0.113.1"]', use=Use.SERVE_WLC)
        check_sources(plan)
        assert local_ports(plan) is None


class TestDescriptors:
    """Handshakes under way hold them, not sessions."""

    def test_concurrency_counts_and_sessions_do_not(self, plan_of: PlanOf) -> None:
        few, many = plan_of("load.concurrency=10"), plan_of("load.concurrency=500")
        assert descriptors_needed(many, 1) - descriptors_needed(few, 1) >= 490
        crowd = plan_of("load.concurrency=10", "mse.count=1000")
        assert descriptors_needed(crowd, 1) == descriptors_needed(few, 1)

    @pytest.mark.parametrize("concurrency", [1, 64, 1000, 100_000])
    @pytest.mark.parametrize("workers", [1, 2, 7])
    def test_enough_for_what_is_under_way_and_every_listener(
        self, plan_of: PlanOf, concurrency: int, workers: int
    ) -> None:
        plan = plan_of(f"load.concurrency={concurrency}", "wlc.count=300")
        # One WLC worker may have all that is under way; a MSE worker and its own pipes come to less.
        assert descriptors_needed(plan, workers) >= concurrency + -(-300 // workers) + 20

    def test_the_default_at_a_rate(self, plan_of: PlanOf) -> None:
        assert descriptors_needed(plan_of("load.rate=5"), 1) - descriptors_needed(plan_of(), 1) >= 1000 - 64

    @pytest.mark.parametrize("workers", [40, 256])
    def test_the_supervisor_of_many_workers(self, plan_of: PlanOf, workers: int) -> None:
        """It holds three descriptors for each worker of both sides, whatever the workers do."""
        assert descriptors_needed(plan_of("load.concurrency=1", "wlc.count=300"), workers) >= 2 * 3 * workers

    def test_the_soft_limit_is_raised_to_what_is_needed(self, monkeypatch: pytest.MonkeyPatch, plan_of: PlanOf) -> None:
        plan = plan_of("load.concurrency=3000")
        needed = descriptors_needed(plan, 1)
        assert needed > 3000
        raised: list[tuple[int, tuple[int, int]]] = []
        monkeypatch.setattr(resource, "setrlimit", lambda what, limits: raised.append((what, limits)))
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, needed))
        allow_descriptors(plan, 1)
        assert raised == [(resource.RLIMIT_NOFILE, (needed, needed))]
        raised.clear()
        monkeypatch.setattr(resource, "getrlimit", lambda _: (needed, needed))
        allow_descriptors(plan, 1)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        allow_descriptors(plan, 1)
        assert raised == []

    def test_a_hard_limit_that_is_too_low(self, monkeypatch: pytest.MonkeyPatch, plan_of: PlanOf) -> None:
        plan = plan_of("load.concurrency=3000")
        needed = descriptors_needed(plan, 1)
        monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("nothing is changed"))
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, needed - 1))
        with pytest.raises(InputError) as refusal:
            allow_descriptors(plan, 1)
        (problem,) = refusal.value.problems
        assert problem.where == "file descriptors"
        assert f"{needed:,}" in problem.expected
        assert problem.found == f"{needed - 1:,}"
        assert "--workers" not in problem.expected  # as much may be under way at one of two

    @pytest.mark.parametrize(("hard", "workers"), [(600, 1), (400, 2), (300, 3), (170, 5)])
    def test_workers_are_as_many_as_descriptors_need(
        self, monkeypatch: pytest.MonkeyPatch, plan_of: PlanOf, hard: int, workers: int
    ) -> None:
        """500 sessions of ten WLCs: a worker of its own for each would take more than it spares, at the supervisor."""
        plan = plan_of(*NOTIFY, "mse.count=50", "wlc.count=10")
        monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
        assert workers_with_descriptors(plan, 1) == workers
        assert descriptors_needed(plan, workers) <= hard
        assert workers == 1 or descriptors_needed(plan, workers - 1) > hard
        if workers > 1:
            with pytest.raises(InputError) as refusal:
                allow_descriptors(plan, 1)
            assert f"or --workers {workers}" in refusal.value.problems[0].expected

    def test_a_limit_that_no_number_of_workers_meets(self, monkeypatch: pytest.MonkeyPatch, plan_of: PlanOf) -> None:
        """Ten workers a side are as many as there are WLCs."""
        plan = plan_of(*NOTIFY, "mse.count=50", "wlc.count=10")
        monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 90))
        assert workers_with_descriptors(plan, 1) is None
        with pytest.raises(InputError) as refusal:
            allow_descriptors(plan, 10)
        assert "docs/distributed.md" in refusal.value.problems[0].expected
