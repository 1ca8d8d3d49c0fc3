"""Why a step may have failed: the table is in `cause_table`, this finds what fits and fills it in.

A cause names clues, each with a weight. Clues are what was seen: "<step>:<kind>" of the fault, "<step>:*" for the step
alone, and signs, which are findings of their own ("missing_digits", "peer_http"); "a&b" is both at once. The heaviest
clue that was seen is a cause's likelihood; without one it is not named. Of equal ones the earlier in the table comes
first. What is proven needs no guesses beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from loadgen.diagnosis.cause import Cause
from loadgen.diagnosis.cause_table import CAUSES
from loadgen.diagnosis.steps import Likely, Side, StepFault
from loadgen.foreign import plain

_MOST, _PROOF = 5, 10


class Findings(msgspec.Struct):
    """What a check has found out.

    signs: words that causes name; facts: texts that their sentences have places for.
    """

    plays: Side
    signs: set[str] = msgspec.field(default_factory=set)
    facts: dict[str, str] = msgspec.field(default_factory=dict)

    def note(self, sign: str | None, **facts: str | tuple[str, ...]) -> None:
        """Add a finding, and what is to be said of it: a text, or lines. A peer may have chosen it."""
        if sign is not None:
            self.signs.add(sign)
        for name, fact in facts.items():
            self.facts[name] = "\n".join(map(plain, (fact,) if isinstance(fact, str) else fact))


def clues_of(fault: StepFault, evidence: Findings) -> set[str]:
    """Everything that a cause may name."""
    step = fault.step.value
    return {f"{step}:{fault.kind}", f"{step}:*", *evidence.signs}


def likely_causes(fault: StepFault, evidence: Findings, table: Iterable[Cause] = CAUSES) -> tuple[Likely, ...]:
    """The causes that fit, most likely first; five at most."""
    clues = clues_of(fault, evidence)
    found: list[tuple[int, int, Cause]] = []
    for cause in table:
        weights = [weight for clue, weight in cause.clues.items() if clues.issuperset(clue.split("&"))]
        fits = cause.plays in (None, evidence.plays) and (not cause.steps or fault.step.value in cause.steps)
        if weights and fits:
            found.append((-max(weights), len(found), cause))
    if any(weight == -_PROOF for weight, _, _ in found):
        found = [each for each in found if each[0] == -_PROOF]
    return tuple(_filled(cause, evidence.facts) for _, _, cause in sorted(found, key=lambda each: each[:2])[:_MOST])


def _filled(cause: Cause, facts: Mapping[str, str]) -> Likely:
    known = _Facts(facts)
    look_at = (line for template in cause.look_at for line in template.format_map(known).split("\n"))
    return Likely(cause.name, cause.says.format_map(known), tuple(line for line in look_at if line))


class _Facts(dict[str, str]):
    """A fact that nobody noted is not known, and no reason to say nothing."""

    def __missing__(self, name: str) -> str:
        return "(not known)"
