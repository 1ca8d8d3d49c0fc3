"""What the frames tell of a layout that was found: units of times."""

from __future__ import annotations

import struct

import pytest

from loadgen.infer.completing import completed
from loadgen.infer.frames import Frame
from loadgen.infer.layout_document import layout_from

BEGAN = 1_736_164_800_000_000_000  # ns since 1970


@pytest.mark.parametrize(("order", "sign"), [("big", ">"), ("little", "<")])
def test_seconds_stand_first_in_a_time_of_two_units(order: str, sign: str) -> None:
    fields = [
        {"name": "msg_id", "at": 0, "size": 2, "role": "msg_id", "type": "u16"},
        {"name": "length", "at": 2, "size": 2, "role": "length", "type": "u16"},
    ]
    time = {"name": "time_0", "at": 0, "size": 8, "role": "timestamp", "type": "u64"}
    layout = layout_from(
        {
            "format": "layout-1",
            "name": "made",
            "byte_order": order,
            "header": {"size": 4, "frame_size": {"field": "length", "unit": 1, "add": 0}, "fields": fields},
            "messages": [{"id": 1, "from": "wlc", "name": "notify", "body": {"fields": [time]}}],
        }
    )
    frames = []
    for number in range(6):
        ns = BEGAN + number * 1_700_000_000
        data = struct.pack(sign + "HHII", 1, 12, ns // 10**9, ns // 1000 % 10**6)
        frames.append(Frame(0, False, 12 * number, ns, data))
    (found,) = completed(layout, frames).messages[0].body.fields
    assert (found.unit, found.epoch) == ("s+us", "unix")
