"""How a found layout is scored: the truth itself is right, and each mistake costs what it displaces."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.inference import __main__ as program
from benchmarks.inference import table
from benchmarks.inference.layouts import TRUTH_KEYS, make_device, without
from benchmarks.inference.making import frames_of, make_truth, make_tunnels
from benchmarks.inference.scoring import FIGURES, score
from loadgen.infer.inference import Inference
from loadgen.infer.layout_document import layout_from

Table = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> tuple[Table, list[dict[str, bytes]], list[Table]]:
    """A truth, streams and frames; one session's are enough."""
    device = make_device(9)
    tunnels = make_tunnels(device, "scoring")[2:3]
    frames = [*frames_of(tunnels)]
    streams = [
        {
            side: b"".join(sent.data for sent in tunnels[0].frames if sent.of_mse == (side == "mse"))
            for side in ("mse", "wlc")
        }
    ]
    return make_truth(device, frames), streams, [row for row, _ in frames]


def scored(made: tuple[Table, list[dict[str, bytes]], list[Table]], edit: Callable[[Table], None]) -> dict[str, float]:
    truth, streams, rows = made
    answer = copy.deepcopy(without(truth, TRUTH_KEYS))
    edit(answer)
    return score(truth, layout_from(answer), streams, rows)


def message(answer: Table, name: str) -> Table:
    return next(each for each in answer["messages"] if each["name"] == name)


def test_the_truth_is_right(made: Any) -> None:
    figures = scored(made, lambda answer: None)
    assert {name: figures[name] for name in FIGURES} == dict.fromkeys(FIGURES, 1.0)
    assert figures["precision"] == figures["recall"] == 1.0


def test_a_wrong_length_finds_nothing(made: Any) -> None:
    figures = scored(made, lambda answer: answer["header"]["frame_size"].update(add=77))
    assert figures["frames"] == figures["recall"] == figures["explained"] == 0.0


def test_a_wrong_role_is_in_place_and_not_right(made: Any) -> None:
    def edit(answer: Table) -> None:
        fields = answer["header"]["fields"]
        next(each for each in fields if each["role"] == "length").update(role="mac")

    figures = scored(made, edit)
    assert figures["place_recall"] == 1.0
    assert figures["recall"] < 1.0
    assert figures["precision"] < 1.0
    assert figures["bound_f1"] == 1.0


def test_what_is_called_unknown_claims_nothing(made: Any) -> None:
    def edit(answer: Table) -> None:
        for each in answer["messages"]:
            each["body"] = {"rest": "unknown"}

    figures = scored(made, edit)
    assert figures["precision"] == 1.0
    assert figures["explained"] == 0.0
    assert figures["recall"] < 0.5


def test_a_name_counts_apart(made: Any) -> None:
    figures = scored(made, lambda answer: message(answer, "capability").update(name="something"))
    assert figures["f1"] == 1.0
    assert figures["messages"] == 1.0
    assert figures["names"] < 1.0


def test_a_message_that_is_missing_is_missed(made: Any) -> None:
    def edit(answer: Table) -> None:
        answer["messages"] = [each for each in answer["messages"] if each["name"] != "measurement_notify"]

    figures = scored(made, edit)
    assert figures["messages"] < 1.0
    assert figures["core_f1"] < figures["frames"] == 1.0


def test_the_half_of_a_number_that_is_always_zero_may_be_a_constant() -> None:
    field = {"name": "number", "at": 4, "size": 4, "role": "transaction", "type": "u32"}
    pieces = [{"at": 4, "size": 2, "role": "constant"}, {"at": 6, "size": 2, "role": "transaction"}]
    length = {"name": "length", "at": 0, "size": 2, "role": "length", "type": "u16"}
    msg_id = {"name": "msg_id", "at": 2, "size": 2, "role": "msg_id", "type": "u16"}
    header = {"size": 8, "frame_size": {"field": "length", "unit": 1, "add": 0}}
    messages = [{"id": 1, "from": "wlc", "name": "capability", "core": True}]
    truth: Table = {
        "format": "layout-1",
        "byte_order": "big",
        "header": header | {"fields": [length, msg_id, field | {"alternatives": [pieces]}]},
        "messages": messages,
    }
    halves = [{"name": f"n{i}", **piece} for i, piece in enumerate(pieces)]
    answer = without(truth, TRUTH_KEYS)
    answer["header"]["fields"] = [length, msg_id, *halves]
    frame = bytes.fromhex("0008000100000005")
    rows = [{"session": 0, "from": "wlc", "offset": 0, "size": 8, "message": "capability"}]
    streams = [{"mse": b"", "wlc": frame}]
    assert score(truth, layout_from(answer), streams, rows)["f1"] == 1.0
    del truth["header"]["fields"][2]["alternatives"]
    assert score(truth, layout_from(answer), streams, rows)["f1"] < 1.0


def test_the_table_has_means_and_targets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def made_files(seed: int, folder: Path) -> dict[str, int]:
        (folder / "training.pcapng").write_text(str(seed))
        return {}

    monkeypatch.setattr(table, "make_files", made_files)
    monkeypatch.setattr(table, "exchanges_in", lambda path: [])
    monkeypatch.setattr(table, "infer", lambda exchanges: Inference(why="nothing there"))
    assert program.main(["table", "--seed", "3", "--seed", "4", "--json", str(tmp_path / "figures.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        *("3", "4", "mean", "worst", "to reach, mean", "to reach, worst"),
    ]
    assert "0.930" in lines[6]
    assert json.loads((tmp_path / "figures.json").read_text())["3"]["f1"] == 0.0
