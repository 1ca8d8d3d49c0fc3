"""Figures that a layout cannot give, and why: known before a run. What is ours in a notification, no device sends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from loadgen.errors import InputError, Problem
from loadgen.loads import LoadKind
from loadgen.measure.names import BETWEEN_CLOCKS, SUBSERVICES
from loadgen.results.thresholds import Threshold
from loadgen.scenario.plan import Plan, Use, is_placed

# What the numbers in a session's notifications tell, and what is known without them where both sides are ours.
_BY_NUMBER = (
    *("notify.lost", "notify.duplicated", "notify.reordered", "notify.withdrawn"),
    *("errors.stream.sequence_jump", "errors.stream.sequence_restart"),
)
_BY_COUNT = ("notify.lost", "notify.duplicated", "notify.withdrawn")


def missing_figures(plan: Plan) -> dict[str, str]:
    """Of a run of a plan: which figures its layout cannot give, each with the reason in a few words."""
    if plan.load.kind is not LoadKind.NOTIFY or not plan.use.plays_mse:
        return {}  # who only sends measures nothing that the layout would have to carry
    missing: dict[str, str] = {}
    sequence_bits, due_bits, sent_bits = plan.carried
    if sent_bits < 64:
        missing["notify.service"] = _lacks("sent time", sent_bits)
    if why := _no_latency(plan, due_bits, sent_bits):
        missing["notify.latency"] = why
    mask = plan.mse.subscription
    carried_of = {name: (due, sent) for name, _, due, sent in plan.carried_of}
    for bit, name in enumerate(SUBSERVICES) if mask.bit_count() > 1 else ():
        carried = carried_of.get(name)
        if mask >> bit & 1 and carried is not None and (why := _no_latency(plan, *carried)):
            missing[f"service.{name}.latency"] = why
    if not sequence_bits:
        counted = _BY_COUNT if plan.use is Use.BOTH else ()
        missing |= {name: _lacks("sequence number", 0) for name in _BY_NUMBER if name not in counted}
    return missing


def missing_of_run(plan: Plan, measured: Collection[str], unplaced: int) -> dict[str, str]:
    """The same once it was run. Args: measured: durations that there are. unplaced: notifications that have none."""
    missing = missing_figures(plan)
    if unplaced and "notify.latency" not in measured:
        missing["notify.latency"] = f"{_lacks('due time', plan.carried[1])}, and no order was told"
    return missing


def _lacks(what: str, bits: int) -> str:
    return f"the layout's {what} has {bits} bits, and goes round" if bits else f"the layout carries no {what}"


def _no_latency(plan: Plan, due_bits: int, sent_bits: int) -> str:
    both = plan.use is Use.BOTH
    if due_bits == 64:
        # Two clocks are compared by when things were sent.
        return "" if both or sent_bits == 64 else _lacks("sent time", sent_bits)
    if is_placed(plan):
        return ""
    why = _lacks("due time", due_bits)
    if not both:
        return why
    if plan.replay is not None:
        return f"{why}, and a capture no order of one kind"
    return f"{why}, and a site no schedule" if plan.site is not None else f"{why}, and datagrams keep no order"


def grouped(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """For people: reasons with the figures that are missing because of them."""
    groups: dict[str, list[str]] = {}
    for name, why in missing.items():
        groups.setdefault(why, []).append(name)
    return groups


def instead_of(name: str, missing: Mapping[str, str]) -> list[str]:
    """What a layout can give of that kind, where it cannot give this figure."""
    if name not in BETWEEN_CLOCKS:
        return [each for each in ("notify.lost", "notify.received") if each not in missing]
    others = ("notify.latency", "notify.service", "echo.latency")
    gap = ["notify.gap"] if "notify.latency" in missing else []
    return gap + [each for each in others if each not in missing]


def refuse_missing(demands: Sequence[Threshold], plan: Plan, where: str) -> None:
    """Nothing is demanded of a figure that the plan's wire profile cannot give.

    Raises:
        InputError: each that is, with what there is instead.
    """
    missing = missing_figures(plan)
    problems = []
    for demand in demands:
        for name in (demand.name, demand.over):
            if name is not None and name in missing:
                given = " or ".join(instead_of(name, missing))
                expected = f"a figure that profile {plan.profile} can give, such as {given}"
                problems.append(Problem(f'{where} "{demand.text}"', expected, f"{name}: {missing[name]}"))
    if problems:
        raise InputError(problems)
