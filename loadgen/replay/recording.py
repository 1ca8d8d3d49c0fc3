"""A recording as workers play it: what WLCs said by themselves, a track for each, as columns.

Whatever differs from endpoint to endpoint and from time to time has its place noted; all else stays as it was recorded.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import FieldDocument, number_struct
from loadgen.replay.macs import is_mapped

# Series that notifications are numbered in.
MEASURED, SERVICE, UNNUMBERED = 0, 1, 2
# Of what is about no subservice that is known.
ABOUT_NONE = 255
# The device of a request about any of its class, or about none.
ANY_DEVICE = -1


class Places(msgspec.Struct, frozen=True):
    """Where one number of ours is in each frame. at: int64, in the track's data; -1: not in that one."""

    name: str
    type: str
    at: bytes


class Times(msgspec.Struct, frozen=True):
    """Where times of devices are, of all that tell it alike.

    Attributes:
        slots, at: int64: of which frame, and where in the track's data.
        since_ns: int64: how much later than the message they are.
        size, unit, epoch: as a wire profile has them.
    """

    type: str
    size: int
    unit: str
    epoch: str
    slots: bytes
    at: bytes
    since_ns: bytes


class Answered(msgspec.Struct, frozen=True):
    """What was answered to a request of an MSE.

    Attributes:
        asked, kind: of request and response. subservice: -1: the request has none. device: rank of its MAC.
        macs: where MACs are in the frame, and which of the recording's each is.
        times: where times are, how much later than the message they are, and how they are told.
    """

    asked: int
    subservice: int
    device: int
    kind: int
    frame: bytes
    macs: tuple[tuple[int, int], ...]
    times: tuple[tuple[int, int, str, int, str, str], ...]


class PastRequest(msgspec.Struct, frozen=True):
    """What an MSE asked in a running session.

    Attributes:
        at_ns: in the capture's period. name: as of `PlannedRequest`.
        device: rank of the MAC that it is about; `ANY_DEVICE`: about none, or any.
    """

    at_ns: int
    name: str
    msg_id: int
    body: bytes
    device: int


class Track(msgspec.Struct, frozen=True):
    """What one recorded WLC said by itself in one session, and in those in which the same MSE came back to it.

    Attributes:
        label: the ends of the first one.
        data, sizes: frames side by side, and how long each is (int64).
        series: uint8: of each, the series that it is numbered in.
        subservices: uint8: that each is about; `ABOUT_NONE`: none that is known.
        sayings, said: names of what is no measurement, and of each frame its number in there (int16; -1: it is one).
        mac_at, mac: int64: where MACs are, and which of the recording's each is.
        first_transaction: of frames that are numbered in it; None: they stay as they are.
        stations: ranks of measured stations, and a frame that tells of each.
        answers: to what was asked in the session. groups: of access points, that were subscribed to in it.
        asked: in the running session, in order.
    """

    label: str
    data: bytes
    sizes: bytes
    series: bytes
    subservices: bytes
    sayings: tuple[str, ...]
    said: bytes
    places: tuple[Places, ...]
    times: tuple[Times, ...]
    mac_at: bytes
    mac: bytes
    first_transaction: int | None
    stations: tuple[tuple[int, int], ...]
    answers: tuple[Answered, ...]
    groups: tuple[str, ...]
    asked: tuple[PastRequest, ...]


class Tracks(msgspec.Struct, frozen=True):
    """What a worker needs to play a capture. macs: six bytes each; ap: uint8, which are access points'."""

    tracks: tuple[Track, ...]
    macs: bytes
    ap: bytes


def asked_of(recording: Tracks | None) -> Tracks | None:
    """What MSEs need of it: what was asked, of which devices."""
    if recording is None:
        return None
    nothing = {"data": b"", "sizes": b"", "series": b"", "subservices": b"", "said": b"", "mac_at": b"", "mac": b""}
    lean = [
        msgspec.structs.replace(track, **nothing, sayings=(), places=(), times=(), stations=(), answers=())
        for track in recording.tracks
    ]
    return msgspec.structs.replace(recording, tracks=tuple(lean))


def mapped_macs(recording: Tracks, *, aps: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """All recorded MACs, and which are to become others. Args: aps: also those of access points."""
    macs = np.frombuffer(recording.macs, np.uint8).reshape(-1, 6)
    mapped = is_mapped(macs)
    return macs, mapped if aps else mapped & (np.frombuffer(recording.ap, np.uint8) == 0)


def time_of(profile: WireProfile, lie: str, size: int, unit: str, epoch: str) -> DeviceTime:
    """How a time of `Times` is told."""
    field = FieldDocument("time", "time", 0, size=size, unit=unit, epoch=epoch)  # type: ignore[arg-type]
    return DeviceTime(field, number_struct(lie, profile.order).format[0])
