"""What happens to the links of a fleet, as its shard is told: a tunnel is up, a session is active, a link is gone."""

from __future__ import annotations

from typing import ClassVar, Generic

from loadgen.drive.links import LinkT
from loadgen.drive.phase import Phase


class Happenings(Generic[LinkT]):
    """Each is called by `tls.Shard`, and answered by a subclass that does something then."""

    def on_turn(self, now_ns: int) -> None:
        """Do what is due."""
        raise NotImplementedError

    def on_other(self, fd: int) -> None:
        """A descriptor that is no link's is ready."""
        raise NotImplementedError

    def on_connected(self, link: LinkT) -> None:
        """TCP is up; give the link its tunnel.

        Raises:
            TransportFault: it is not.
        """
        raise NotImplementedError

    def on_tunnel(self, link: LinkT, now_ns: int) -> None:
        """TLS is up; give the link its endpoint, if there is to be a session.

        Raises:
            TransportFault
        """
        raise NotImplementedError

    def on_active(self, link: LinkT, now_ns: int) -> None:
        """The subscription was answered."""
        raise NotImplementedError

    def on_granted(self, link: LinkT, before: int, now_ns: int) -> None:
        """A running session's grant has changed (from this mask), at this place of what is being scanned."""

    def on_end_of_stream(self, link: LinkT, *, orderly: bool) -> bool:
        """The peer closed a link that has no endpoint; False if that is a fault."""
        return False

    def on_left(self) -> None:
        """The peer of an active link has closed it in order; `on_gone` follows."""

    def on_farewell(self, link: LinkT, size: int) -> None:
        """The message that ends the session went out."""

    def on_goodbye_unanswered(self, link: LinkT) -> None:
        """We had said goodbye, and the link failed before the peer had closed it."""

    def on_gone(self, link: LinkT, phase: Phase, *, orderly: bool) -> None:
        """A link ended; `phase` is where it stood."""
        raise NotImplementedError

    def on_withdrawn(self, link: LinkT, phase: Phase) -> None:
        """We ended a link that was being set up; `phase` is where it stood."""
        raise NotImplementedError

    # Whether links usually bring notifications, and so are worth sweeping.
    sweeps: ClassVar[bool] = False

    def on_swept(self, links: list[LinkT], counts: list[int], done_ns: list[int]) -> None:
        """Each of these links brought its count of notifications, and the receiver swept them in this order."""

    def on_notifications(self, link: LinkT, count: int, done_ns: int) -> None:
        """`count` more notifications of this link were scanned into the receiver."""
