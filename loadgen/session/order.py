"""What follows from the order of frames: whose answer one is, where no transaction says it, and its number."""

from __future__ import annotations

from collections import deque

from loadgen.nmsp.catalogue import CATALOGUE, class_of
from loadgen.nmsp.framing import Framing
from loadgen.nmsp.messages import Kind

# Of each message that answers: what it can be the answer to.
_ANSWERS = {kind: entry.answers for kind, entry in CATALOGUE.items() if entry.answers}
# More that was asked and not answered is forgotten, oldest first.
_MOST_OPEN = 1024


class RequestOrder:
    """The requests of one session, in a layout whose messages carry no transaction: answers come in their order.

    An answer belongs to the oldest request that it can be the answer to. So one that never comes makes those behind it
    look late, not early.
    """

    __slots__ = ("_came", "_open")

    def __init__(self) -> None:
        self._open: deque[tuple[Kind, int]] = deque(maxlen=_MOST_OPEN)
        self._came = 0

    def said(self, kind: Kind, transaction: int) -> None:
        """We have sent a message; requests are remembered."""
        if transaction and class_of(kind) == "request":
            self._open.append((kind, transaction))

    def came(self, kind: Kind) -> int:
        """The transaction of a message that came, as if it carried one; 0 for what is neither request nor answer."""
        if (asked := _ANSWERS.get(kind)) is not None:
            for index, (request, transaction) in enumerate(self._open):
                if request in asked:
                    del self._open[index]
                    return transaction
            return 0
        if class_of(kind) == "request":
            self._came += 1
            return self._came
        return 0


class FrameNumbers:
    """The numbers of frames in one session, in a layout whose headers carry them.

    Attributes:
        said, heard: frames so far.
    """

    __slots__ = ("_framing", "heard", "said")

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self.said = self.heard = 0

    def put(self, data: bytes | memoryview) -> memoryview:
        """Whole frames with their numbers in, as they are about to be written; a view is changed as it is."""
        view = memoryview(bytearray(data)) if isinstance(data, bytes) else data
        position, framing = 0, self._framing
        while position < len(view):
            size = framing.size_of(view, position)
            framing.put_numbers(view[position : position + size], self.said, self.heard)
            self.said += 1
            position += size
        return view
