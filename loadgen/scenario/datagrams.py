"""What a scenario's values say together about datagrams: what only a connection can do, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.errors import Problem
from loadgen.nmsp.catalogue import CATALOGUE, NOTIFICATIONS
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.scenario.requests import ASKED, given
from loadgen.scenario.schema import Dtls, Scenario

# Of a packet's bytes, those that are no frame's: IPv6 and UDP headers, and what DTLS 1.2 adds with any cipher.
OVERHEAD_BYTES = 48 + 93
# What our WLCs answer with in one response: all readings of a device, or the one record of its class.
_READINGS = (Kind.MEASUREMENT_RESPONSE, Kind.ON_DEMAND_RESPONSE)


def check_datagrams(scenario: Scenario, profile: WireProfile, readings: int) -> Iterator[Problem]:
    """Combinations with `transport` that cannot be. Args: readings: the most that a notification has."""
    if scenario.transport == "tls":
        if scenario.dtls != Dtls():
            yield Problem("dtls", 'transport = "dtls"', '"tls"')
        return
    if scenario.tls.version != "1.2":
        yield Problem("tls.version", '"1.2", with transport = "dtls"', f'"{scenario.tls.version}"')
    if scenario.dtls.retransmit <= 0:
        yield Problem("dtls.retransmit", "more than 0", "0")
    if scenario.load.kind == "handshake":
        return  # no frame is sent
    if not profile.framing.has_transaction:
        found = f"{profile.name}, in which nothing tells an answer that comes twice"
        yield Problem("profile", "a header with a transaction (datagrams)", found)
    if len(speakers := {turn.sender.name for turn in profile.dialogue.opening}) == 1:
        found = f"{profile.name}, in which only the {min(speakers)} does: what gets lost stays lost"
        yield Problem("profile", "an opening in which both sides say something (datagrams)", found)
    sizes = {"notifications": profile.notify_bytes(min(readings, profile.max_readings))}
    if scenario.load.kind == "site":  # readings as they come; of the records of other services, as many as go into one
        sizes["notifications"] = profile.notify_bytes(profile.max_readings)
        sizes["services"] = max(_frame_bytes(profile, kind, 1) for kind in NOTIFICATIONS)
    for name, request in given(scenario.requests):
        records = getattr(request, "signatures", len(getattr(request, "groups", ())))
        sizes[f"{name} requests"] = _frame_bytes(profile, ASKED[name], records)
        for kind, entry in CATALOGUE.items():
            if ASKED[name] in entry.answers:
                size = _frame_bytes(profile, kind, readings if kind in _READINGS else 1)
                sizes[f"answers to {name} requests"] = max(sizes.get(f"answers to {name} requests", 0), size)
    what = max(sizes, key=sizes.__getitem__)
    if (least := sizes[what] + OVERHEAD_BYTES) > scenario.dtls.mtu:
        expected = f"at least {least}, for {what} of {sizes[what]} bytes (frames are not split)"
        yield Problem("dtls.mtu", expected, str(scenario.dtls.mtu))


def _frame_bytes(profile: WireProfile, kind: Kind, records: int) -> int:
    """Size of a frame with that number of records, at most; texts in elements of their own count as empty."""
    if (layout := profile.layouts.get(kind)) is None:  # that is a problem of its own
        return 0
    return profile.framing.frame_bytes(layout.bytes_of((min(records, layout.most_records),)))
