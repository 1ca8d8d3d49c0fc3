"""Connections whose client has yet to say something in its handshake: they have a budget of their own.

A client that connects and says nothing (a port scan, a health check, a flood) costs a descriptor and OpenSSL's memory
until its time to be set up is over. A peer that means it says something within a round trip. So where there are too
many of them, or no descriptor is left, those go first that have been silent for longest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from loadgen.prepare.limits import MOST_STRANGERS
from loadgen.units import NS_PER_S

# Over TCP, where descriptors are what they cost: a peer that is far away, or busy, is no stranger yet.
GRACE_NS = NS_PER_S // 2
# Looked at before the one that goes is found: a few may have spoken just now.
_LOOKS = 64
# What a fault is called when its link had to go.
SILENT = "silent"


class StrangerLink(Protocol):
    """A link whose client is waited for."""

    heard_ns: int

    @property
    def spoke(self) -> bool:
        """It has said something that we have not read yet."""


L = TypeVar("L", bound=StrangerLink)


class Strangers(Generic[L]):
    """All of a worker's, the one that has been silent for longest first."""

    def __init__(self, planned: int, grace_ns: int = 0) -> None:
        """Args:
        planned: sessions that are to come; as many may be in their handshakes at once.
        grace_ns: one that was heard so lately does not go for being one of too many.
        """
        self._most = planned + MOST_STRANGERS
        self._grace_ns = grace_ns
        self._silent: dict[L, None] = {}

    def __len__(self) -> int:
        return len(self._silent)

    def await_word(self, link: L, now_ns: int) -> None:
        """A link was accepted, or has said something, and is to say more."""
        self.forget(link)
        link.heard_ns = now_ns
        self._silent[link] = None

    def forget(self, link: L) -> None:
        """A link's handshake is over, or it waits for us."""
        self._silent.pop(link, None)

    def too_many(self, now_ns: int) -> Iterator[L]:
        """Those that have to go because there are too many; each must be gone when the next is asked for."""
        while len(self._silent) > self._most and (link := self.first(now_ns)) is not None:
            if now_ns - link.heard_ns < self._grace_ns:
                return
            yield link

    def first(self, now_ns: int) -> L | None:
        """The one that has been silent for longest; None if all have spoken, or there is none."""
        for link in list(self._silent)[:_LOOKS]:
            if not link.spoke:
                return link
            self.await_word(link, now_ns)
        return None
