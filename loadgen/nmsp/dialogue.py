"""What two sides say to each other, and in which order: the `[dialogue]` of a wire profile, checked and compiled.

A dialogue opens with messages in one order, each from one side. Once all are said the session is active: whatever may
come in it comes in any number and mixture, until one side says the message that ends it, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue_document import DialogueDocument, EndDocument, TurnDocument
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile_document import SIDES, OpaqueDocument, ProfileDocument
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

# What is said: a message of the catalogue, or an opaque one by its name.
Saying: TypeAlias = Kind | str
# Who says what.
Word: TypeAlias = tuple[Role, Saying]
# Where, what was expected, what was found.
Complaint: TypeAlias = Callable[[str, str, str], None]


def name_of(saying: Saying) -> str:
    """What it is called in a profile."""
    return saying if isinstance(saying, str) else saying.label


class Turn(NamedTuple):
    """One message of an opening.

    Attributes:
        asks: it has a transaction of its own, which its response repeats.
        answers: which turn it is the response to; None: it is none.
    """

    sender: Role
    saying: Saying
    asks: bool
    answers: int | None

    @property
    def word(self) -> Word:
        return self.sender, self.saying

    def __str__(self) -> str:
        return f"{name_of(self.saying)} from the {self.sender.name}"


class Dialogue:
    """A compiled dialogue.

    Attributes:
        opening: in order; then the session is active.
        running: what may come in an active session. endings: what ends it.
        askers: who asks for echoes. talkers: who says something now and then, whatever the load is.
        last_run: the first of the turns that one side says at the end, without another's between them.
        subscribed: what is granted is said, in a subscribe response of the opening.
        periodic: opaque messages that are said again and again, by who does.
        replies: opaque messages that are said when another one was heard, by that one's name.
        course: what WLCs say as the dialogue has it; any other opaque message of theirs is a notification.
    """

    def __init__(self, document: DialogueDocument, opaque: Mapping[str, OpaqueDocument]) -> None:
        self.document = document
        turns: list[Turn] = []
        for each in document.opening:
            (sender,) = _ROLES[each.sender]
            turns.append(_turn(turns, sender, each.message, opaque))
        self.opening = tuple(turns)
        self.askers = _ROLES[document.echo]
        self.talkers = _EITHER if self.askers else frozenset[Role]()
        running: set[Word] = {
            (entry.sender, kind) for kind, entry in CATALOGUE.items() if kind not in (*_VERSION, *_ECHO)
        }
        for asker in self.askers:
            running |= {(asker, Kind.ECHO_REQUEST), (other_side(asker), Kind.ECHO_RESPONSE)}
        running |= {(role, name) for name, each in opaque.items() for role in _ROLES[each.sender]}
        self.endings: frozenset[Word] = frozenset()
        if (end := document.end) is not None:
            self.endings = frozenset((role, _KINDS.get(end.message, end.message)) for role in _ROLES[end.sender])
        self.running = frozenset(running) - self.endings
        self.subscribed = any(turn.saying is Kind.SUBSCRIBE_RESPONSE for turn in turns)
        self.last_run = len(turns)
        while self.last_run and turns[self.last_run - 1].sender is turns[-1].sender:
            self.last_run -= 1
        self.periodic = {
            role: tuple(name for name, each in opaque.items() if each.every and role in _ROLES[each.sender])
            for role in Role
        }
        self.replies = {each.answers: name for name, each in opaque.items() if each.answers}
        self.course: frozenset[Saying] = frozenset(
            {
                *(turn.saying for turn in turns),
                *self.replies.values(),
                *self.periodic[Role.WLC],
                *(saying for _, saying in self.endings),
            }
        )

    def has(self, saying: Saying) -> bool:
        """The opening has this message."""
        return any(turn.saying == saying for turn in self.opening)

    def labels_of(self, role: Role) -> frozenset[str]:
        """Names of the messages that this side may say at one time or another."""
        words = self.running | self.endings | {turn.word for turn in self.opening}
        return frozenset(name_of(saying) for sender, saying in words if sender is role)

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

    def ending_of(self, role: Role) -> Saying | None:
        """What this side says when it ends a session; None: nothing."""
        return next((saying for sender, saying in self.endings if sender is role), None)


def other_side(role: Role) -> Role:
    """The other one."""
    return Role.MSE if role is Role.WLC else Role.WLC


def _turn(turns: list[Turn], sender: Role, name: str, opaque: Mapping[str, OpaqueDocument]) -> Turn:
    """The turn behind these, of a message with this name."""
    if (each := opaque.get(name)) is not None:
        answered = any(other.answers == name for other in opaque.values())
        filled = any(field.name == "transaction" for field in each.fields)
        asked: tuple[Saying, ...] = (each.answers,)
        asks = answered or (filled and not each.answers)
        return Turn(sender, name, asks, _asked_before(turns, sender, asked))
    kind = _KINDS[name]
    return Turn(sender, kind, name.endswith("_request"), _asked_before(turns, sender, CATALOGUE[kind].answers))


def _asked_before(turns: list[Turn], sender: Role, asked: tuple[Saying, ...]) -> int | None:
    """The turn that a response to one of these would answer: the other side's latest without an answer."""
    answered = {turn.answers for turn in turns}
    for index in reversed(range(len(turns))):
        turn = turns[index]
        if turn.saying in asked and turn.sender is not sender and index not in answered:
            return index
    return None


