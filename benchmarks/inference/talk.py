"""What the two ends of a session say, frame by frame, over some minutes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

from fastcrc import crc16, crc32

from benchmarks.inference.filling import SECOND, Filler, put, time_value
from benchmarks.inference.layouts import Device
from benchmarks.inference.parts import Table
from benchmarks.inference.site import LINES, Site
from loadgen.infer.layout_document import LayoutDocument
from loadgen.infer.layout_writing import frame_bytes

MS = 1_000_000


class Sent(NamedTuple):
    """A frame that one end writes."""

    ns: int
    of_mse: bool
    data: bytes
    message: str


def _internet(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total = sum(padded[::2]) * 256 + sum(padded[1::2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _xor(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
    return value


SUMS: dict[str, Callable[[bytes], int]] = {
    "crc-32": crc32.iso_hdlc,
    "crc-16/ibm-3740": crc16.ibm_3740,
    "crc-16/xmodem": crc16.xmodem,
    "crc-16/kermit": crc16.kermit,
    "crc-16/ibm-sdlc": crc16.ibm_sdlc,
    "crc-16/arc": crc16.arc,
    "internet": _internet,
    "sum-8": lambda data: sum(data) & 0xFF,
    "sum-16": lambda data: sum(data) & 0xFFFF,
    "xor-8": _xor,
}


class Speaker:
    """Makes frames of a device: bodies from facts, and headers that count on."""

    def __init__(self, device: Device, rng: random.Random, layout: LayoutDocument) -> None:
        self._device, self._rng, self.layout = device, rng, layout
        self._filler = Filler(rng, device.order, layout.header.frame_size.unit)
        self._bodies = {message.name: message.body for message in layout.messages}
        begin = rng.choice((0, 1, 1))
        self._transactions = {
            side: count(begin if side == "mse" else rng.choice((begin, 1, 1000))) for side in ("mse", "wlc")
        }
        if device.framing.transaction == "same":
            self._transactions["wlc"] = self._transactions["mse"]
        self._sequences: dict[Any, Iterator[int]] = {}
        self.last_sequence = {"mse": 0, "wlc": 0}

    def frame(self, name: str, facts: Table, now_ns: int, answers: int | None = None) -> tuple[bytes, int]:
        """Its bytes and its transaction. Args: answers: the request's transaction."""
        framing = self._device.framing
        message = self._device.named(name)
        assert message is not None
        values: dict[str, Any] = {}
        transaction = answers if answers is not None else self._transaction(message)
        for field in framing.header["fields"]:
            match field.get("_gen"):
                case "transaction":
                    values[field["name"]] = transaction & (1 << 8 * field["size"]) - 1
                case "sequence":
                    values[field["name"]] = self._sequence(message, field)
                case "flags":
                    flags = framing.flags
                    values[field["name"]] = flags.get(message["_kind"], flags.get(message["from"], 0))
                case "time":
                    values[field["name"]] = time_value(field, now_ns, facts["boot_ns"])
                case None if field["role"] == "checksum":
                    values[field["name"]] = 0
        if framing.trailer is not None:
            values |= {field["name"]: 0 for field in framing.trailer["fields"] if field["role"] == "checksum"}
        body = self._filler.body(message["body"], facts, self._bodies[name])
        frame = frame_bytes(self.layout, message["id"], body, values)
        if framing.sum_kind is not None:
            self._seal(frame)
        return bytes(frame), transaction

    def _transaction(self, message: Table) -> int:
        framing = self._device.framing
        if message["_kind"] == "notification" and framing.idle_transaction == "zero":
            return 0
        return next(self._transactions[message["from"]])

    def _sequence(self, message: Table, field: Table) -> int:
        keys = {"session": 0, "direction": message["from"], "kind": (message["from"], message["id"])}
        key = keys[self._device.framing.sequence or "session"]
        if key not in self._sequences:
            self._sequences[key] = count(self._rng.choice((0, 1)))
        value = next(self._sequences[key])
        self.last_sequence[message["from"]] = value
        return value & (1 << 8 * field["size"]) - 1

    def _seal(self, frame: bytearray) -> None:
        framing, layout = self._device.framing, self.layout
        ends = {"header": layout.header.size, "body": len(frame) - layout.trailer.size, "trailer": len(frame)}
        begins = {"header": 0, "body": ends["header"], "trailer": ends["body"]}
        covered = b"".join(frame[begins[part] : ends[part]] for part in framing.sum_over)
        value = SUMS[framing.sum_kind or ""](covered)
        for part, table in (("header", layout.header), ("trailer", layout.trailer)):
            for field in table.fields:
                if field.role == "checksum":
                    put(frame, field, begins[part], value, layout.byte_order)


