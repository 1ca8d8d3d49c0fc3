"""`loadgen check wlc`: one MSE calls a WLC, step by step."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from OpenSSL import SSL

from loadgen.diagnosis.carrier import takes_tcp
from loadgen.diagnosis.contexts import dates_refused, mse_context
from loadgen.diagnosis.hello import PEEK_BYTES
from loadgen.diagnosis.link import OneLink
from loadgen.diagnosis.listed import judge
from loadgen.diagnosis.settings import NOT_IN_DIALOGUE, SILENT, Check, CheckSettings, told_kind, told_mask
from loadgen.diagnosis.signatures import is_empty_certificate, key_told
from loadgen.diagnosis.steps import CheckReport, CheckStep, StepFault
from loadgen.errors import RemoteProtocolError
from loadgen.hosts import endpoint_shown
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.services import labels_of
from loadgen.session.mse import MseEndpoint
from loadgen.session.reception import MEASURED
from loadgen.transport.address import host_and_port
from loadgen.transport.spoken import CERTIFICATE
from loadgen.transport.tls import TransportFault
from loadgen.transport.verifying import unfitness
from loadgen.units import NS_PER_MS, NS_PER_S

# A certificate that began so lately may not be valid yet to somebody whose clock is behind.
_FRESH = timedelta(days=1)
# With TLS 1.3 an MSE may speak before the WLC has judged its certificate. A refusal takes a millisecond, or as long as
# an AAA server; one that comes just as we speak may be lost.
_REFUSAL_NS = 100 * NS_PER_MS
# Faults that strong cipher at one side only may have brought about.
_NOTHING_IN_COMMON = frozenset(
    {
        "alert_handshake_failure",
        "alert_protocol_version",
        "alert_insufficient_security",
        "unsupported_protocol",
        "wrong_ssl_version",
    }
)
# Kinds of faults by which a host is not reached.
_NEVER_ARRIVED = frozenset({"timeout", "unreachable"})
# And those of a port where nobody answers datagrams.
_NO_ANSWER = frozenset({"timeout", "refused"})
# How a WLC ends that has nothing against our certificate, as far as that tells.
_NO_REFUSAL = frozenset({"closed", "timeout"})
_OWN_SIGNS = {
    "certificate_not_yet_valid": "own_not_yet_valid",
    "certificate_expired": "own_expired",
    "certificate_signature_wrong": "own_malformed",
    "certificate_dates_unreadable": "own_malformed",
}


def check_wlc(host: str, port: int, settings: CheckSettings) -> CheckReport:
    """Play one MSE at the WLC at `host`, until all steps are passed or one has failed."""
    return _WlcCheck(host, port, settings).run()


class _WlcCheck:
    def __init__(self, host: str, port: int, settings: CheckSettings) -> None:
        self._host, self._port = host, port
        self._settings = settings
        self._check = Check("mse", settings)
        self._check.peer = endpoint_shown(host, port)
        self._walk, self._evidence = self._check.walk, self._check.evidence
        self._evidence.note(None, host=host, port=str(port), peer=self._check.peer)
        self._look_at_ourselves()

    def run(self) -> CheckReport:
        return self._check.run(self._steps)

    def _look_at_ourselves(self) -> None:
        """What can be known before anybody is asked."""
        certificate, now = self._settings.identity.certificate(), datetime.now(UTC)
        if (refused := dates_refused(certificate, now)) is not None:
            self._evidence.note(_OWN_SIGNS.get(refused))
        elif certificate.begins is not None and now - certificate.begins < _FRESH:
            self._evidence.note("own_fresh")
        if certificate.outdated is not None:
            self._evidence.note("own_outdated")
        settings = self._settings
        unfit = unfitness(settings.identity.certificate_pem, settings.identity.chain_pem)
        if unfit is not None:
            self._evidence.note(_OWN_SIGNS.get(unfit, "own_unfit"), unfit=told_kind(unfit))
        verdict = judge(settings.listed or (), certificate, settings.key_hash, settings.hash_over)
        self._check.note_verdict(verdict, settings.identity.mac or None)
        if settings.listed is None:
            self._evidence.signs.discard(verdict.sign)
            self._evidence.note("no_list")

    def _steps(self) -> None:
        address = self._resolve()
        sock = self._connect(address)
        context = self._context(self._settings.trusted_pem, strong=self._settings.strong)
        link = self._check.carrier.link(context, sock, self._check.events(), server=False)
        try:
            self._shake(link, address)
            self._talk(link)
        finally:
            link.close()

    def _context(self, trusted_pem: bytes | None, *, strong: bool) -> SSL.Context:
        settings = self._settings
        # With strong cipher off, old ones are taken anyway; and what we are must not end the try the other way round.
        old_certificates = settings.old_certificates or not settings.strong
        context = mse_context(
            settings.identity,
            trusted_pem,
            strong=strong,
            old_certificates=old_certificates,
            make=self._check.carrier.contexts,
        )
        return settings.observed(context)

    # -- the network ---------------------------------------------------------------------------------------------

    def _resolve(self) -> tuple[str, int]:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise StepFault(CheckStep.REACHABLE, "unresolved", str(error)) from error
        return host_and_port(found[0][4])[0], self._port

    def _connect(self, address: tuple[str, int]) -> socket.socket:
        """A connected socket. A refusal came from somewhere, so the host is reachable; silence may be anything."""
        try:
            sock = self._dialed(address, self._check.deadline_ns())
        except TransportFault as fault:
            step = CheckStep.REACHABLE if fault.kind in _NEVER_ARRIVED else CheckStep.TCP
            if step is CheckStep.TCP:
                self._walk.passed(CheckStep.REACHABLE, address[0])
            self._check.fail(step, fault)
        if not self._check.carrier.connects:
            return sock
        self._walk.passed(CheckStep.REACHABLE, address[0])
        local = sock.getsockname()
        self._walk.passed(CheckStep.TCP, f"from {local[0]} port {local[1]}")
        return sock

    def _dialed(self, address: tuple[str, int], deadline_ns: int) -> socket.socket:
        return self._check.carrier.dial(address, deadline_ns)

    def _arrive(self, link: OneLink, address: tuple[str, int], fault: TransportFault | None = None) -> None:
        """Over datagrams: whether somebody is there, which only an answer to the handshake's first flight tells."""
        if self._check.carrier.connects:
            return
        if fault is not None and not link.answered:
            if fault.kind in _NO_ANSWER and takes_tcp(address, self._check.deadline_ns()):
                self._evidence.note("takes_tcp")
            if fault.kind in _NEVER_ARRIVED:
                self._check.fail(CheckStep.REACHABLE, fault)
        self._walk.passed(CheckStep.REACHABLE, address[0], at_ns=link.answered_ns)
        self._walk.not_needed(CheckStep.TCP, "datagrams")

    # -- the tunnel ----------------------------------------------------------------------------------------------

    def _shake(self, link: OneLink, address: tuple[str, int]) -> None:
        log = self._check.log
        try:
            link.handshake(self._check.deadline_ns())
        except TransportFault as fault:
            self._arrive(link, address, fault)
            if self._check.carrier.connects and fault.kind not in SILENT and not link.first_bytes:
                link.first_bytes = self._answer_to_a_hello(address)
            self._check.note_first_bytes(link, expected=None)
            self._note_withheld(link)
            self._check.note_silence_after_cookie()
            step = log.failing_step(fault.kind)
            self._check.pass_reached(link, step)
            if step is CheckStep.TLS and fault.kind in _NOTHING_IN_COMMON:
                self._try_the_other_strength(address)
            self._check.pass_up_to(step)
            self._check.fail(step, fault)
        self._arrive(link, address)
        self._check.note_peer_certificate(link)
        tls, *asked = log.reached()
        self._walk.passed(CheckStep.TLS, self._check.tls_detail(link), at_ns=tls.at_ns)
        if not asked:
            if not self._settings.unauthenticated:
                raise StepFault(CheckStep.ASKED, "not_asked", "the WLC asked for no certificate")
            for step in (CheckStep.ASKED, CheckStep.ACCEPTED, CheckStep.LISTED):
                self._walk.not_needed(step, "anybody is let in")
            return
        self._walk.passed(CheckStep.ASKED, at_ns=asked[0].at_ns)
        if self._note_withheld(link) and not self._settings.unauthenticated:
            raise StepFault(
                CheckStep.ACCEPTED, "certificate_withheld", "our key makes no signature that the WLC asks for"
            )
        if link.tunnel.confirmed():
            self._check.pass_up_to(CheckStep.CAPABILITY)
        else:
            link.await_refusal(_REFUSAL_NS)

    def _note_withheld(self, link: OneLink) -> bool:
        """Whether OpenSSL kept our certificate back: it does so where our key makes no signature that is asked for."""
        self._check.note_request(link, link.spoken.heard)
        message = link.spoken.sent.get(CERTIFICATE)
        withheld = message is not None and is_empty_certificate(message)
        if withheld:
            self._evidence.note("certificate_withheld", our_key=key_told(self._settings.identity.key_pem))
        return withheld

    def _answer_to_a_hello(self, address: tuple[str, int]) -> bytes:
        """The first bytes of an answer to a plain hello: OpenSSL had read those of the handshake before we saw them."""
        hello = SSL.Connection(self._context(None, strong=self._settings.strong), None)
        hello.set_connect_state()
        with suppress(SSL.WantReadError):
            hello.do_handshake()
        with suppress(TransportFault, OSError), self._dialed(address, self._check.deadline_ns()) as sock:
            sock.settimeout(self._settings.timeout_ns / NS_PER_S)
            sock.sendall(hello.bio_read(PEEK_BYTES))
            return sock.recv(PEEK_BYTES)
        return b""

    def _try_the_other_strength(self, address: tuple[str, int]) -> None:
        """One more handshake with strong cipher the other way round: whether it comes further is a proof."""
        settings = self._settings
        context = self._context(None, strong=not settings.strong)
        log = type(self._check.log)("mse")
        deadline = self._check.deadline_ns()
        with suppress(TransportFault):
            link = self._check.carrier.link(context, self._dialed(address, deadline), log.take, server=False)
            try:
                with suppress(TransportFault):
                    link.handshake(deadline)
                if log.reached():
                    self._evidence.note("other_strength_works", their_strength="the opposite, tried just now")
            finally:
                link.close()

    def _refused_at(self, fault: TransportFault) -> CheckStep | None:
        """With TLS 1.3 our side of the handshake was over before the WLC had seen our certificate; this is its answer.

        A WLC that let us in says something, or ends in order. Some refuse without an alert, or with one that we cannot
        read: Mbed TLS 4.1 encrypts it with the keys of the handshake.
        """
        if fault.kind.startswith("alert_"):
            return self._check.log.refusal_step()
        if self._check.log.welcomed:
            return None
        self._evidence.note("certificate_unanswered")
        return None if fault.kind in _NO_REFUSAL else CheckStep.ACCEPTED

    # -- the conversation ----------------------------------------------------------------------------------------

    def _talk(self, link: OneLink) -> None:
        endpoint = self._check.carrier.mse(self._check.endpoint_settings(), time.monotonic_ns(), 0)
        self._check.start(endpoint)
        self._evidence.note(None, asked=told_mask(self._settings.mask))

        def passed(step: CheckStep, kind: Kind, detail: str = "") -> None:
            self._walk.passed(step, detail, at_ns=link.heard.get(kind))

        if endpoint.dialogue.has(Kind.CAPABILITY):
            self._until(link, endpoint, CheckStep.CAPABILITY, lambda: Kind.CAPABILITY in link.heard)
            offered = self._check.mask_in(link, Kind.CAPABILITY)
            passed(CheckStep.CAPABILITY, Kind.CAPABILITY, f"{len(labels_of(offered))} subservices")
            self._evidence.note(None, offered=told_mask(offered))
        self._until(link, endpoint, CheckStep.SUBSCRIPTION, lambda: endpoint.active)
        passed(CheckStep.SUBSCRIPTION, Kind.SUBSCRIBE_RESPONSE, f"granted: {told_mask(endpoint.granted)}")
        self._listen(link, endpoint)
        self._check.leave(link, endpoint)

    def _listen(self, link: OneLink, endpoint: MseEndpoint) -> None:
        """Wait for a notification of what was granted, and for an echo's answer; they come in any order."""
        granted = endpoint.granted & MEASURED
        come: dict[CheckStep, Callable[[], bool]] = {
            CheckStep.NOTIFICATION: lambda: any(granted >> subservice & 1 for subservice in link.notified),
            CheckStep.ECHO: lambda: self._check.echoed(link, endpoint),
        }
        at_ns: dict[CheckStep, int] = {}

        def has_come(step: CheckStep) -> bool:
            for each, is_so in come.items():
                if each not in at_ns and is_so():
                    at_ns[each] = time.monotonic_ns()
            return step in at_ns

        if not granted:
            self._walk.not_needed(CheckStep.NOTIFICATION, "no measurements were granted")
            del come[CheckStep.NOTIFICATION]
        if not endpoint.dialogue.askers:
            del come[CheckStep.ECHO]
        for step in list(come):
            self._until(link, endpoint, step, partial(has_come, step))
            self._walk.passed(step, at_ns=at_ns[step])
        if CheckStep.ECHO not in come:
            self._walk.not_needed(CheckStep.ECHO, NOT_IN_DIALOGUE)

    def _note_running(self, link: OneLink, endpoint: MseEndpoint) -> None:
        """Remember what came in the running session, right or wrong."""
        counters = endpoint.settings.recorder.counters
        if counters["echo.received"]:
            self._evidence.note("echo_answered")
        elif counters["echo.unmatched"]:
            self._evidence.note("echo_unmatched")
        if link.notified:
            mask = sum(1 << subservice for subservice in link.notified)
            self._evidence.note("notified_other", notified=told_mask(mask), granted=told_mask(endpoint.granted))

    def _until(self, link: OneLink, endpoint: MseEndpoint, step: CheckStep, until: Callable[[], bool]) -> None:
        try:
            self._check.converse(link, endpoint, until)
        except TransportFault as fault:
            if CheckStep.ACCEPTED in self._walk.undecided:
                step = self._refused_at(fault) or step
            self._note_running(link, endpoint)
            self._check.pass_up_to(step)
            self._check.fail(step, fault)
        except RemoteProtocolError as fault:
            if fault.kind == "nothing_granted":
                self._evidence.note(None, offered=told_mask(self._check.mask_in(link, Kind.CAPABILITY)))
                # Capability and answer may have come together.
                step = CheckStep.SUBSCRIPTION
            self._check.pass_up_to(step)
            self._check.broken(step, fault)
        self._check.pass_up_to(step, at_ns=min(link.heard.values(), default=None))
