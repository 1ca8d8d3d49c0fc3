"""What of a capture could not be decrypted, and why; one sentence each, for whoever has the capture."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.capture.events import Address, Conversation

__all__ = ["Alerted", "Broken", "Undecrypted", "Unkeyed", "Unreadable", "WrongKey"]


@dataclass(frozen=True, slots=True)
class Unkeyed:
    """It is encrypted, and the key log does not have what opens it."""

    conversation: Conversation
    client_random: bytes | None  # None: the ClientHello is not in the capture
    missing: tuple[str, ...]  # labels of the lines; none, if no line would help
    why: str

    def __str__(self) -> str:
        lines = " and ".join(f"{label} {(self.client_random or b'').hex()}" for label in self.missing)
        return f"{_ends(self.conversation)}: not decrypted, {self.why}{': ' if lines else ''}{lines}"


@dataclass(frozen=True, slots=True)
class WrongKey:
    """The key log has a line for it, and the first record that it should open says that it is another's."""

    conversation: Conversation
    of_client: bool
    client_random: bytes
    label: str

    def __str__(self) -> str:
        line = f"{self.label} {self.client_random.hex()}"
        return f"{_way(self.conversation, self.of_client)}: the key log's secret does not fit: {line}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It uses what is not decrypted here, whatever the keys: a suite (by its name), a version, compression."""

    conversation: Conversation
    what: str

    def __str__(self) -> str:
        return f"{_ends(self.conversation)}: {self.what} cannot be decrypted"


@dataclass(frozen=True, slots=True)
class Broken:
    """A direction that cannot be read on from an offset of its plaintext."""

    conversation: Conversation
    of_client: bool
    offset: int
    why: str

    def __str__(self) -> str:
        where = f"{_way(self.conversation, self.of_client)}, plaintext offset {self.offset}"
        return f"{where}: {self.why}; nothing of what follows is read"


@dataclass(frozen=True, slots=True)
class Alerted:
    """An end gave the connection up, and said why."""

    conversation: Conversation
    of_client: bool
    alert: str  # the name that RFC 8446 gives it

    def __str__(self) -> str:
        return f"{_way(self.conversation, self.of_client)}: ended by the fatal alert {self.alert}"


Undecrypted = Unkeyed | WrongKey | Unreadable | Broken | Alerted


def _ends(conversation: Conversation) -> str:
    return f"{_end(conversation.client)} to {_end(conversation.server)}"


def _way(conversation: Conversation, of_client: bool) -> str:
    ends = (conversation.client, conversation.server) if of_client else (conversation.server, conversation.client)
    return f"{_end(ends[0])} -> {_end(ends[1])}"


def _end(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
