"""The order of exchanges, tried exhaustively: every dialogue and place in it, any sender and kind, either side."""

from __future__ import annotations

from itertools import product

import pytest
from dialogue_samples import DIALOGUES, ENDED, UNANSWERED, USUAL, profile_with
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue import Saying, name_of
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.session import Session, State

S, W, M, K = State, Role.WLC, Role.MSE, Kind
REPEATABLE = settings(derandomize=True, deadline=None, database=None)
NAMED = pytest.mark.parametrize("name", DIALOGUES)

# Where a session may stand: in its opening, behind so many messages; or in a state behind it, and 0.
Place = tuple[State, int]
Word = tuple[Role, Saying]
ACTIVE, BY_WLC, BY_MSE = ((state, 0) for state in (S.ACTIVE, S.ENDED_BY_WLC, S.ENDED_BY_MSE))

# The order of docs/wire-profile.md, written down a second time.
OPENING = [
    (M, K.VERSION_REQUEST),
    (W, K.VERSION_RESPONSE),
    (W, K.CAPABILITY),
    (M, K.SUBSCRIBE_REQUEST),
    (W, K.SUBSCRIBE_RESPONSE),
]
OPENINGS: dict[str, list[Word]] = {
    "usual": OPENING,
    "wlc-first": [(W, K.VERSION_REQUEST), (M, K.VERSION_RESPONSE), *OPENING[2:]],
    "short": OPENING[3:],
    "unasked": [(M, K.CAPABILITY_REQUEST), (W, K.CAPABILITY)],
    "unanswered": OPENING[2:4],
    "hail": [OPENING[2]],
    "nothing": [],
    "ended": OPENING,
    "opaque": [(W, "hail"), (M, "hail_back"), *OPENING[3:]],
}
OPAQUE_WORDS = {(W, "hail"), (M, "hail_back"), (M, "alive"), (W, "alive_back")}
BYES = {(W, "bye"), (M, "bye")}
SAYINGS: list[Saying] = [*Kind, "hail", "hail_back", "alive", "alive_back", "bye", "nobody's"]
ASKERS = {"wlc-first": {W}, "unasked": {W, M}, "unanswered": {W, M}, "hail": set[Role]()}
END = {"unanswered": (M, K.UNSUBSCRIBE_REQUEST), "ended": (M, K.UNSUBSCRIBE_REQUEST)}


def running(name: str) -> set[Word]:
    """Of an active session: every request from the MSE, every response and notification from the WLC, and echoes."""
    words: set[Word] = {(M, kind) for kind in K if kind.label.endswith("_request")}
    words |= {(W, kind) for kind in K if kind.label.endswith(("_response", "_notify"))}
    words = {word for word in words if word[1] not in (K.ECHO_REQUEST, K.ECHO_RESPONSE)}
    words -= {(M, K.VERSION_REQUEST), (W, K.VERSION_RESPONSE), END.get(name, (M, K.VERSION_REQUEST))}
    for asker in ASKERS.get(name, {M}):
        words |= {(asker, K.ECHO_REQUEST), (W if asker is M else M, K.ECHO_RESPONSE)}
    return words | {(W, K.CAPABILITY)} | (OPAQUE_WORDS if name == "opaque" else set())


def allowed(name: str) -> dict[tuple[Place, Role, Saying], Place]:
    """Every step that there is, and where it leads."""
    opening = OPENINGS[name]
    steps: dict[tuple[Place, Role, Saying], Place] = {}
    for place, (sender, kind) in enumerate(opening):
        last = place == len(opening) - 1
        steps[(S.OPENING, place), sender, kind] = ACTIVE if last else (S.OPENING, place + 1)
    steps |= {(ACTIVE, *word): ACTIVE for word in running(name)}
    steps |= {(BY_MSE, W, kind): BY_MSE for sender, kind in running(name) if sender is W}
    steps |= {(BY_WLC, M, kind): BY_WLC for sender, kind in running(name) if sender is M}
    for sender, kind in BYES if name == "opaque" else {END[name]} if name in END else set[Word]():
        steps[ACTIVE, sender, kind] = BY_MSE if sender is M else BY_WLC
        steps[BY_WLC if sender is M else BY_MSE, sender, kind] = S.ENDED, 0
    for at in (*((S.OPENING, place) for place in range(len(opening))), ACTIVE, BY_MSE, BY_WLC):
        for sender in Role:
            if (at, sender) not in ((BY_MSE, M), (BY_WLC, W)):
                steps[at, sender, K.UNSUPPORTED] = at
    return steps


def places(name: str) -> list[Place]:
    opening = [(S.OPENING, place) for place in range(len(OPENINGS[name]))]
    return [*opening, *((state, 0) for state in State if state is not S.OPENING)]


def session_at(name: str, place: Place, local: Role) -> Session:
    session = Session(local, profile_with(DIALOGUES[name]).dialogue)
    session.state, session.turn = place if place[0] is S.OPENING else (place[0], len(OPENINGS[name]))
    return session


def place_of(session: Session) -> Place:
    return session.state, session.turn if session.state is S.OPENING else 0


