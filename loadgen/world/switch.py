"""A switch: ports whose links go up and down. It tells who attached and who left, and where its ports are; nothing of
access points or RSSI. What happens within an interval is told together at its end. Seeded.
"""

from __future__ import annotations

import msgspec
import numpy as np

from loadgen.nmsp.messages import AttachmentNotify, LocationNotify
from loadgen.nmsp.records import Attachment, PortLocation
from loadgen.nmsp.services import Subservice
from loadgen.scenario.site_plan import PlannedSwitch
from loadgen.session.transmit import Priority
from loadgen.units import NS_PER_MS, NS_PER_S
from loadgen.world.tellers import Told

_NEW, _DELETE = 1, 0
_WIRED_STATION = 1
_PORTS_OF_A_SLOT = 48


class Ports:
    """The ports of one switch; time is an argument (ns since the start), and never goes back.

    Attributes:
        suppressed: shape (ports,), those of which nothing is told (`nmsp attachment suppress`).
    """

    def __init__(self, planned: PlannedSwitch, number: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._number = number
        self._mean_s = (planned.down_ns / NS_PER_S, planned.up_ns / NS_PER_S)
        count = planned.ports
        self.suppressed = rng.random(count) < planned.suppressed_share
        self.suppressed[[port - 1 for port in planned.suppressed]] = True
        # Memoryless, like whatever comes and goes on a site: a switch that begins like this has no time to settle.
        self._up = rng.random(count) < planned.up_ns / (planned.up_ns + planned.down_ns)
        self._until_ns = np.where(self._up, self._some(1, count), self._some(0, count))
        self._macs = [self._new_mac() for _ in range(count)]
        self._located = False
        self._attached: list[int] = []  # since locations were last told

    def attachments(self, now_ns: int) -> Told | None:
        """Every link that went up ("new") or down ("delete") since the last time, in order of time."""
        records: list[msgspec.Struct] = []
        while (due := int(self._until_ns.min())) <= now_ns:
            port = int(self._until_ns.argmin())
            self._up[port] = up = not self._up[port]
            self._until_ns[port] = due + int(self._some(int(up), 1)[0])
            if up:
                self._macs[port] = self._new_mac()
            if self.suppressed[port]:
                continue
            if up:
                self._attached.append(port)
            records.append(
                Attachment(
                    station_mac=self._macs[port],
                    state=_NEW if up else _DELETE,
                    slot=1 + port // _PORTS_OF_A_SLOT,
                    port=1 + port % _PORTS_OF_A_SLOT,
                    age_s=(now_ns - due) // NS_PER_S,
                    category=_WIRED_STATION,
                    user_name=f"user-{port}",
                    serial_number=f"SIM{self._number:08d}",
                    udi="simulated",
                    model="switch",
                )
            )
        return Told(AttachmentNotify, Subservice.ATTACH, Priority.HIGH, records) if records else None

    def locations(self, now_ns: int) -> Told | None:
        """Where ports are: of all, the first time; then, of those to which somebody attached since the last time."""
        ports = self._attached if self._located else np.flatnonzero(~self.suppressed).tolist()
        self._located, self._attached = True, []
        records: list[msgspec.Struct] = [
            PortLocation(
                1 + port // _PORTS_OF_A_SLOT, 1 + port % _PORTS_OF_A_SLOT, f"switch {self._number} port {port + 1}"
            )
            for port in dict.fromkeys(ports)
        ]
        return Told(LocationNotify, Subservice.LOCATION, Priority.NORMAL, records) if records else None

    def _some(self, up: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Durations of at least 1 ms, of the mean of that state."""
        return (self._rng.exponential(self._mean_s[up], count) * NS_PER_S).astype(np.int64) + NS_PER_MS

    def _new_mac(self) -> bytes:
        return b"\x02\x50" + self._rng.bytes(4)
