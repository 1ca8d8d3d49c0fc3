"""Results as JUnit XML, in the form that Jenkins' schema junit-10.xsd has and GitLab, Azure and GitHub's actions read.

A test case is a threshold of a run or a metric of a comparison. What failed is a <failure>, what cannot be told is
<skipped>, and a run whose generator was INVALID, in which a worker died or that was interrupted, is an <error>: it did
not test what it should have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple
from xml.etree import ElementTree as ET

from loadgen.compare.metrics import not_counted
from loadgen.compare.result import Comparison, Decision, Gate
from loadgen.report.figures import change_shown, figure_shown, interval_shown
from loadgen.results.health import Verdict
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Status

# XML 1.0 has no way to write these, not even as a reference.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_Mark = Literal["failure", "error", "skipped"]


_OF_THRESHOLD: dict[Status, _Mark | None] = {Status.PASSED: None, Status.FAILED: "failure", Status.ERROR: "error"}


class _Case(NamedTuple):
    name: str
    mark: _Mark | None
    message: str


def run_junit(result: RunResult) -> str:
    """A run: a case per threshold, and one for the generator's verdict."""
    verdict = result.verdict
    reasons = "; ".join(verdict.reasons)
    marks: dict[Verdict, _Mark | None] = {Verdict.INVALID: "error", Verdict.DEGRADED: None, Verdict.VALID: None}
    void = not_counted(result) is not None
    cases = [_Case("generator", marks[verdict.generator], f"generator {verdict.generator}: {reasons}")]
    for threshold in result.thresholds:
        # The figures of a run that does not count are not the target's, for better or worse.
        mark: _Mark | None = "skipped" if void else _OF_THRESHOLD[threshold.status]
        cases.append(_Case(threshold.text, mark, threshold.shown))
    # A run can fail without any threshold: no session came up, a worker died.
    told = verdict.generator is Verdict.INVALID or not (void or all(t.passed for t in result.thresholds))
    if verdict.exit_code and not told:
        cases.append(_Case("outcome", "error", f"{verdict.outcome}: {reasons}"))
    missing = {f"missing: {name}": why for name, why in result.missing.items()}
    return _document("run", result.scenario, result.plan_digest, result.started, result.load_s, cases, missing)


def comparison_junit(result: Comparison) -> str:
    """A comparison: a case per metric that decides."""
    marks: dict[Decision, _Mark | None] = {
        Decision.PASS: None,
        Decision.REGRESSION: "failure",
        Decision.INCONCLUSIVE: "skipped",
    }
    cases = [
        _Case(
            m.metric,
            marks[m.decision],
            f"{m.reason} (baseline {figure_shown(m.baseline, m.unit)}, new {figure_shown(m.new, m.unit)}, "
            f"change {change_shown(m.change)}, interval {interval_shown(m.interval)})",
        )
        for m in result.metrics
        if m.gate is not Gate.REPORT
    ]
    return _document("compare", result.scenario, result.plan_digest, result.started, None, cases)


def _document(
    kind: str,
    scenario: str,
    digest: str,
    started: str,
    seconds: float | None,
    cases: Sequence[_Case],
    facts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.mark == "failure" for case in cases)),
        "errors": str(sum(case.mark == "error" for case in cases)),
    }
    name = f"loadgen.{kind}.{_clean(scenario)}"
    root = ET.Element("testsuites", {"name": f"loadgen {kind}", **counts})
    skipped = str(sum(case.mark == "skipped" for case in cases))
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts, "skipped": skipped, "timestamp": _clean(started)})
    if seconds is not None:
        suite.set("time", f"{seconds:.3f}")
    properties = ET.SubElement(suite, "properties")
    for name_of, value in {"plan_digest": digest, **facts}.items():
        ET.SubElement(properties, "property", {"name": _clean(name_of), "value": _clean(value)})
    for case in cases:
        # Some readers show only the text, others only the message.
        element = ET.SubElement(suite, "testcase", {"name": _clean(case.name), "classname": name})
        if case.mark is not None:
            ET.SubElement(element, case.mark, {"message": _clean(case.message)}).text = _clean(case.message)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("", text)
