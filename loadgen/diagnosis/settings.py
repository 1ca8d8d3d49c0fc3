"""What a check is told, and what its two halves have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn

from OpenSSL import SSL

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.diagnosis.carrier import CARRIERS, Transport
from loadgen.diagnosis.causes import Findings, likely_causes
from loadgen.diagnosis.handshake import HandshakeLog
from loadgen.diagnosis.hello import shown, sign_of
from loadgen.diagnosis.link import OneLink
from loadgen.diagnosis.listed import Listed, ListVerdict
from loadgen.diagnosis.signatures import request_untrusted
from loadgen.diagnosis.steps import (
    DATAGRAM_TITLES,
    CheckReport,
    CheckStep,
    Likely,
    Side,
    StepFault,
    StepReport,
    StepWalk,
)
from loadgen.errors import RemoteProtocolError
from loadgen.identity.any_certificate import AnyCertificate, UnreadableError
from loadgen.identity.credentials import Identity
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import other_side
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.records import mac_bytes
from loadgen.nmsp.services import labels_of
from loadgen.nmsp.session import Session
from loadgen.scenario.schema import SessionTable
from loadgen.session.link import Endpoint, EndpointSettings
from loadgen.transport.key_log import KeyLog
from loadgen.transport.spoken import CERTIFICATE_REQUEST
from loadgen.transport.tls import TransportFault
from loadgen.transport.trace import Sink, TraceEvent
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S, Duration

# Of a step that the profile's dialogue does not have.
NOT_IN_DIALOGUE = "the dialogue has none"
PEER: dict[Side, str] = {"mse": "WLC", "wlc": "MSE"}
# A test of the tunnel, not of patience.
_ECHO = Duration(100 * NS_PER_MS)
_NEVER = Duration(NEVER_NS)
# Over datagrams, more often than there is time for.
_REPEATS = 1_000_000
_NAMED = 4
# Faults of a peer that said nothing at all.
SILENT = frozenset({"timeout", "closed", "closed_without_notify", "reset"})


class CheckSettings(NamedTuple):
    """A check's options.

    Attributes:
        identity: ours.
        listed: what the controller's list is said to hold; None: nobody knows.
        key_hash, hash_over: what a controller compares.
        unauthenticated: no certificate is wanted at the WLC.
        old_certificates: take small keys and SHA-1 in certificates, ours and the peer's.
        mask: subservices that our MSE asks for, or our WLC offers.
        timeout_ns: how long any one step may take.
        transport: what the tunnel is; DTLS goes over datagrams.
        key_log: gets the secrets of the tunnel.
        clock, sleep: what time it is, and what lets it pass (s), where a WLC waits for its notification to be taken.
    """

    identity: Identity
    listed: tuple[Listed, ...] | None
    key_hash: HashAlgorithm
    hash_over: HashedBytes
    trusted_pem: bytes | None
    strong: bool
    old_certificates: bool
    unauthenticated: bool
    profile: WireProfile
    mask: int
    timeout_ns: int
    tell: Callable[[StepReport], None]
    trace: Sink | None = None
    transport: Transport = "tls"
    key_log: KeyLog | None = None
    clock: Nanoseconds = MONOTONIC
    sleep: Callable[[float], None] = time.sleep

    def observed(self, context: SSL.Context) -> SSL.Context:
        """A context of which the key log, if there is one, gets to know all tunnels."""
        if self.key_log is not None:
            self.key_log.observe([context])
        return context


class Check:
    """One check under way: the walk, what was found out, and the handshake's log."""

    def __init__(self, plays: Side, settings: CheckSettings) -> None:
        self.plays: Side = plays
        self.settings = settings
        self.carrier = CARRIERS[settings.transport]
        self.dialogue = settings.profile.dialogue
        self._session: Session | None = None  # once there is a conversation
        self.walk = StepWalk(plays, settings.tell, self._titles())
        self.evidence = Findings(plays)
        self.log = HandshakeLog(plays)
        self.peer = ""
        self.evidence.note(
            None,
            our_time=told_time(datetime.now(UTC)),
            our_strength="on" if settings.strong else "off",
            other_strength="off" if settings.strong else "on",
            their_strength="(not known)",
            carrier=self.carrier.name,
        )
        self.note_certificate(plays, settings.identity.certificate())

    def _titles(self) -> dict[CheckStep, str]:
        """What steps are called otherwise here."""
        titles = {} if self.carrier.connects else {**DATAGRAM_TITLES}
        if not self.dialogue.has(Kind.SUBSCRIBE_REQUEST):
            titles[CheckStep.SUBSCRIPTION] = "opening"
        return titles

    def events(self) -> Sink:
        """Where a tunnel's events go: the log, and the trace if one is wanted."""
        trace, take = self.settings.trace, self.log.take
        if trace is None:
            return take

        def both(event: TraceEvent) -> None:
            take(event)
            trace(event)

        return both

    def run(self, steps: Callable[[], None]) -> CheckReport:
        """Walk, and report. An interrupt is told as far as it came, and goes on its way."""
        fault: StepFault | None = None
        causes: tuple[Likely, ...] = ()
        try:
            steps()
        except StepFault as caught:
            fault = caught
            self.evidence.note(None, detail=fault.detail or fault.kind)
            self.walk.failed(fault)
            causes = likely_causes(fault, self.evidence)
        except BaseException:
            self.walk.given_up()
            raise
        failed, kind = (None, None) if fault is None else (fault.step.value, fault.kind)
        log = self.settings.key_log
        logged = ("", "") if log is None else (str(log.path), log.trouble)
        return CheckReport(
            self.plays, self.peer, fault is None, tuple(self.walk.reports), failed, kind, causes, *logged
        )

    def note_certificate(self, side: Side, certificate: AnyCertificate) -> None:
        """Remember whose it is, its dates, and whether it is of another time."""
        begin, end = map(told_time, (certificate.begins, certificate.ends))
        outdated = certificate.outdated or "a key or a signature in the chain above it"
        found = {"from": begin, "until": end, "name": told_name(certificate), "outdated": outdated}
        self.evidence.note(None, **{f"{side}_{what}": text for what, text in found.items()})

    def note_verdict(self, verdict: ListVerdict, mac: str | None) -> None:
        """Remember how the list and the key hash go together."""
        entry = verdict.entry
        self.evidence.note(
            verdict.sign,
            key_hash=verdict.expected,
            comparison=verdict.comparison,
            where=entry.where if entry is not None else "",
            listed_mac=(entry.mac if entry is not None else None) or "no MAC at all",
            mac=mac or "not in its certificate",
        )

    def note_first_bytes(self, link: OneLink, *, expected: str | None) -> None:
        """What the peer is by its first bytes. Args: expected: the sign of a peer that is right."""
        sign = sign_of(link.first_bytes)
        if sign is not None and sign != expected:
            self.evidence.note(sign, first_bytes=shown(link.first_bytes))
        if not link.first_bytes:
            self.evidence.note("silent_end")

    def pass_reached(self, link: OneLink, step: CheckStep) -> None:
        """What a handshake passed before it failed in `step`; and the peer's certificate, if it came to that."""
        details = {CheckStep.TLS: self.tls_detail(link)}
        for reached in self.log.reached():
            if reached.step.comes_before(step):
                self.walk.passed(reached.step, details.get(reached.step, ""), at_ns=reached.at_ns)
        self.note_peer_certificate(link)

    def note_silence_after_cookie(self) -> None:
        """Over datagrams: remember that a handshake came as far as the WLC's cookie, and no further."""
        if self.log.stopped_at_cookie:
            self.evidence.note("stopped_at_cookie")

    def note_peer_certificate(self, link: OneLink) -> None:
        """Remember the dates of the peer's certificate, if it has shown one."""
        if (certificate := self.peer_certificate(link)) is None:
            return
        self.note_certificate("wlc" if self.plays == "mse" else "mse", certificate)
        ours = self.settings.identity.certificate().begins
        if self.plays == "mse" and ours is not None and certificate.begins is not None and certificate.begins <= ours:
            self.evidence.note("wlc_began_first")

    def note_request(self, link: OneLink, said: Mapping[int, bytes]) -> None:
        """Remember what the WLC asks of certificates. Args: said: the WLC's messages of the handshake."""
        if (message := said.get(CERTIFICATE_REQUEST)) is not None:
            request = request_untrusted(message, tls_1_3=not link.tunnel.confirmed())
            self.evidence.note(None, asked_signatures=request.told())

    def tls_detail(self, link: OneLink) -> str:
        """ "TLSv1.2, ECDHE-RSA-AES256-GCM-SHA384"; and what of a WLC's certificate cannot be read."""
        told = ", ".join(link.tunnel.negotiated())
        if self.plays == "wlc" or not link.tunnel.peer_certificate():
            return told
        certificate = self.peer_certificate(link)
        unreadable = ("all of it",) if certificate is None else certificate.unreadable
        return f"{told}; not readable in its certificate: {', '.join(unreadable)}" if unreadable else told

    def explain(self, fault: TransportFault) -> str:
        """A fault in words: the peer's alert by name and number, where there was one."""
        peer = PEER[self.plays]
        alert, own = self.log.fatal_from_peer, self.log.fatal_from_us
        told = alert.told(peer) if alert is not None else told_kind(fault.kind)
        if alert is None and own is not None:
            told = f"{told}; {own.told(peer)}"
        self.evidence.note(None, alert=told)
        if fault.kind == "timeout":
            awaited = None if self._session is None else self._session.expected
            which = f"this step ({awaited})" if awaited is not None else "this step"
            return f"nothing for {which} from the {peer} for {self.settings.timeout_ns / 1e9:g} s"
        return told

    def peer_certificate(self, link: OneLink) -> AnyCertificate | None:
        """The one that the peer has shown; None too if it has no parts that are known."""
        der = link.tunnel.peer_certificate()
        with suppress(UnreadableError):
            return None if der is None else AnyCertificate(der)
        return None

    def fail(self, step: CheckStep, fault: TransportFault) -> NoReturn:
        """Raises: StepFault."""
        if fault.kind.startswith("alert_") or fault.kind in SILENT:
            self.evidence.note("refused_by_peer")
        raise StepFault(step, fault.kind, self.explain(fault)) from fault

    def broken(self, step: CheckStep, fault: RemoteProtocolError) -> NoReturn:
        """The peer broke the protocol. Raises: StepFault."""
        detail = str(fault).removeprefix(f"{fault.kind}: ")
        if fault.kind == "unexpected_message" and f"from the {PEER[self.plays]}" in detail.partition("found")[2]:
            self.evidence.note(self._role_sign(detail))
        raise StepFault(step, fault.kind, detail) from fault

    def converse(self, link: OneLink, endpoint: Endpoint, until: Callable[[], bool]) -> None:
        """Exchange messages until something is so, for as long as a step may take.

        Raises:
            TransportFault, RemoteProtocolError.
        """
        self._session = endpoint.session
        link.converse(endpoint, self.settings.profile, until, self.deadline_ns())

    def start(self, endpoint: Endpoint) -> None:
        """The tunnel is up: an endpoint of ours begins."""
        if mac := self.settings.identity.mac:
            endpoint.mac = mac_bytes(mac)
        endpoint.start(time.monotonic_ns())

    def echoed(self, link: OneLink, endpoint: Endpoint) -> bool:
        """Every side that asks for echoes has asked, and was answered."""
        ours = endpoint.role not in self.dialogue.askers or endpoint.settings.recorder.counters["echo.received"] > 0
        theirs = endpoint.peer not in self.dialogue.askers or Kind.ECHO_REQUEST in link.heard
        return ours and theirs

    def leave(self, link: OneLink, endpoint: Endpoint) -> None:
        """Say the message that ends the session, if there is one. A peer that has gone misses nothing."""
        endpoint.outbox.clear()
        endpoint.say_end(time.monotonic_ns())
        with suppress(TransportFault):
            for frame in endpoint.outbox:
                link.send(frame, self.deadline_ns())

    def _role_sign(self, detail: str) -> str | None:
        """Whether the peer has said what only our own side says: it is of our own kind."""
        found = detail.partition("found ")[2].partition(" from the")[0]
        ours = Role.MSE if self.plays == "mse" else Role.WLC
        if found in self.dialogue.labels_of(ours) - self.dialogue.labels_of(other_side(ours)):
            return f"{self.plays}_message"
        return None

    def deadline_ns(self) -> int:
        """When a step that begins now must be over."""
        return time.monotonic_ns() + self.settings.timeout_ns

    def pass_up_to(self, step: CheckStep, at_ns: int | None = None) -> None:
        """Everything undecided before `step` was passed: nothing could have come so far without it."""
        for each in list(self.walk.undecided):
            if not each.comes_before(step):
                break
            if each is CheckStep.CAPABILITY and not self.dialogue.has(Kind.CAPABILITY):
                self.walk.not_needed(each, NOT_IN_DIALOGUE)
            else:
                self.walk.passed(each, at_ns=at_ns)

    def mask_in(self, link: OneLink, kind: Kind) -> int:
        """The mask of subservices in the last message of a kind; 0 if there was none."""
        body = link.bodies.get(kind)
        if body is None:
            return 0
        profile = self.settings.profile
        sender = CATALOGUE[kind].sender
        message = Codec(profile).decode_untrusted(profile.ids[kind], memoryview(body), sender=sender)
        return int(getattr(message, "subservices", 0))

    def endpoint_settings(self) -> EndpointSettings:
        """For an endpoint whose deadlines are the walk's."""
        return EndpointSettings(
            Codec(self.settings.profile),
            Recorder(),
            mask=self.settings.mask,
            to_unix_ns=int(datetime.now(UTC).timestamp() * NS_PER_S) - time.monotonic_ns(),
            setup_timeout_ns=NEVER_NS,
            timers=SessionTable(echo_interval=_ECHO, dead_interval=_NEVER, max_retransmits=_REPEATS),
        )


def told_kind(kind: str) -> str:
    """A kind of fault, for a person."""
    return kind.replace("_", " ")


def told_mask(mask: int) -> str:
    """Names of subservices: the first few, and how many more."""
    names = labels_of(mask)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more if names else "nothing"


def told_name(certificate: AnyCertificate) -> str:
    """Its name, and what of it cannot be read."""
    unreadable = ", ".join(certificate.unreadable)
    parts = [certificate.subject or "", f"(not readable: {unreadable})" if unreadable else ""]
    return " ".join(filter(None, parts))


def told_time(moment: datetime | None) -> str:
    """A time for a person, UTC and to the second; None is one that could not be read."""
    return "(not readable)" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
