"""CPU over time: of each worker, or of very many the range and the median."""

from __future__ import annotations

from loadgen.results.cores import LEAST, MEDIAN, MOST, MOST_COLUMNS, Cores


def test_of_each_worker_from_one_row_to_the_next() -> None:
    cores = Cores(2.0)
    cores.note(0, 0, {"a": 1.0})
    cores.note(1, 1, {"a": 2.0, "b": 5.0})
    cores.note(3, 3, {"a": 9.0})
    assert cores.columns(4) == {"cpu.a": (None, 0.5, None, None), "cpu.b": (None, None, None, None)}


def test_two_rows_become_one_which_ends_where_the_second_did() -> None:
    cores = Cores(1.0)
    for row in range(5):
        cores.note(row, row, {"a": row * 0.25} if row != 3 else {})
    cores.halve()
    cores.note(2, 5, {"a": 2.25})
    # Rows are of intervals 0 and 1, of 2 (3 was not told of), and of 4 and 5.
    assert cores.columns(3) == {"cpu.a": (None, 0.25, (2.25 - 0.5) / 3)}


def test_of_very_many_the_range_and_the_median() -> None:
    cores, workers = Cores(1.0), [f"w{number}" for number in range(MOST_COLUMNS + 1)]
    for row in range(2):
        cores.note(row, row, {worker: row * number / 100 for number, worker in enumerate(workers)})
    assert cores.columns(2) == {LEAST: (None, 0.0), MEDIAN: (None, 0.32), MOST: (None, 0.64)}
    assert cores.columns(3)[MOST] == (None, 0.64, None)


def test_as_many_as_have_a_column_have_one() -> None:
    cores = Cores(1.0)
    cores.note(0, 0, {f"w{number}": 0.0 for number in range(MOST_COLUMNS)})
    assert len(cores.columns(1)) == MOST_COLUMNS