class Session:
    """A session: its opening, then what happens, until `ends_ns`."""

    def __init__(self, device: Device, site: Site, rng: random.Random, times: tuple[int, int], per_s: float) -> None:
        """Args: times: when it begins and ends. per_s: measurements."""
        self._device, self._site, self._rng = device, site, rng
        self._now, self._ends = times
        self._per_s = per_s
        self._speaker = Speaker(device, rng, device.layout())
        offered = rng.choice((0x68EBE7, 0x68EBE7, 0x7FFFFF, 0x0003E7)) & ~(1 << rng.randrange(9, 20))
        asked = offered & rng.choice((0x000201, 0x002201, 0x00020F, 0x602001)) | (offered & 1)
        self._always: Table = {
            "boot_ns": site.boot_ns,
            "status": 0,
            "lowest": 1,
            "highest": 1,
            "wlc_mac": site.mac,
            "wlc_address": f"10.{site.net}.0.1",
            "model": site.model,
            "max_stations": 5000,
            "interval": rng.choice((2, 5, 10, 30)),
            "subservice": 0,
            **self._masks("offered", offered),
            **self._masks("asked", asked),
        }
        self._due: list[tuple[int, int, str]] = []
        self._tie = count()

    @staticmethod
    def _masks(name: str, mask: int) -> Table:
        """A mask, and the same as a list of services and their subservices (docs/protocol.md)."""
        services = [(1, 0x3F), (2, 0x1C0), (3, 0x1E00), (4, 0xE000), (5, 0x7F0000)]
        rows = [
            {"service": number, "services": (mask & bits) >> (bits & -bits).bit_length() - 1}
            for number, bits in services
        ]
        return {name: mask, f"{name}_list": [row for row in rows if row["services"]]}

    def _facts(self, **more: Any) -> Table:
        return {**self._always, "time": self._now - self._rng.randrange(200_000, 4 * MS), **more}

    def _say(self, name: str, *, answers: int | None = None, **facts: Any) -> Iterator[Sent]:
        """One message; nothing where the device has none of that name."""
        message = self._device.named(name)
        if message is not None:
            data, self._transaction = self._speaker.frame(name, self._facts(**facts), self._now, answers)
            yield Sent(self._now, message["from"] == "mse", data, name)

    def _ask(self, request: str, response: str, **facts: Any) -> Iterator[Sent]:
        """A request, and its response a little later."""
        if self._device.named(request) is None:
            return
        yield from self._say(request, **facts)
        self._now += self._rng.randrange(300_000, 6 * MS)
        yield from self._say(response, answers=self._transaction, **facts)

    def frames(self) -> Iterator[Sent]:
        yield from self._opening()
        self._plan()
        while self._due:
            due, _, what = heapq.heappop(self._due)
            self._now = max(due, self._now + 20_000)
            if self._now >= self._ends:
                return
            yield from getattr(self, f"_{what}")()
            self._again(what)

    def _opening(self) -> Iterator[Sent]:
        yield from self._ask("version_request", "version_response")
        self._now += self._rng.randrange(MS, 30 * MS)
        yield from self._say("capability")
        self._now += self._rng.randrange(MS, 30 * MS)
        yield from self._ask("subscribe_request", "subscribe_response")

    def _plan(self) -> None:
        for what in (
            "measured",
            "echo",
            "told",
            "counted",
            "log",
            "radios",
            "health",
            "aps",
            "blob",
            "receipt",
            "resubscribed",
        ):
            self._again(what)

    def _again(self, what: str) -> None:
        rng = self._rng
        waits = {
            "measured": rng.expovariate(self._per_s),
            "echo": 15.0 + rng.gauss(0, 0.01),
            "told": rng.expovariate(1 / 3),
            "counted": rng.uniform(4, 12),
            "log": rng.expovariate(1 / 6),
            "radios": 20.0,
            "health": 10.0,
            "aps": 45.0,
            "blob": rng.expovariate(1 / 15),
            "receipt": rng.expovariate(1 / 4),
            "resubscribed": rng.uniform(60, 200),
        }
        heapq.heappush(self._due, (self._now + int(waits[what] * SECOND), next(self._tie), what))

    # What happens, by the names of `_plan`.

    def _measured(self) -> Iterator[Sent]:
        site, rng = self._site, self._rng
        message = self._device.named("measurement_notify")
        assert message is not None
        about = message["body"].get("_about")
        stations = rng.sample(site.stations, rng.randrange(1, 6))
        for station in stations:
            site.step(station)
        subservice = rng.choice((0, 0, 0, 5))
        if about == "ap":
            ap = rng.choice(site.aps)
            rows = [site.reading(station, ap, self._now) for station in stations]
            yield from self._say("measurement_notify", hearing_ap=ap.mac, heard=rows, subservice=subservice)
        elif about == "several":
            rows = [{"station": each.mac, "readings": site.readings(each, self._now)} for each in stations]
            yield from self._say("measurement_notify", stations=rows, subservice=subservice)
        else:
            station = stations[0]
            readings = site.readings(station, self._now)
            facts = {**site.client(station), "battery": rng.randrange(5, 101), "subservice": subservice}
            if about == "pair":
                facts |= readings[0]
            yield from self._say("measurement_notify", **{**facts, "station": station.mac, "readings": readings})

    def _echo(self) -> Iterator[Sent]:
        number = self._site.count("echo", 2)
        time = self._now
        cookie = self._rng.randbytes(8)
        yield from self._ask(
            "echo_request", "echo_response", echo_number=number & 0xFFFF, echo_time=time, cookie=cookie
        )

    def _clients(self) -> list[Table]:
        stations = self._rng.sample(self._site.stations, self._rng.randrange(1, 5))
        for station in stations:
            self._site.step(station)
        uptimes = {"uptime": 0}
        return [
            {**uptimes, **self._site.client(each), "uptime": self._now // SECOND - each.associated_s}
            for each in stations
        ]

    def _told(self) -> Iterator[Sent]:
        clients = self._clients()
        yield from self._say("client_info_notify", **{**clients[0], "clients": clients, "subservice": 9})

    def _counted(self) -> Iterator[Sent]:
        clients = self._clients()
        facts = {**clients[0], "clients": clients, "subservice": 13, "wanted": self._rng.choice((1, 3, 7))}
        yield from self._say("client_statistics_notify", **facts)
        yield from self._ask("statistics_request", "client_statistics_response", **facts)

    def _log(self) -> Iterator[Sent]:
        rng = self._rng
        yield from self._say("vendor_log", log=rng.choice(LINES), severity=rng.choice((3, 4, 6, 6)), subservice=0)

    def _radios(self) -> Iterator[Sent]:
        rng = self._rng
        rows = []
        for ap in self._site.aps:
            ap.load = min(100.0, max(0.0, ap.load + rng.gauss(0, 4)))
            rows.append(
                {
                    "ap": ap.mac,
                    "slot": int(ap.channel > 14),
                    "channel": ap.channel,
                    "load": int(ap.load),
                    "noise": rng.choice((-95, -94, -93)),
                    "clients_there": rng.randrange(40),
                }
            )
        yield from self._say("vendor_radio_status", radios=rows)

    def _health(self) -> Iterator[Sent]:
        rng = self._rng
        facts = {"temperature": rng.randrange(38, 47), "memory": rng.randrange(900_000, 950_000)}
        yield from self._say("vendor_health", **facts, **{"count:frames": self._site.count("frames", 900)})

    def _aps(self) -> Iterator[Sent]:
        rows = [{"ap": ap.mac, "ap_address": ap.address, "ap_name": ap.name} for ap in self._site.aps]
        yield from self._say("vendor_ap_list", aps=rows)

    def _blob(self) -> Iterator[Sent]:
        yield from self._say("vendor_blob", blob=self._rng.randbytes(self._rng.randrange(4, 64)))

    def _receipt(self) -> Iterator[Sent]:
        yield from self._say("vendor_receipt", acknowledged=self._speaker.last_sequence["wlc"])

    def _resubscribed(self) -> Iterator[Sent]:
        yield from self._ask("subscribe_request", "subscribe_response")
