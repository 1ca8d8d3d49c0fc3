"""A long run's intervals leave memory, and come back as they were; a full disk costs memory only."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from loadgen.measure.histogram import Histogram
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.measure.spool import Spool


def test_what_does_not_fit_into_memory_comes_back_from_the_file() -> None:
    rng = random.Random(5)
    pieces = [rng.randbytes(rng.randrange(1, 3000)) for _ in range(200)]
    spool = Spool(memory_bytes=20_000)
    kept = [spool.keep(piece) for piece in pieces]
    in_memory = sum(len(each) for each in kept if isinstance(each, bytes))
    assert 0 < in_memory <= 20_000
    assert sum(isinstance(each, tuple) for each in kept) > 150
    order = list(range(200))
    rng.shuffle(order)
    assert all(spool.read(kept[index]) == pieces[index] for index in order)


def _nameless() -> set[str]:
    """Descriptors of files that have no name any more."""
    found = set()
    for fd in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # the descriptor that lists the folder is gone by now
            if str(fd.readlink()).endswith("(deleted)"):
                found.add(fd.name)
    return found


def test_the_file_has_no_name_and_is_closed_with_its_spool() -> None:
    before = _nameless()
    spool = Spool(memory_bytes=0)
    spool.keep(b"x" * 100)
    assert len(_nameless() - before) == 1
    del spool
    assert _nameless() == before


@pytest.mark.parametrize("refusal", [OSError(28, "No space left on device"), 3])
def test_a_disk_that_takes_no_more_costs_memory(monkeypatch: pytest.MonkeyPatch, refusal: OSError | int) -> None:
    spool = Spool(memory_bytes=10)
    first = spool.keep(b"in the file")

    def full(_fd: int, _data: bytes, _offset: int) -> int:
        if isinstance(refusal, OSError):
            raise refusal
        return refusal

    monkeypatch.setattr(os, "pwrite", full)
    second = spool.keep(b"not any more")
    monkeypatch.undo()
    third = spool.keep(b"again")
    assert isinstance(first, tuple)
    assert second == b"not any more"
    assert [spool.read(each) for each in (first, second, third)] == [b"in the file", b"not any more", b"again"]


def test_the_interval_log_is_the_same_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def merged() -> list[tuple[str, float, dict[int, int]]]:
        rng, merger = random.Random(9), Merger()
        recorders = {worker: Recorder() for worker in "abc"}
        for index in range(30):
            for worker, recorder in recorders.items():
                for _ in range(50):
                    recorder.record("notify.latency", rng.randrange(1000, 10_000_000))
                merger.add(worker, recorder.take(index))
        return [(line.tag, line.start_s, _buckets(line.histogram)) for line in merger.log_lines(1.0)]

    from_memory = merged()
    monkeypatch.setattr(Spool.__init__, "__defaults__", (1000,))
    assert merged() == from_memory
    assert len(from_memory) == 30


def _buckets(histogram: Histogram) -> dict[int, int]:
    return dict(zip(*histogram.buckets(), strict=True))
