"""What two sides say to each other, and in which order: the `[dialogue]` of a wire profile, checked and compiled.

A dialogue opens with messages in one order, each from one side. Once all are said the session is active: whatever may
come in it comes in any number and mixture, until one side says the message that ends it, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple, TypeAlias

from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue_document import DialogueDocument, EndDocument, TurnDocument
from loadgen.nmsp.messages import Kind, Role
from loadgen.strict import one_of

_WLC, _MSE = frozenset({Role.WLC}), frozenset({Role.MSE})
_EITHER = _WLC | _MSE
_ROLES = {"wlc": _WLC, "mse": _MSE, "either": _EITHER, "both": _EITHER, "none": frozenset[Role]()}
# What an opening can have, and from whom: what both sides know how to say before anything is granted.
_OPENERS: dict[Kind, frozenset[Role]] = {
    Kind.VERSION_REQUEST: _EITHER,
    Kind.VERSION_RESPONSE: _EITHER,
    Kind.CAPABILITY_REQUEST: _MSE,
    Kind.CAPABILITY: _WLC,
    Kind.SUBSCRIBE_REQUEST: _MSE,
    Kind.SUBSCRIBE_RESPONSE: _WLC,
    Kind.ECHO_REQUEST: _EITHER,
    Kind.ECHO_RESPONSE: _EITHER,
}
# What can end a session: a message that leaves nothing to be answered.
_ENDERS: dict[Kind, frozenset[Role]] = {Kind.UNSUBSCRIBE_REQUEST: _MSE}
_VERSION = (Kind.VERSION_REQUEST, Kind.VERSION_RESPONSE)
_ECHO = (Kind.ECHO_REQUEST, Kind.ECHO_RESPONSE)
_KINDS = {kind.label: kind for kind in CATALOGUE}
MOST_TURNS = 64

# Who says what.
Word: TypeAlias = tuple[Role, Kind]
# Where, what was expected, what was found.
Complaint: TypeAlias = Callable[[str, str, str], None]


class Turn(NamedTuple):
    """One message of an opening.

    Attributes:
        answers: which turn it is the response to; None: it is none.
    """

    sender: Role
    kind: Kind
    answers: int | None

    @property
    def word(self) -> Word:
        return self.sender, self.kind

    @property
    def asks(self) -> bool:
        """It is a request, with a transaction of its own."""
        return self.kind.label.endswith("_request")

    def __str__(self) -> str:
        return f"{self.kind.label} from the {self.sender.name}"


class Dialogue:
    """A compiled dialogue.

    Attributes:
        opening: in order; then the session is active.
        running: what may come in an active session. endings: what ends it.
        askers: who asks for echoes. talkers: who says something now and then, whatever the load is.
        last_run: the first of the turns that one side says at the end, without another's between them.
        subscribed: what is granted is said, in a subscribe response of the opening.
    """

    def __init__(self, document: DialogueDocument) -> None:
        self.document = document
        turns: list[Turn] = []
        for each in document.opening:
            (sender,) = _ROLES[each.sender]
            kind = _KINDS[each.message]
            turns.append(Turn(sender, kind, _asked_before(turns, sender, kind)))
        self.opening = tuple(turns)
        self.askers = _ROLES[document.echo]
        self.talkers = _EITHER if self.askers else frozenset[Role]()
        running = {(entry.sender, kind) for kind, entry in CATALOGUE.items() if kind not in (*_VERSION, *_ECHO)}
        for asker in self.askers:
            running |= {(asker, Kind.ECHO_REQUEST), (other_side(asker), Kind.ECHO_RESPONSE)}
        self.endings: frozenset[Word] = frozenset()
        if (end := document.end) is not None:
            self.endings = frozenset((role, _KINDS[end.message]) for role in _ROLES[end.sender])
        self.running = frozenset(running) - self.endings
        self.subscribed = any(turn.kind is Kind.SUBSCRIBE_RESPONSE for turn in turns)
        self.last_run = len(turns)
        while self.last_run and turns[self.last_run - 1].sender is turns[-1].sender:
            self.last_run -= 1

    def has(self, kind: Kind) -> bool:
        """The opening has this message."""
        return any(turn.kind is kind for turn in self.opening)

    def labels_of(self, role: Role) -> frozenset[str]:
        """Names of the messages that this side may say at one time or another."""
        words = self.running | self.endings | {turn.word for turn in self.opening}
        return frozenset(kind.label for sender, kind in words if sender is role)

    def end_of_run(self, turn: int) -> int:
        """Behind the last of the turns that the sender of this one says without another's between them."""
        sender = self.opening[turn].sender
        while turn < len(self.opening) and self.opening[turn].sender is sender:
            turn += 1
        return turn

    def repeats(self, role: Role, turn: int) -> bool:
        """Where messages get lost: this side, which waits for that turn, says again what it has said last. Whoever
        speaks first does; and who waits for the last run, because the other one has nothing more to wait for.
        """
        return self.opening[0].sender is role or turn >= self.last_run

    def ending_of(self, role: Role) -> Kind | None:
        """What this side says when it ends a session; None: nothing."""
        return next((kind for sender, kind in self.endings if sender is role), None)