@NAMED
@pytest.mark.parametrize("local", Role)
def test_exactly_the_rows_of_the_table_are_allowed(name: str, local: Role) -> None:
    table = allowed(name)
    for place, sender, kind in product(places(name), Role, SAYINGS):
        session = session_at(name, place, local)
        if (place, sender, kind) in table:
            assert session.message(sender, kind) is session.state
            assert place_of(session) == table[place, sender, kind]
        else:
            with pytest.raises(ProtocolError) as refusal:
                session.message(sender, kind)
            assert type(refusal.value) is (LocalProtocolError if sender is local else RemoteProtocolError)
            assert refusal.value.kind == "unexpected_message"
            assert f"found {name_of(kind)} from the {sender.name}" in str(refusal.value)
            assert f"in state {place[0].name}" in str(refusal.value)
            assert session.state is State.ERROR


def test_in_an_opening_it_is_said_which_message_was_expected() -> None:
    session = session_at("usual", (S.OPENING, 2), M)
    with pytest.raises(RemoteProtocolError, match=r"behind 2 of 5 messages, expected capability from the WLC; found"):
        session.message(W, K.SUBSCRIBE_RESPONSE)


@NAMED
def test_after_a_fault_nothing_passes_any_more(name: str) -> None:
    for local, place in product(Role, places(name)):
        session = session_at(name, place, local)
        with pytest.raises(ProtocolError):
            session.message(W, K.UNSUBSCRIBE_REQUEST)  # is never the WLC's to say
        for sender, kind in product(Role, Kind):
            with pytest.raises(ProtocolError):
                session.message(sender, kind)
        session.close()
        assert session.state is State.ERROR


@NAMED
def test_closing_is_final(name: str) -> None:
    for place in places(name):
        session = session_at(name, place, W)
        session.close()
        assert session.state is (S.ERROR if place[0] is S.ERROR else S.CLOSED)
        for sender, kind in product(Role, Kind):
            with pytest.raises(ProtocolError):
                session.message(sender, kind)


@NAMED
@given(data=st.data())
@REPEATABLE
def test_both_sides_agree_on_every_walk(name: str, data: st.DataObject) -> None:
    """What one gate lets out, the other lets in, and they stand at the same place all the time."""
    dialogue = profile_with(DIALOGUES[name]).dialogue
    sessions = Session(W, dialogue), Session(M, dialogue)
    table = allowed(name)
    legal = sorted({(who, what) for _, who, what in table}, key=str)
    any_word = st.tuples(st.sampled_from(Role), st.sampled_from(SAYINGS))
    for _ in range(data.draw(st.integers(0, 30))):
        place = place_of(sessions[0])
        now = sorted(((who, what) for at, who, what in table if at == place), key=str)
        choices = [st.sampled_from(now)] if now else []
        sender, kind = data.draw(st.one_of(*choices * 4, any_word, st.sampled_from(legal)))
        outcomes: list[object] = []
        faults: list[bool] = []
        for session in sessions:
            try:
                outcomes.append(session.message(sender, kind))
            except ProtocolError as fault:
                outcomes.append(fault.kind)
                faults.append(isinstance(fault, LocalProtocolError) is (sender is session.local))
        assert outcomes[0] == outcomes[1]
        assert all(faults)
        assert place_of(sessions[0]) == place_of(sessions[1])
        if sessions[0].state is S.ERROR:
            return


def test_a_profile_without_a_dialogue_has_the_usual_one() -> None:
    usual, none = profile_with(USUAL).dialogue, reference_profile().dialogue
    assert usual.opening == none.opening
    assert (usual.running, usual.endings, usual.askers) == (none.running, none.endings, none.askers)


def test_the_whole_conversation_in_order() -> None:
    sessions = session_at("ended", (S.OPENING, 0), W), session_at("ended", (S.OPENING, 0), M)
    for sender, kind in [
        *OPENING[:3],
        (W, K.UNSUPPORTED),
        *OPENING[3:],
        (W, K.MEASUREMENT_NOTIFY),
        (M, K.ECHO_REQUEST),
        (W, K.MEASUREMENT_NOTIFY),
        (W, K.ECHO_RESPONSE),
        (M, K.UNSUBSCRIBE_REQUEST),
        (W, K.MEASUREMENT_NOTIFY),  # was under way
    ]:
        assert sessions[0].message(sender, kind) is sessions[1].message(sender, kind)
    assert sessions[0].state is sessions[1].state is S.ENDED_BY_MSE
    with pytest.raises(RemoteProtocolError, match="from the side that has ended the session"):
        sessions[0].message(M, K.ECHO_REQUEST)


@pytest.mark.parametrize("dialogue", [ENDED, UNANSWERED])
def test_every_message_of_the_catalogue_can_be_said_somewhere(dialogue: str) -> None:
    """What ends a session is no other message any more."""
    table = profile_with(dialogue).dialogue
    said = {kind for _, kind in table.running | table.endings | {turn.word for turn in table.opening}}
    assert set(CATALOGUE) - said == ({K.VERSION_REQUEST, K.VERSION_RESPONSE} if dialogue is UNANSWERED else set())


def test_whose_fault_must_be_said() -> None:
    with pytest.raises(TypeError, match="whose fault"):
        ProtocolError("unexpected_message", "somebody did something")
