"""Files of a device: two captures of other sites, the truth of its layout, and where the frames are."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.inference.filling import SECOND
from benchmarks.inference.headers import add_alternatives
from benchmarks.inference.layouts import Device, make_device
from benchmarks.inference.packets import Tunnel, capture
from benchmarks.inference.parts import Table
from benchmarks.inference.site import Site
from benchmarks.inference.talk import MS, Session
from loadgen.infer.layout_reading import LayoutReader

TUNING = tuple(range(1, 11))
# Nothing is tuned on them.
HELD_OUT = (101, 102, 103, 104, 105)
NOON = 1_790_000_000 * SECOND


def make_tunnels(device: Device, name: str, frames: int | None = None) -> list[Tunnel]:
    """The sessions of a capture. "training" has all that can go wrong; of "scoring" the frames are known exactly, so
    no session begins before it, and what comes behind a loss is not asked for."""
    rng = random.Random(f"{name} {device.seed}")
    began = NOON + rng.randrange(10_000_000) * SECOND
    lasts = rng.randrange(200, 420) * SECOND
    sessions = rng.randrange(3, 7)
    usual = rng.randrange(2_500, 8_000)
    frames = usual if frames is None else frames
    sites = [Site(rng, began) for _ in range(rng.randrange(1, sessions))]
    tunnels = []
    for index in range(sessions):
        site = sites[index % len(sites)]
        first = began + rng.randrange(int(lasts * 0.3))
        last = began + int(lasts * rng.uniform(0.8, 1.0))
        per_s = max(0.5, frames / sessions / ((last - first) / SECOND) - 1.5)
        said = list(Session(device, site, rng, (first, last), per_s).frames())
        tunnel = Tunnel((f"10.99.0.{10 + index}", 40_000 + rng.randrange(20_000)), f"10.{site.net}.0.1", said, first)
        if index == 0:
            tunnel.cut = rng.randrange(1, len(said[-1].data))
        if name == "training" and index == 1:
            tunnel.skipped_ns = first + (last - first) // 4
        if index == 2:
            tunnel.missing = 0.002
        tunnels.append(tunnel)
    return tunnels


def frames_of(tunnels: list[Tunnel]) -> Iterator[tuple[Table, bytes]]:
    """Where each frame is in the streams that a reader makes of the capture."""
    order = sorted(tunnels, key=lambda tunnel: max(tunnel.began_ns - 3 * MS, tunnel.skipped_ns))
    for session, tunnel in enumerate(order):
        at = {True: 0, False: 0}
        for sent in tunnel.frames:
            start = at[sent.of_mse]
            at[sent.of_mse] = end = start + len(sent.data)
            if end > tunnel.whole.get(sent.of_mse, end) or tunnel.skipped_ns:
                continue
            side = "mse" if sent.of_mse else "wlc"
            row = {"session": session, "from": side, "offset": start, "size": len(sent.data), "message": sent.message}
            yield row, sent.data


def make_truth(device: Device, frames: list[tuple[Table, bytes]]) -> Table:
    """The layout with what both captures show: which fields have a single value, whose upper halves are zero."""
    document = device.document()
    reader = LayoutReader(device.layout())
    values: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for row, data in frames:
        read = reader.read(data, of_client=row["from"] == "mse")
        assert read.fits, row
        assert read.message is not None
        assert read.message.name == row["message"]
        for span in read.spans:
            name = "" if span.path.startswith(("header", "trailer")) else read.message.name
            if len(seen := values[name, span.path]) < 2 or not name:
                seen.add(data[span.start : span.end])
    for table in (document["header"], document.get("trailer", {}), *document["messages"]):
        _mark_single(table, "", table.get("name", ""), values)
    small = {}
    for field in document["header"]["fields"]:
        order = field.get("order") or device.order
        seen = values["", f"header/{field['name']}@{field['at']}"]
        half = field["size"] // 2
        upper = [each[:half] if order == "big" else each[half:] for each in seen]
        usual = field["role"] in ("transaction", "sequence", "msg_id")
        small[field["name"]] = usual and field["size"] > 1 and not any(map(any, upper))
    add_alternatives(document["header"]["fields"], device.order, small)
    return document


def _mark_single(node: Table, path: str, message: str, values: dict[tuple[str, str], set[bytes]]) -> None:
    if "frame_size" in node:
        path, message = "header", ""
    elif not message and "size" in node:
        path = "trailer"
    for field in node.get("fields", ()):
        if len(values.get((message, f"{path}/{field['name']}@{field['at']}"), ())) == 1:
            field["single_valued"] = True
    if "body" in node:
        _mark_single(node["body"], "", message, values)
    for repeat in node.get("repeats", ()):
        _mark_single(repeat["record"], f"{path}/{repeat['name']}[]", message, values)
    for kind in node.get("elements", {}).get("known", ()):
        _mark_single(kind["value"], f"{path}/<{kind['id']:#x}>", message, values)


def make_files(seed: int, folder: Path, frames: int | None = None) -> dict[str, int]:
    """Write `truth.json`, and for each capture NAME.pcapng and NAME.frames.jsonl.

    Args:
        frames: of each capture, about so many.

    Returns:
        Frames of each capture.
    """
    device = make_device(seed)
    folder.mkdir(parents=True, exist_ok=True)
    every: list[tuple[Table, bytes]] = []
    counted = {}
    for name in ("training", "scoring"):
        tunnels = make_tunnels(device, name, frames)
        (folder / f"{name}.pcapng").write_bytes(capture(tunnels, random.Random(f"packets {name} {seed}")))
        rows = [*frames_of(tunnels)]
        (folder / f"{name}.frames.jsonl").write_text("".join(json.dumps(row) + "\n" for row, _ in rows))
        counted[name] = len(rows)
        every += rows
    (folder / "truth.json").write_text(json.dumps(make_truth(device, every), indent=1))
    return counted
