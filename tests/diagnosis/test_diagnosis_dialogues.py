"""`loadgen check` goes through the profile's dialogue, whichever it is."""

from __future__ import annotations

import diagnosis_peers as peers
import pytest
from diagnosis_peers import MSE, SHORT_NS, Talker, both
from dialogue_samples import ENDED, NOTHING, OPAQUE, SHORT, UNANSWERED, UNASKED, USUAL, WLC_FIRST, profile_with

from loadgen.diagnosis.steps import CheckReport
from loadgen.diagnosis.wlc_check import check_wlc

# A dialogue, and which of its steps there are.
STEPS = {
    "usual": (USUAL, {"capability", "echo"}),
    "wlc first": (WLC_FIRST, {"capability", "echo"}),
    "short": (SHORT, {"echo"}),
    "no subscription": (UNASKED, {"capability", "echo"}),
    "no answer": (UNANSWERED, {"capability", "echo"}),
    "nothing": (NOTHING, {"echo"}),
    "an end": (ENDED, {"capability", "echo"}),
    "opaque": (OPAQUE, {"echo"}),
    "no echo": (SHORT + '\necho = "none"', set[str]()),
    "echoes both ways": (SHORT + '\necho = "both"', {"echo"}),
}


def outcomes(report: CheckReport) -> dict[str, str]:
    return {step.step: step.outcome for step in report.steps}


@pytest.mark.parametrize("transport", ["tls", "dtls"])
@pytest.mark.parametrize("name", STEPS)
def test_both_halves_go_through_it(name: str, transport: str) -> None:
    dialogue, there = STEPS[name]
    if name == "nothing" and transport == "dtls":
        return  # a run is refused: nobody would say anything again
    values = {"profile": profile_with(dialogue), "transport": transport}
    reports = both(at_mse=values, at_wlc=values)
    for report in reports:
        assert report.passed, report
        found = outcomes(report)
        for step in ("capability", "echo"):
            assert found[step] == ("passed" if step in there else "not needed"), step
        assert found["subscription"] == "passed"


@pytest.mark.parametrize(("dialogue", "title"), [(SHORT, "subscription"), (UNASKED, "opening")])
def test_a_step_is_called_what_it_is(dialogue: str, title: str) -> None:
    values = {"profile": profile_with(dialogue)}
    for report in both(at_mse=values, at_wlc=values):
        assert [step.title for step in report.steps if step.step == "subscription"] == [title]


def test_what_did_not_come_is_named() -> None:
    with peers.listening(peers.scripted_wlc(Talker.until_closed)) as port:
        settings = peers.settings(MSE, profile=profile_with(WLC_FIRST), timeout_ns=SHORT_NS)
        report = check_wlc("127.0.0.1", port, settings)
    assert report.failed == "capability"
    failed = next(step for step in report.steps if step.outcome == "failed")
    assert "nothing for this step (version_request from the WLC) from the WLC" in failed.detail
