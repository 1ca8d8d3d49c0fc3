"""A WLC's AAA: asks its auth lists in order, and knows how long that takes in the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.authlist import AuthList

NOT_LISTED = "key_hash_not_listed"


class Answer(NamedTuple):
    """What came of a request. list: which knew the client, from 1; 0: none. wait_ns: how long the answer takes."""

    list: int
    wait_ns: int


class Aaa:
    """The auth lists of a worker's WLCs. The look-up is done at once; whoever asked waits as long as it says."""

    def __init__(self, lists: Sequence[AuthList], delays_ns: Sequence[int], poll_tick_ns: int) -> None:
        """Args: delays_ns: of each list; poll_tick_ns: how often a WLC looks at a handshake; 0: whenever it can."""
        self._lists = tuple(zip(lists, delays_ns, strict=True))
        self.poll_tick_ns = poll_tick_ns
        self.takes_time = any(delays_ns)
        self._answer: Answer | None = None

    def check(self, der: bytes) -> str | None:
        """Ask for a client, whose certificate this is; called inside of its handshake. None: it is listed.

        Raises:
            UnreadableError: the certificate has no key where one belongs.
        """
        certificate, wait_ns = AnyCertificate(der), 0
        for number, (auth_list, delay_ns) in enumerate(self._lists, 1):
            wait_ns += delay_ns
            if auth_list.find(certificate) is not None:
                self._answer = Answer(number, wait_ns)
                return None
        self._answer = Answer(0, wait_ns)
        return NOT_LISTED

    def take(self) -> Answer | None:
        """The answer to what was asked since it was called last."""
        answer, self._answer = self._answer, None
        return answer
