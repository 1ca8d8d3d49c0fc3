"""Bodies as inference takes them: samples with what is known around them, and tables of rows of equal width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.shapes import ElementRun
from loadgen.infer.work import Work

__all__ = ["Context", "Sample", "Table", "table_of"]

Codes = NDArray[np.int64]
Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sample:
    """One body of a message (or a record, or an element's value): header and trailer are cut off."""

    data: bytes
    ns: int  # when it was captured
    session: int
    of_client: bool
    transaction: int | None = None  # that of its header, where that is known
    group: int = 0  # samples of one group are about the same device, or stand in one frame
    row: int = 0  # of a record: which one of its body, from 0


@dataclass(frozen=True, slots=True)
class Context:
    """What is known from elsewhere: hints, other messages, the header."""

    order: str = "big"  # of most numbers; single ones may have the other
    name: str | None = None  # of the message, where its place in the dialogue tells
    macs: frozenset[bytes] = frozenset()  # seen in other messages, or hinted at
    makers: frozenset[bytes] = frozenset()  # the first three bytes of many of them
    addresses: frozenset[bytes] = frozenset()  # IPv4, hinted at
    networks: frozenset[bytes] = frozenset()  # the first halves of IPv4 addresses
    masks: frozenset[int] = frozenset()  # offered in a capability
    mask_size: int | None = None  # bytes of a mask, there
    listed: bool = False  # subservices are told in records there, and not as a mask
    unit: int | None = None  # bytes that the sizes of all frames are multiples of; None: not known
    packed: bool | None = None  # whether numbers begin anywhere, and not at multiples of their sizes; None: not known
    work: Work = field(default_factory=Work, compare=False)  # that may still be done, for all kinds together
    unsigned: bool = False  # whether measurements tell RSSI without its sign
    within: bool = False  # records are looked at, and no whole body
    mask_at: tuple[int, int] | None = None  # first byte and bytes of this message's mask, where that is known
    forms: Mapping[ElementRun, int] = field(default_factory=dict)  # of elements in other messages; their highest type

    @property
    def of_subservices(self) -> bool:
        """Whether the message is one that has a mask of them."""
        return self.named_of_subservices and not self.listed and self.mask_at is None

    @property
    def named_of_subservices(self) -> bool:
        """Whether the message is about subservices, by its name."""
        about = ("capability", "subscribe", "unsubscribe")
        return self.name is not None and not self.within and self.name.startswith(about)


# Of rows that differ, to be looked at alone.
_FEWEST_ROWS = 24


@dataclass(eq=False)
class Table:
    """Rows of equal width, in the order of the capture."""

    cells: NDArray[np.uint8]  # row by column
    ns: NDArray[np.int64]
    session: Codes
    group: Codes
    row: Codes
    transactions: list[int | None]
    order: str = "big"
    offset: int = 0  # of the first column in its node, for alignment
    # Groupings of rows in which numbers may go on from row to row: (order of rows, whether a row is the first of
    # its group), by name.
    groupings: dict[str, tuple[Codes, NDArray[np.bool_]]] = field(default_factory=dict)
    # What `costs.integer_cost` has found: (first column, bytes, order) -> bits. Every reading of a byte asks for it.
    integer_costs: dict[tuple[int, int, str], float] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.cells.shape[0])

    @property
    def width(self) -> int:
        return int(self.cells.shape[1])

    @cached_property
    def codes(self) -> list[Codes]:
        """Of each column its values as numbers from 0."""
        return [np.unique(self.cells[:, i], return_inverse=True)[1].astype(np.int64) for i in range(self.width)]

    @cached_property
    def distinct(self) -> list[int]:
        """Of each column how many values it has."""
        return [int(codes.max()) + 1 if len(codes) else 0 for codes in self.codes]

    @cached_property
    def printable(self) -> NDArray[np.bool_]:
        """Of each column whether all of it is printable ASCII or NUL."""
        cells = self.cells
        return np.asarray((((cells >= 32) & (cells < 127)) | (cells == 0)).all(axis=0))

    def numbers(self, at: int, size: int, order: str) -> Numbers:
        """HeadColumns read as unsigned integers."""
        out = np.zeros(len(self), np.uint64)
        columns = range(at, at + size) if order == "big" else range(at + size - 1, at - 1, -1)
        for column in columns:
            out = out << np.uint64(8) | self.cells[:, column].astype(np.uint64)
        return out

    def joined(self, at: int, size: int) -> tuple[Codes, int]:
        """Rows of some columns as numbers from 0, and how many different ones there are."""
        rows = np.ascontiguousarray(self.cells[:, at : at + size]).view(np.dtype((np.void, size))).ravel()
        values, codes = np.unique(rows, return_inverse=True)
        return codes.astype(np.int64), len(values)

    def once(self) -> Table:
        """The rows without those that have come before, byte for byte, if these are most of them: a row that comes
        again tells nothing more of what it is made of.
        """
        codes, kinds = self.joined(0, self.width)
        if not _FEWEST_ROWS <= kinds <= len(self) // 2:
            return self
        rows = np.sort(np.unique(codes, return_index=True)[1])
        again = Table(
            self.cells[rows],
            self.ns[rows],
            self.session[rows],
            self.group[rows],
            self.row[rows],
            [self.transactions[row] for row in rows],
            self.order,
            self.offset,
        )
        again.group_by("session", again.session)
        return again

    def group_by(self, name: str, keys: Codes) -> None:
        """Let numbers go on among rows of the same key; not where that is no grouping at all."""
        order = np.argsort(keys, kind="stable")
        sorted_keys = keys[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = sorted_keys[1:] != sorted_keys[:-1]
        if first.sum() * 4 <= len(keys) * 3:
            self.groupings[name] = order.astype(np.int64), first
            self.integer_costs.clear()


def table_of(samples: Sequence[Sample], order: str, start: int = 0, end: int | None = None) -> Table:
    """Samples (not none) from a first byte to an end; all must reach it."""
    stop = min(len(sample.data) for sample in samples) if end is None else end
    cells = np.frombuffer(b"".join(sample.data[start:stop] for sample in samples), np.uint8)
    table = Table(
        cells.reshape(len(samples), stop - start),
        np.array([sample.ns for sample in samples], np.int64),
        np.array([sample.session for sample in samples], np.int64),
        np.array([sample.group for sample in samples], np.int64),
        np.array([sample.row for sample in samples], np.int64),
        [sample.transaction for sample in samples],
        order,
        start,
    )
    table.group_by("session", table.session)
    if len({sample.group for sample in samples}) > 1:
        table.group_by("group", np.unique(table.group * 4096 + table.session, return_inverse=True)[1].astype(np.int64))
    return table
