"""What a fuzzer's bytes mean to a target: numbers and pieces are read off their front; zeros follow their end."""

from __future__ import annotations


class Bytes:
    """Reads choices from the front of the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._position < len(self._data)

    def byte(self) -> int:
        return self.number(1)

    def below(self, end: int) -> int:
        """A number from 0 to end - 1."""
        return self.number(1 if end <= 256 else 2) % end

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes, little endian."""
        return int.from_bytes(self.take(size), "little")

    def take(self, size: int) -> bytes:
        piece = self._data[self._position : self._position + size]
        self._position += size
        return piece

    def rest(self) -> bytes:
        return self.take(len(self._data))


def joined(*parts: int | bytes) -> bytes:
    """The bytes that these choices (below 256) and pieces are read from."""
    return b"".join(bytes([part]) if isinstance(part, int) else part for part in parts)
