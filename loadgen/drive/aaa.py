"""A WLC's AAA: asks its auth lists in order, and knows how long that takes in the field; how the admission of
clients is counted, over TLS and over DTLS, and what an association asks AAA for.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.authlist import AuthList
from loadgen.measure.recorder import Recorder
from loadgen.transport.verifying import Applicant, Ruling
from loadgen.units import NS_PER_S

NOT_LISTED = "key_hash_not_listed"


class Aaa:
    """The auth lists of a worker's WLCs. The look-up is done at once; a WLC waits for the answer as long as it says."""

    def __init__(self, lists: Sequence[AuthList], delays_ns: Sequence[int], poll_tick_ns: int) -> None:
        """Args: delays_ns: of each list; poll_tick_ns: how often a WLC looks at a handshake; 0: whenever it can."""
        self._lists = tuple(zip(lists, delays_ns, strict=True))
        self.poll_tick_ns = poll_tick_ns
        self.takes_time = any(delays_ns)

    def check(self, _tunnel: Applicant, der: bytes) -> Ruling:
        """Ask for a client, whose certificate this is; called inside of its handshake.

        Raises:
            UnreadableError: the certificate has no key where one belongs.
        """
        certificate, wait_ns = AnyCertificate(der), 0
        for number, (auth_list, delay_ns) in enumerate(self._lists, 1):
            wait_ns += delay_ns
            if auth_list.find(certificate) is not None:
                return Ruling(None, number, wait_ns)
        return Ruling(NOT_LISTED, 0, wait_ns)


def count_verified(recorder: Recorder, verified: bool | None) -> None:
    """Once for every handshake that has come to its end. Args: verified: None: there was no certificate to judge."""
    if verified is not None:
        recorder.count("verify.count")
        recorder.count("verify.success" if verified else "verify.fail")


def count_response(recorder: Recorder, ruling: Ruling) -> None:
    """An answer of AAA's has come."""
    recorder.count("aaa.response")
    if ruling.refusal is None:
        recorder.count("aaa.validation_success")
        recorder.count(f"aaa.found_in_list_{ruling.list}")
    else:
        recorder.count("aaa.validation_fail")


class Admission:
    """The client of one association, before AAA. It is the association's `transport.dtls.Deliberation`."""

    __slots__ = ("_aaa", "_recorder")

    def __init__(self, aaa: Aaa, recorder: Recorder) -> None:
        self._aaa = aaa
        self._recorder = recorder

    @property
    def poll_tick_s(self) -> float:
        return self._aaa.poll_tick_ns / NS_PER_S

    def asked(self, _ruling: Ruling) -> None:
        self._recorder.count("aaa.request")

    def answered(self, ruling: Ruling) -> None:
        count_response(self._recorder, ruling)
