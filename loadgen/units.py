"""Durations and sizes as people write them and as the program keeps them: whole nanoseconds, whole bytes."""

from __future__ import annotations

import re
from typing import ClassVar, Self

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
# A monotonic time that does not come.
NEVER_NS = 1 << 62

_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_LONGEST_S = 366 * 86400
_UNIT_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)(B|kB|MB|GB|KiB|MiB|GiB)?")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


class Duration(int):
    """A duration in nanoseconds; documents write it "250ms", "30s" or "1m30s"."""

    EXPECTED: ClassVar[str] = 'a duration such as "250ms", "30s" or "1m30s"'

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "250ms", "30s", "1m30s".

        Raises:
            ValueError: anything else, or more than a year; the message says what was expected.
        """
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"Expected {cls.EXPECTED}")
        total_s = sum(float(number) * _UNIT_NS[unit] for number, unit in parts) / NS_PER_S
        if total_s > _LONGEST_S:
            raise ValueError(f"Expected a duration of at most {_LONGEST_S // 3600}h")
        return cls(sum(round(float(number) * _UNIT_NS[unit]) for number, unit in parts))

    def written(self) -> str:
        """As a document has it: exactly, in the largest unit of which it is a whole number."""
        unit = max((unit for unit, ns in _UNIT_NS.items() if not self % ns), key=_UNIT_NS.__getitem__) if self else "s"
        return f"{self // _UNIT_NS[unit]}{unit}"


class Offset(int):
    """A duration in nanoseconds that may be negative: how far one thing is ahead of another."""

    EXPECTED: ClassVar[str] = 'a duration such as "90s", or "-90s"'

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "1h", "-1h".

        Raises:
            ValueError: as `Duration.parse`.
        """
        try:
            size = Duration.parse(text.removeprefix("-"))
        except ValueError as error:
            raise ValueError(str(error).replace(Duration.EXPECTED, cls.EXPECTED)) from None
        return cls(-size if text.startswith("-") else size)

    def written(self) -> str:
        """As a document has it."""
        return ("-" if self < 0 else "") + Duration(abs(self)).written()


class Size(int):
    """A number of bytes; documents write it "40KiB", "1MB" or "512"."""

    EXPECTED: ClassVar[str] = 'a size such as "512", "40KiB" or "1MB"'

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "512", "40KiB", "1MB".

        Raises:
            ValueError: anything else; the message says what was expected.
        """
        match = _SIZE.fullmatch(text)
        if not match:
            raise ValueError(f"Expected {cls.EXPECTED}")
        return cls(round(float(match[1]) * _UNIT_BYTES[match[2] or "B"]))


def format_duration(ns: float) -> str:
    """Three significant digits and the unit a person would choose: 950 ns, 12.3 ms, 1.00 s."""
    for unit, size in (("s", NS_PER_S), ("ms", NS_PER_MS), ("µs", 1_000)):
        if ns >= size:
            value = ns / size
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:,.{digits}f} {unit}"
    return f"{ns:.0f} ns"
