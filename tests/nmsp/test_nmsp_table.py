"""The native turn's table of a notification: what it holds, and what it leaves to Python."""

from __future__ import annotations

import pytest
from nmsp_samples import reference_document

from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.nmsp.table import table_of


def with_constants(count: int) -> WireProfile:
    """The reference profile, whose header ends in so many numbers that never differ."""
    document = reference_document()
    header = document["header"]
    known = sum("value" in field for field in header["fields"])
    at = header["size"]
    header["fields"] += [{"name": f"c{i}", "type": "u8", "offset": at + i, "value": 7} for i in range(count - known)]
    header["size"] = at + count - known
    return profile_untrusted(document, "test.toml")


@pytest.mark.parametrize(("count", "is_held"), [(15, True), (16, False)])
def test_as_many_constants_as_there_is_room_for(count: int, is_held: bool) -> None:
    """With the message id, which is one."""
    table = table_of(with_constants(count))
    assert (table is not None) == is_held
    assert table is None or len(table.constants) == count + 1
