"""What fuzzing has found, once more: every input that is kept, at every target."""

from __future__ import annotations

from pathlib import Path

import fuzz_corpus
import pytest
from fuzz_bytes import Bytes, joined
from fuzz_targets import TARGETS


def _skip_what_is_missing(name: str) -> None:
    if missing := TARGETS[name].missing():
        pytest.skip(missing)


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus(name: str) -> None:
    _skip_what_is_missing(name)
    inputs = fuzz_corpus.read(name)
    assert inputs, "a target without a corpus: python tests/fuzz --keep"
    for data in inputs + fuzz_corpus.read(f"{name}-found"):
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_begins_with_good_seeds(name: str) -> None:
    _skip_what_is_missing(name)
    seeds = list(TARGETS[name].seeds())
    assert seeds
    assert max(map(len, seeds)) <= TARGETS[name].max_bytes
    TARGETS[name].run(seeds[0])


def test_no_file_of_the_corpus_belongs_to_no_target() -> None:
    stems = {path.stem.removesuffix("-found") for path in fuzz_corpus.FOLDER.iterdir()}
    assert stems <= TARGETS.keys()


def test_a_corpus_is_read_as_it_was_written(tmp_path: Path) -> None:
    fuzz_corpus.write("x", [b"\x01\xff", b"\n", b"\n", b""], tmp_path)
    assert fuzz_corpus.read("x", tmp_path) == [b"\n", b"\x01\xff"]
    assert fuzz_corpus.read("y", tmp_path) == []


def test_choices_are_read_off_the_front_and_zeros_follow() -> None:
    source = Bytes(joined(7, b"ab", 1, 2))
    assert (source.below(5), source.take(2), source.number(2)) == (2, b"ab", 0x0201)
    assert not source
    assert (source.byte(), source.below(1000), source.rest()) == (0, 0, b"")
