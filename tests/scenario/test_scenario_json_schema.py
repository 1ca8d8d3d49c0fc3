"""`loadgen schema scenario`, held against what reads scenarios: with a validator that is not ours."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from click.testing import CliRunner

from loadgen.cli.schema import schema
from loadgen.errors import InputError
from loadgen.scenario.reading import load_scenario
from loadgen.units import Duration, Offset

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.toml"))
Validate = Callable[[object], object]
SMALL = 'name = "s"\nload.rate = 5\n'


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    said = CliRunner().invoke(schema, ["scenario"])
    assert said.exit_code == 0, said.output
    value: dict[str, Any] = json.loads(said.stdout)
    return value


@pytest.fixture(scope="module")
def validate(document: dict[str, Any]) -> Validate:
    # It knows dialects up to draft-07; of what the schema uses, the later one is the same.
    compiled: Validate = fastjsonschema.compile(document | {"$schema": "http://json-schema.org/draft-07/schema"})
    return compiled


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_of_ours_is_one(validate: Validate, path: Path) -> None:
    validate(tomllib.loads(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "added",
    [
        "wlcs.count = 3",
        "wlc.coutn = 3",
        "wlc.count = 0",
        "wlc.count = 1.5",
        "wlc.count = '3'",
        "wlc.readings = 'many'",
        "wlc.subservices = 'al'",
        "load.kind = 'notfy'",
        "load.stages = [{ hodl = '1s' }]",
        "load.stages = [{ hold = '1 s' }]",
        "load.stages = [{ hold = 5 }]",
        "load.stages = 5",
        "mse.clock_skew = '+1s'",
        "mse.assign = [{ mse = 0 }]",
        "tls.version = '1.4'",
        "requests.capability = 5",
        "capacity.start = { sessions = 'many' }",
        "site.tags.count = -1",
        "thresholds = [{ abort_on_fail = true }]",
    ],
)
def test_what_one_value_alone_makes_wrong_is_wrong_by_both(validate: Validate, tmp_path: Path, added: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(SMALL + added, "utf-8")
    with pytest.raises(InputError):
        load_scenario(path)
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate(tomllib.loads(SMALL + added))


@pytest.mark.parametrize(
    "added",
    ["tls.version = 1.3", "wlc.readings = [1, 8]", "mse.assign = [{ mse = 0, wlc = [0] }]", "mse.clock_skew = '-1h'"],
)
def test_what_may_be_written_in_several_ways_is_right_in_each(validate: Validate, tmp_path: Path, added: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(SMALL + added, "utf-8")
    load_scenario(path)
    validate(tomllib.loads(SMALL + added))


def test_defaults_are_written_as_a_scenario_has_them(document: dict[str, Any], tmp_path: Path) -> None:
    """A scenario of nothing but the schema's defaults is the one that names none of them."""

    def written(of: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for key, value in of["properties"].items():
            if "default" in value:
                found[key] = value["default"]
            elif "properties" in value:
                found[key] = written(value)
        return found

    found = written(document)
    del found["requests"]  # a table there, even an empty one, asks
    assert found["session"]["echo_interval"] == "15s"
    path = tmp_path / "x.toml"
    # JSON's texts, numbers, arrays and truths are TOML's, too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in _flat(found)]
    path.write_text("\n".join([*lines, SMALL]), "utf-8")
    with_all = load_scenario(path)[0]
    path.write_text(SMALL, "utf-8")
    assert with_all == load_scenario(path)[0]


def _flat(tables: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tables.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, dict) and value else [(before + key, value)]
    return [(key, value) for key, value in found if value != {}]


@pytest.mark.parametrize("text", ["0s", "1ns", "250ms", "90s", "30s", "1h", "24h", "1500ms", "2µs"])
def test_a_duration_is_written_as_it_may_be_read(text: str) -> None:
    read = Duration.parse(text)
    assert Duration.parse(read.written()) == read
    for offset in (Offset.parse(text), Offset.parse(f"-{text}")):
        assert Offset.parse(offset.written()) == offset
