"""The order of exchanges, tried exhaustively: every state, either sender, every kind, seen from either side."""

from __future__ import annotations

from itertools import product

import pytest

from loadgen.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.session import Session, State

S, W, M, K = State, Role.WLC, Role.MSE, Kind

# The order of docs/wire-profile.md, written down a second time.
ALLOWED = {
    (S.CONNECTED, M, K.VERSION_REQUEST): S.VERSION_ASKED,
    (S.VERSION_ASKED, W, K.VERSION_RESPONSE): S.VERSION_AGREED,
    (S.VERSION_AGREED, W, K.CAPABILITY): S.CAPABILITY_KNOWN,
    (S.CAPABILITY_KNOWN, M, K.SUBSCRIBE_REQUEST): S.SUBSCRIBING,
    (S.SUBSCRIBING, W, K.SUBSCRIBE_RESPONSE): S.ACTIVE,
}
# Once a session is active: every request from the MSE, every response and notification from the WLC.
ALLOWED |= {(S.ACTIVE, M, kind): S.ACTIVE for kind in K if kind.label.endswith("_request")}
ALLOWED |= {(S.ACTIVE, W, kind): S.ACTIVE for kind in K if kind.label.endswith(("_response", "_notify"))}
ALLOWED[S.ACTIVE, W, K.CAPABILITY] = S.ACTIVE
del ALLOWED[S.ACTIVE, M, K.VERSION_REQUEST], ALLOWED[S.ACTIVE, W, K.VERSION_RESPONSE]
OPEN = [state for state in State if state not in (S.CLOSED, S.ERROR)]


def session_in(state: State, local: Role) -> Session:
    session = Session(local)
    session.state = state
    return session


@pytest.mark.parametrize("local", Role)
@pytest.mark.parametrize("state", State)
def test_exactly_the_rows_of_the_table_are_allowed(state: State, local: Role) -> None:
    for sender, kind in product(Role, Kind):
        session = session_in(state, local)
        if (state, sender, kind) in ALLOWED:
            new = ALLOWED[state, sender, kind]
            assert session.message(sender, kind) is new
            assert session.state is new
        elif kind is K.UNSUPPORTED and state in OPEN:
            assert session.message(sender, kind) is state
            assert session.state is state
        else:
            with pytest.raises(ProtocolError) as refusal:
                session.message(sender, kind)
            assert type(refusal.value) is (LocalProtocolError if sender is local else RemoteProtocolError)
            assert refusal.value.kind == "unexpected_message"
            assert f"found {kind.label} from the {sender.name}" in str(refusal.value)
            assert f"in state {state.name}" in str(refusal.value)
            assert session.state is State.ERROR


@pytest.mark.parametrize("local", Role)
def test_after_a_fault_nothing_passes_any_more(local: Role) -> None:
    for state, sender, kind in product(OPEN, Role, Kind):
        session = session_in(state, local)
        try:
            session.message(sender, kind)
        except ProtocolError:
            for again_sender, again_kind in product(Role, Kind):
                with pytest.raises(ProtocolError):
                    session.message(again_sender, again_kind)
            session.close()
            assert session.state is State.ERROR


@pytest.mark.parametrize("state", State)
def test_closing_is_final(state: State) -> None:
    session = session_in(state, W)
    session.close()
    assert session.state is (S.ERROR if state is S.ERROR else S.CLOSED)
    for sender, kind in product(Role, Kind):
        with pytest.raises(ProtocolError):
            session.message(sender, kind)


def test_the_whole_conversation_in_order() -> None:
    sessions = Session(W), Session(M)
    for sender, kind in [
        (M, K.VERSION_REQUEST),
        (W, K.VERSION_RESPONSE),
        (W, K.CAPABILITY),
        (W, K.UNSUPPORTED),
        (M, K.SUBSCRIBE_REQUEST),
        (W, K.SUBSCRIBE_RESPONSE),
        (W, K.MEASUREMENT_NOTIFY),
        (M, K.ECHO_REQUEST),
        (W, K.MEASUREMENT_NOTIFY),
        (W, K.ECHO_RESPONSE),
    ]:
        assert sessions[0].message(sender, kind) is sessions[1].message(sender, kind)
    assert sessions[0].state is sessions[1].state is S.ACTIVE


def test_whose_fault_must_be_said() -> None:
    with pytest.raises(TypeError, match="whose fault"):
        ProtocolError("unexpected_message", "somebody did something")