def other_side(role: Role) -> Role:
    """The other one."""
    return Role.MSE if role is Role.WLC else Role.WLC


def _asked_before(turns: list[Turn], sender: Role, kind: Kind) -> int | None:
    """The turn that a message of this kind would answer: the other side's latest request without an answer."""
    asked = CATALOGUE[kind].answers
    answered = {turn.answers for turn in turns}
    for index in reversed(range(len(turns))):
        turn = turns[index]
        if turn.kind in asked and turn.sender is not sender and index not in answered:
            return index
    return None


@cache
def dialogue_of(document: DialogueDocument | None) -> Dialogue:
    """The compiled dialogue of a document that was checked; None: the usual one."""
    return Dialogue(DialogueDocument() if document is None else document)


def told(dialogue: Dialogue) -> tuple[str, ...]:
    """A dialogue for people, a line for each thing."""
    lines = [f"{number}. {turn}" for number, turn in enumerate(dialogue.opening, 1)]
    lines.append("then the session is active" if lines else "a session is active at once")
    names = [role.name for role in sorted(dialogue.askers)]
    lines.append(f"echoes are asked for by the {' and the '.join(names)}" if names else "no echoes")
    for sender, kind in sorted(dialogue.endings):
        lines.append(f"{kind.label} from the {sender.name} ends a session")
    return tuple(lines)


# -- what a profile needs, and what can be wrong -----------------------------------------------------------------------


def needed(document: DialogueDocument | None) -> dict[str, str]:
    """Names of the messages that a profile with this dialogue needs, and what needs each."""
    document = DialogueDocument() if document is None else document
    found = {Kind.MEASUREMENT_NOTIFY.label: "there to be something to measure"}
    if document.echo != "none":
        found |= {kind.label: "dialogue.echo" for kind in _ECHO}
    if document.end is not None:
        found[document.end.message] = "dialogue.end"
    for index, turn in reversed([*enumerate(document.opening)]):
        found[turn.message] = f"dialogue.opening[{index}]"
    return found


def check_dialogue(document: DialogueDocument, add: Complaint) -> None:
    """Tell every problem of a dialogue. Whether the profile has its messages is for the caller to see: `needed`."""
    if len(document.opening) > MOST_TURNS:
        add("dialogue.opening", f"at most {MOST_TURNS} messages", str(len(document.opening)))
        return
    openers = {kind.label: roles for kind, roles in _OPENERS.items()}
    turns: list[Turn] = []
    for index, each in enumerate(document.opening):
        where = f"dialogue.opening[{index}]"
        if _check_said(each, where, openers, add):
            _check_turn(each, where, turns, add)
    if (end := document.end) is not None:
        enders = {kind.label: roles for kind, roles in _ENDERS.items()}
        if _check_said(end, "dialogue.end", enders, add) and any(t.kind.label == end.message for t in turns):
            add("dialogue.end.message", "a message that the opening does not have", f'"{end.message}"')


def _check_said(
    each: TurnDocument | EndDocument, where: str, known: Mapping[str, frozenset[Role]], add: Complaint
) -> bool:
    """Whether this message can be said there, by this side."""
    if (senders := known.get(each.message)) is None:
        add(f"{where}.message", one_of(each.message, known), f'"{each.message}"')
        return False
    if not _ROLES[each.sender] <= senders:
        expected = " or ".join(f'"{role.name.lower()}"' for role in sorted(senders))
        add(f"{where}.sender", f"{expected}, who can say {each.message}", f'"{each.sender}"')
        return False
    return True


def _check_turn(each: TurnDocument, where: str, turns: list[Turn], add: Complaint) -> None:
    """One turn behind those that are in order; it becomes one of them."""
    (sender,) = _ROLES[each.sender]
    kind = _KINDS[each.message]
    if any(turn.word == (sender, kind) for turn in turns):
        add(where, "each message once from a side", f"{each.message} from the {each.sender} once more")
        return
    answers = _asked_before(turns, sender, kind)
    if answers is None and kind.label.endswith("_response"):
        asked = " or ".join(request.label for request in CATALOGUE[kind].answers if request in _OPENERS)
        add(where, f"{asked} from the other side before its response", f"{each.message} without it")
        return
    turns.append(Turn(sender, kind, answers))
