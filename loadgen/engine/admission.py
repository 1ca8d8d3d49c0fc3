"""How the admission of clients is counted, over TLS and over DTLS, and what an association asks AAA for."""

from __future__ import annotations

from loadgen.engine.aaa import Aaa, Answer
from loadgen.measure.recorder import Recorder
from loadgen.units import NS_PER_S


def count_verified(recorder: Recorder, verified: bool | None) -> None:
    """Once for every handshake that has come to its end. Args: verified: None: there was no certificate to judge."""
    if verified is not None:
        recorder.count("verify.count")
        recorder.count("verify.success" if verified else "verify.fail")


def count_response(recorder: Recorder, answer: Answer) -> None:
    """An answer of AAA's has come."""
    recorder.count("aaa.response")
    if answer.list:
        recorder.count("aaa.validation_success")
        recorder.count(f"aaa.found_in_list_{answer.list}")
    else:
        recorder.count("aaa.validation_fail")


class Admission:
    """The client of one association, before AAA. It is the association's `transport.dtls.Deliberation`."""

    __slots__ = ("_aaa", "_answer", "_recorder")

    def __init__(self, aaa: Aaa, recorder: Recorder) -> None:
        self._aaa = aaa
        self._recorder = recorder
        self._answer: Answer | None = None

    @property
    def poll_tick_s(self) -> float:
        return self._aaa.poll_tick_ns / NS_PER_S

    def judged(self) -> float:
        answer = self._aaa.take()
        if answer is None:  # its certificate could not be read, and nobody was asked
            return 0.0
        self._recorder.count("aaa.request")
        self._answer = answer
        if not answer.wait_ns:
            self.answered()
        return answer.wait_ns / NS_PER_S

    def answered(self) -> None:
        if self._answer is not None:
            count_response(self._recorder, self._answer)
            self._answer = None
