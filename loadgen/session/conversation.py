"""What came is told to an endpoint: frame by frame, each where it stands, whatever has carried it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.any_bulk import Receiver
from loadgen.nmsp.bulk import Control
from loadgen.session.link import Endpoint

# After each control message that an endpoint has taken, before what follows it: the message, and the mask that was
# granted before it. It may have set the session up, or changed its grant.
Hearer = Callable[[Control, int], None]


class Heard(NamedTuple):
    """What was taken.

    Attributes:
        position: up to where frames were whole.
        notifications: as many were scanned into the receiver, also where a fault came after them.
        fault: what the peer broke the protocol with, and nothing after it was taken.
    """

    position: int
    notifications: int
    fault: RemoteProtocolError | None


def hear_untrusted(receiver: Receiver, endpoint: Endpoint, start: int, end: int, now_ns: int, after: Hearer) -> Heard:
    """Take the frames in the receiver's `view[start:end]`, which came at this time. Raises what `after` raises."""
    before = mark = receiver.mark()
    position, fault = start, None
    try:
        while True:
            scanned = receiver.scan_untrusted(position, end)
            position = scanned.position
            if scanned.notifications:
                if endpoint.notifications_untrusted(scanned.notifications, now_ns):
                    mark = receiver.mark()
                else:
                    receiver.rollback(mark)
            if scanned.fault is not None:
                raise scanned.fault
            if (control := scanned.control) is None:
                break
            granted = endpoint.granted
            endpoint.control_untrusted(control, now_ns)
            after(control, granted)
    except RemoteProtocolError as error:
        receiver.rollback(mark)
        fault = error
    return Heard(position, receiver.notifications - before.notifications, fault)


def unfilled(left: int) -> RemoteProtocolError:
    """The fault of a datagram that has so many bytes behind its last whole frame: frames have to fill it."""
    return RemoteProtocolError("malformed", f"expected frames that fill their datagram, found {left} bytes more")