def senders_of(document: ProfileDocument) -> dict[str, frozenset[Role]]:
    """Who says each message of a profile at one time or another, by its name."""
    dialogue = document.dialogue or DialogueDocument()
    found: dict[str, frozenset[Role]] = {name: _ROLES[each.sender] for name, each in document.opaque.items()}
    for turn in dialogue.opening:
        found[turn.message] = found.get(turn.message, frozenset()) | _ROLES[turn.sender]
    for kind, roles in zip(
        _ECHO, (_ROLES[dialogue.echo], {other_side(each) for each in _ROLES[dialogue.echo]}), strict=True
    ):
        found[kind.label] = found.get(kind.label, frozenset()) | roles
    for name in document.messages.keys() & _KINDS.keys():
        kind, usual = _KINDS[name], frozenset({CATALOGUE[_KINDS[name]].sender})
        own = found.get(name, frozenset())
        found[name] = (own or usual) if kind in (*_VERSION, *_ECHO) else own | usual
    return found


def dialogue_of(document: ProfileDocument) -> Dialogue:
    """The compiled dialogue of a profile that was checked; the usual one, where it has no other."""
    return Dialogue(document.dialogue or DialogueDocument(), document.opaque)


def told(dialogue: Dialogue) -> tuple[str, ...]:
    """A dialogue for people, a line for each thing."""
    lines = [f"{number}. {turn}" for number, turn in enumerate(dialogue.opening, 1)]
    lines.append("then the session is active" if lines else "a session is active at once")
    names = [role.name for role in sorted(dialogue.askers)]
    lines.append(f"echoes are asked for by the {' and the '.join(names)}" if names else "no echoes")
    lines += sorted(f"{name_of(saying)} from the {sender.name} ends a session" for sender, saying in dialogue.endings)
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


def check_dialogue(document: ProfileDocument, add: Complaint) -> None:
    """Tell every problem of a profile's dialogue, but for messages that it lacks: those are `needed`."""
    dialogue, opaque = document.dialogue, document.opaque
    assert dialogue is not None
    if len(dialogue.opening) > MOST_TURNS:
        add("dialogue.opening", f"at most {MOST_TURNS} messages", str(len(dialogue.opening)))
        return
    said = {name: _ROLES[each.sender] for name, each in opaque.items()}
    openers = {kind.label: roles for kind, roles in _OPENERS.items()} | said
    turns: list[Turn] = []
    for index, each in enumerate(dialogue.opening):
        where = f"dialogue.opening[{index}]"
        if _check_said(each, where, openers, add):
            _check_turn(each, where, turns, opaque, add)
    if (end := dialogue.end) is not None:
        enders = {kind.label: roles for kind, roles in _ENDERS.items()} | said
        if _check_said(end, "dialogue.end", enders, add):
            _check_end(end, turns, opaque, add)
    by_side = [field.name for field in document.header.fields if field.values.keys() == set(SIDES)]
    turned = [
        turn for turn in turns if isinstance(turn.saying, Kind) and turn.sender is not CATALOGUE[turn.saying].sender
    ]
    if by_side and (turned or dialogue.echo in ("wlc", "both")):
        what = str(turned[0]) if turned else "echo_request from the WLC"
        add("dialogue", f"messages from the sides that `values` of header field {by_side[0]} is for", what)


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


def _check_turn(
    each: TurnDocument, where: str, turns: list[Turn], opaque: Mapping[str, OpaqueDocument], add: Complaint
) -> None:
    """One turn behind those that are in order; it becomes one of them."""
    (sender,) = _ROLES[each.sender]
    turn = _turn(turns, sender, each.message, opaque)
    if any(other.word == turn.word for other in turns):
        add(where, "each message once from a side", f"{each.message} from the {each.sender} once more")
        return
    asked = ""
    if isinstance(turn.saying, str):
        asked = opaque[each.message].answers
    elif each.message.endswith("_response"):
        asked = " or ".join(request.label for request in CATALOGUE[turn.saying].answers if request in _OPENERS)
    if asked and turn.answers is None:
        add(where, f"{asked} from the other side before its response", f"{each.message} without it")
        return
    turns.append(turn)


def _check_end(end: EndDocument, turns: list[Turn], opaque: Mapping[str, OpaqueDocument], add: Complaint) -> None:
    """What ends a session does nothing else."""
    at, found = "dialogue.end.message", f'"{end.message}"'
    if any(name_of(turn.saying) == end.message for turn in turns):
        add(at, "a message that the opening does not have", found)
    each = opaque.get(end.message)
    if each is not None and (each.every is not None or each.answers):
        add(at, "a message that is said at the end alone", f"{found}, which has a period or answers another")
