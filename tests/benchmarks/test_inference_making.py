"""Made devices: their layouts vary in everything, and their captures hold what the truth says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.inference.bodies import CORE
from benchmarks.inference.headers import SUMS, add_alternatives
from benchmarks.inference.layouts import Device, make_device
from benchmarks.inference.making import HELD_OUT, TUNING, make_files, make_tunnels
from loadgen.infer.layout_reading import LayoutReader

SEEDS = range(1, 121)


@pytest.fixture(scope="module")
def devices() -> list[Device]:
    return [make_device(seed) for seed in SEEDS]


def every_field(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "role" in node and "at" in node:
            yield node
        for value in node.values():
            yield from every_field(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_field(value)


def test_a_seed_gives_one_device() -> None:
    assert make_device(7).document() == make_device(7).document()
    assert make_device(7).document() != make_device(8).document()
    assert not {*TUNING} & {*HELD_OUT}


def test_headers_vary_in_everything(devices: list[Device]) -> None:
    headers = [device.framing.header for device in devices]
    assert {header["size"] for header in headers} >= {*range(9, 28)}
    assert all(8 <= header["size"] <= 28 for header in headers)
    assert {header["frame_size"]["unit"] for header in headers} == {1, 2, 4}
    counts = {"frame", "body", "body and trailer", "rest", "frame and some", "frame less some"}
    assert {device.framing.counts for device in devices} == counts
    assert {device.framing.id_bits for device in devices} == {(8,), (16,), (32,), (8, 8)}
    assert {device.framing.transaction for device in devices} == {"same", "sides", None}
    assert {device.framing.sequence for device in devices} == {"session", "direction", "kind", None}
    assert {device.framing.sum_kind for device in devices} == {*SUMS, None}
    assert {device.order for device in devices} == {"big", "little"}
    assert {device.wlc_begins for device in devices} == {True, False}
    assert any("order" in field for header in headers for field in header["fields"])
    assert sum(device.framing.trailer is None for device in devices) < len(devices)
    roles = Counter(field["role"] for header in headers for field in header["fields"])
    assert roles.keys() >= {*("constant", "enum", "padding", "timestamp", "checksum", "length", "msg_id")}


def test_bodies_vary_in_everything(devices: list[Device]) -> None:
    documents = [device.document() for device in devices]
    fields = [field for document in documents for field in every_field(document["messages"])]
    assert {field["role"] for field in fields} >= {
        *("mac", "rssi", "snr", "noise", "timestamp", "age", "mask", "ipv4", "text", "enum", "count", "length"),
        *("counter", "number", "padding", "unknown", "constant"),
    }
    text = json.dumps(documents)
    for kind in ("value", "element"):
        assert f'"counts": "{kind}"' in text
    assert '"count": "rest"' in text
    assert '"stride": null' in text
    sizes = [field["size"] for field in fields if field["role"] == "text"]
    assert any(size == "rest" for size in sizes)
    assert any(isinstance(size, dict) for size in sizes)


def test_no_two_messages_of_a_side_have_the_same_number(devices: list[Device]) -> None:
    for device in devices:
        numbers = [(message["from"], message["id"]) for message in device.messages]
        assert len({*numbers}) == len(numbers)
        assert {message["name"] for message in device.messages if message.get("core")} == {*CORE}
        bits = sum(device.framing.id_bits)
        assert all(0 < number < 1 << bits for _, number in numbers)


@pytest.mark.parametrize("order", ["big", "little"])
def test_the_length_has_no_other_description_than_its_own(order: str) -> None:
    roles = ("length", "transaction", "sequence", "msg_id")
    fields = [
        {"name": role, "at": 4 * place, "size": 4, "role": role, "type": "u32"} for place, role in enumerate(roles)
    ]
    add_alternatives(fields, order, dict.fromkeys(roles, True))
    assert ["alternatives" in each for each in fields] == [False, True, True, True]


@pytest.mark.parametrize("seed", [7])
def test_the_files_of_a_device(tmp_path: Path, seed: int) -> None:
    counted = make_files(seed, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("scoring.frames.jsonl", "scoring.pcapng", "training.frames.jsonl", "training.pcapng", "truth.json"),
    ]
    assert all(1_000 < frames < 12_000 for frames in counted.values())
    rows = [json.loads(line) for line in (tmp_path / "scoring.frames.jsonl").read_text().splitlines()]
    assert {row["message"] for row in rows} >= {*CORE}
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert any(field.get("single_valued") for field in every_field(truth))
    ends: dict[tuple[int, str], int] = {}
    for row in rows:
        key = row["session"], row["from"]
        assert ends.get(key, 0) == row["offset"]
        ends[key] = row["offset"] + row["size"]


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_device_reads_its_own_frames(seed: int) -> None:
    """Every kind of message is said in the time of a capture, and fits the layout to its last byte."""
    device = make_device(seed)
    reader = LayoutReader(device.layout())
    said = Counter()
    for tunnel in make_tunnels(device, "scoring"):
        for of_mse in (True, False):
            stream = b"".join(sent.data for sent in tunnel.frames if sent.of_mse == of_mse)
            frames = [sent for sent in tunnel.frames if sent.of_mse == of_mse]
            cuts = reader.cut(stream)
            assert [stream[start:end] for start, end in cuts] == [sent.data for sent in frames]
            for sent in frames:
                read = reader.read(sent.data, of_client=of_mse)
                assert read.fits
                assert read.message is not None
                assert read.message.name == sent.message
                said[sent.message] += 1
    assert {*said} == {message["name"] for message in device.messages}
