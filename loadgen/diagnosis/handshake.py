"""How far a handshake came, read off its events: which steps it passed, and which one it failed in."""

from __future__ import annotations

from typing import NamedTuple

from loadgen.diagnosis.steps import CheckStep, Reached, Side
from loadgen.transport.alerts import FATAL, LEVELS, alert_name
from loadgen.transport.trace import READ, Happening, TraceEvent

# States by which a side knows that a step is over.
_HELLO = {"mse": "SSLv3/TLS read server hello", "wlc": "SSLv3/TLS write server hello"}
_ASKED = {"mse": "SSLv3/TLS read server certificate request", "wlc": "SSLv3/TLS write certificate request"}
_SHOWN = {"mse": "SSLv3/TLS write client certificate", "wlc": "SSLv3/TLS read client certificate"}

# A WLC over datagrams asks for its cookie first: what each side knows that by.
_COOKIE = {"mse": "DTLS1 read hello verify request", "wlc": "DTLS1 write hello verify request"}

# With TLS 1.3, what a WLC may say when the handshake is over at its end too, and it has judged a certificate.
_WELCOME = "SSLv3/TLS read server session ticket"

# What a WLC's alert says about an MSE's certificate. `certificate_unknown` is what the field's controllers send whoever
# is not on their list; unknown_ca, access_denied and internal_error are what other libraries make of the same refusal.
_LIST_ALERTS = frozenset({46, 48, 49, 80})
# Our own refusals of an MSE by how their kinds begin, and the step they belong to.
_OWN_REFUSALS = (
    ("key_hash_not_listed", CheckStep.LISTED),
    ("certificate_", CheckStep.ACCEPTED),
    ("chain_", CheckStep.ACCEPTED),
    ("peer_did_not_return_a_certificate", CheckStep.ACCEPTED),
)


class Alert(NamedTuple):
    """An alert on the wire."""

    level: int
    number: int
    from_peer: bool

    @property
    def name(self) -> str:
        return alert_name(self.number)

    def told(self, peer: str) -> str:
        """For a person: "alert certificate_unknown (46, fatal) from the WLC"."""
        who = f"from the {peer}" if self.from_peer else "from us"
        return f"alert {self.name} ({self.number}, {LEVELS.get(self.level, self.level)}) {who}"


class HandshakeLog:
    """What the events of a tunnel say about the steps."""

    def __init__(self, plays: Side) -> None:
        self._plays = plays
        self._first_ns: dict[str, int] = {}
        self.alerts: list[Alert] = []

    def take(self, event: TraceEvent) -> None:
        """Note an event."""
        if event.happening is not Happening.STATE:
            return
        if event.is_alert:
            self.alerts.append(Alert(*event.alert, bool(event.where & READ)))
        else:
            self._first_ns.setdefault(event.state, event.at_ns)

    @property
    def fatal_from_peer(self) -> Alert | None:
        return next((alert for alert in self.alerts if alert.from_peer and alert.level == FATAL), None)

    @property
    def fatal_from_us(self) -> Alert | None:
        return next((alert for alert in self.alerts if not alert.from_peer and alert.level == FATAL), None)

    @property
    def shown(self) -> bool:
        """An MSE's certificate was sent."""
        return _SHOWN[self._plays] in self._first_ns

    @property
    def asks(self) -> bool:
        """A WLC has shown its certificate and asked for the MSE's."""
        return _ASKED[self._plays] in self._first_ns

    @property
    def stopped_at_cookie(self) -> bool:
        """A WLC has asked for its cookie, and nothing has come of it."""
        return _COOKIE[self._plays] in self._first_ns and not self.reached()

    @property
    def welcomed(self) -> bool:
        """The WLC gave us a ticket of TLS 1.3."""
        return _WELCOME in self._first_ns

    def reached(self) -> list[Reached]:
        """The steps passed, of TLS and what is asked for in it; in their order."""
        found = []
        for step, states in ((CheckStep.TLS, _HELLO), (CheckStep.ASKED, _ASKED)):
            at_ns = self._first_ns.get(states[self._plays])
            if at_ns is None:
                break
            found.append(Reached(step, at_ns))
        return found

    def failing_step(self, kind: str) -> CheckStep:
        """Which step a handshake that ended with this kind of fault failed in."""
        if self._plays == "wlc":
            # An alert from the MSE is about us: it likes our certificate no more than a version or suite.
            return next((step for beginning, step in _OWN_REFUSALS if kind.startswith(beginning)), CheckStep.TLS)
        return self.refusal_step() if self.shown and kind != "certificate_verify_failed" else CheckStep.TLS

    def refusal_step(self) -> CheckStep:
        """An MSE's certificate was refused: as a certificate, or by a list."""
        alert = self.fatal_from_peer
        return CheckStep.LISTED if alert is not None and alert.number in _LIST_ALERTS else CheckStep.ACCEPTED
