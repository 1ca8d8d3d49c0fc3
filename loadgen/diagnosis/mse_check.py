"""`loadgen check mse`: one WLC waits for an MSE, and goes through its steps."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from datetime import UTC, datetime

from loadgen.diagnosis.carrier import CARRIERS, Transport
from loadgen.diagnosis.contexts import wlc_context
from loadgen.diagnosis.hello import client_hello_untrusted
from loadgen.diagnosis.link import OneLink
from loadgen.diagnosis.listed import judge
from loadgen.diagnosis.settings import NOT_IN_DIALOGUE, Check, CheckSettings, told_kind, told_mask, told_name
from loadgen.diagnosis.signatures import key_told, made_by, told
from loadgen.diagnosis.steps import CheckReport, CheckStep, StepFault
from loadgen.errors import RemoteProtocolError
from loadgen.hosts import endpoint_shown
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.pem import mac_of
from loadgen.nmsp.any_bulk import ring_of
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.ring import Timing
from loadgen.nmsp.services import MOBILE_STATION, mask_of
from loadgen.session.wlc import WlcEndpoint
from loadgen.transport.address import host_and_port
from loadgen.transport.tls import TransportFault
from loadgen.units import NS_PER_MS, NS_PER_S
from loadgen.world.stations import make_stations

_STATIONS, _READINGS = 5, (4, 4)
_STATION_MASK = mask_of(MOBILE_STATION)
# How long nothing may be left in the socket that the MSE's TCP has not taken.
_TAKEN_POLL_S = 0.005


def listen_at(host: str, port: int, transport: Transport = "tls") -> socket.socket:
    """A socket that waits for one MSE.

    Raises:
        InputError: it cannot wait there.
    """
    return CARRIERS[transport].listen_at(host, port)


def check_mse(listener: socket.socket, settings: CheckSettings) -> CheckReport:
    """Play one WLC for the first MSE that comes to `listener`, until all steps are passed or one has failed."""
    return _MseCheck(listener, settings).run()


class _MseCheck:
    def __init__(self, listener: socket.socket, settings: CheckSettings) -> None:
        self._listener = listener
        self._settings = settings
        self._check = Check("wlc", settings)
        self._walk, self._evidence = self._check.walk, self._check.evidence
        host, port = host_and_port(listener.getsockname())
        self._check.peer = "nobody yet"
        self._evidence.note(None, listen=endpoint_shown(host, port), listen_host=host, port=str(port), host=host)

    def run(self) -> CheckReport:
        return self._check.run(self._steps)

    def _steps(self) -> None:
        sock = self._accept()
        settings = self._settings
        check = None if settings.unauthenticated else self._judge
        context = wlc_context(
            settings.identity,
            self._seen,
            check,
            strong=settings.strong,
            old_certificates=settings.old_certificates,
            make=self._check.carrier.contexts,
        )
        link = self._check.carrier.link(settings.observed(context), sock, self._check.events(), server=True)
        try:
            self._shake(link)
            self._talk(link)
        finally:
            link.close()

    def _accept(self) -> socket.socket:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        if not poll.poll(self._settings.timeout_ns // NS_PER_MS):
            waited = f"nobody for {self._settings.timeout_ns / NS_PER_S:g} s"
            raise StepFault(CheckStep.REACHABLE, "timeout", waited)
        carrier = self._check.carrier
        sock, address = carrier.accept(self._listener)
        host, port = host_and_port(address)
        self._check.peer = endpoint_shown(host, port)
        self._evidence.note(None, peer=self._check.peer)
        self._walk.passed(CheckStep.REACHABLE, f"from {host}")
        if carrier.connects:
            self._walk.passed(CheckStep.TCP, f"port {port}")
        else:
            self._walk.not_needed(CheckStep.TCP, f"datagrams, from port {port}")
        return sock

    # -- the tunnel ----------------------------------------------------------------------------------------------

    def _seen(self, certificate: AnyCertificate) -> None:
        self._check.note_certificate("mse", certificate)
        self._evidence.note(None, mac=mac_of(certificate) or "not in its certificate")

    def _judge(self, certificate: AnyCertificate) -> str | None:
        """The auth list's answer: by MAC and key hash, as the AAA user of an IOS-XE controller is."""
        settings = self._settings
        verdict = judge(settings.listed or (), certificate, settings.key_hash, settings.hash_over)
        self._check.note_verdict(verdict, mac_of(certificate))
        return None if verdict.agrees else "key_hash_not_listed"

    def _shake(self, link: OneLink) -> None:
        log = self._check.log
        try:
            link.handshake(self._check.deadline_ns())
        except TransportFault as fault:
            self._check.note_first_bytes(link, expected="peer_is_tls_client")
            self._note_offer(link)
            self._check.note_silence_after_cookie()
            self._check.note_request(link, link.spoken.sent)
            self._evidence.note(None, unfit=told_kind(fault.kind))
            if log.asks and not log.shown:
                self._evidence.note("certificate_unanswered")
            step = log.failing_step(fault.kind)
            self._check.pass_reached(link, step)
            self._check.pass_up_to(step)
            self._check.fail(step, fault)
        peer = self._check.peer_certificate(link)
        tls, asked = log.reached()
        self._walk.passed(CheckStep.TLS, self._check.tls_detail(link), at_ns=tls.at_ns)
        self._walk.passed(CheckStep.ASKED, at_ns=asked.at_ns)
        self._walk.passed(CheckStep.ACCEPTED, told_name(peer) if peer is not None else "")
        if self._settings.unauthenticated:
            self._walk.not_needed(CheckStep.LISTED, "anybody is let in")
        else:
            self._walk.passed(CheckStep.LISTED, self._evidence.facts.get("where", ""))

    def _note_offer(self, link: OneLink) -> None:
        """Whether what the MSE offers and what we want can go together at all."""
        hello = client_hello_untrusted(link.first_bytes)
        if hello is None:
            return
        offer = f"{hello.newest} at most, {len(hello.suites)} suites"
        self._evidence.note(None, offer=offer, their_strength=f"{'on' if hello.strong else 'off'} ({offer})")
        if self._settings.strong and not hello.strong:
            self._evidence.note("offers_weak_only")
        if not self._settings.strong and not hello.weak:
            self._evidence.note("offers_strong_only")
        key_pem, takes = self._settings.identity.key_pem, hello.signatures
        self._evidence.note(None, their_signatures=told(takes) or "(not told)", our_key=key_told(key_pem))
        if takes and not made_by(key_pem, takes):
            self._evidence.note("takes_other_signatures")

    # -- the conversation ----------------------------------------------------------------------------------------

    def _talk(self, link: OneLink) -> None:
        endpoint = self._check.carrier.wlc(self._check.endpoint_settings(), self._settings.clock())
        self._check.start(endpoint)
        self._evidence.note(None, offered=told_mask(self._settings.mask))
        dialogue = endpoint.dialogue
        if dialogue.has(Kind.CAPABILITY):
            self._open_up_to(link, endpoint, CheckStep.CAPABILITY, lambda: Kind.CAPABILITY in endpoint.said)
            agreed = "version agreed, " if dialogue.has(Kind.VERSION_RESPONSE) else ""
            at_ns = max(link.heard.values(), default=None)
            self._walk.passed(CheckStep.CAPABILITY, f"{agreed}capability sent", at_ns=at_ns)
        self._check.pass_up_to(CheckStep.SUBSCRIPTION)
        self._open_up_to(link, endpoint, CheckStep.SUBSCRIPTION, lambda: endpoint.active or endpoint.refused)
        asked = self._check.mask_in(link, Kind.SUBSCRIBE_REQUEST)
        self._evidence.note(None, asked=told_mask(asked))
        if not endpoint.granted:
            detail = f"it asked for {told_mask(asked)}"
            raise StepFault(CheckStep.SUBSCRIPTION, "nothing_granted", detail)
        self._walk.passed(CheckStep.SUBSCRIPTION, f"granted: {told_mask(endpoint.granted)}")
        self._notify(link, endpoint)
        if dialogue.askers:
            self._until(link, endpoint, CheckStep.ECHO, lambda: self._check.echoed(link, endpoint))
            self._walk.passed(CheckStep.ECHO, "asked and answered", at_ns=link.heard.get(Kind.ECHO_REQUEST))
        else:
            self._walk.not_needed(CheckStep.ECHO, NOT_IN_DIALOGUE)
        self._check.leave(link, endpoint)

    def _open_up_to(self, link: OneLink, endpoint: WlcEndpoint, step: CheckStep, until: Callable[[], bool]) -> None:
        """Go on with the opening until something is so."""
        self._until(link, endpoint, step, lambda: until() or endpoint.refuses_version)
        if endpoint.refuses_version:
            raise StepFault(step, "version_refused", "it speaks none of our versions")

    def _notify(self, link: OneLink, endpoint: WlcEndpoint) -> None:
        """Send one notification. Nobody confirms those; that the MSE's TCP took it is as much as can be known."""
        if not endpoint.granted & _STATION_MASK:
            self._walk.not_needed(CheckStep.NOTIFICATION, "no measurements of mobile stations were asked for")
            return
        stations = make_stations(self._settings.profile, 1, 0, _STATIONS, _READINGS, endpoint.granted)
        now_ns = int(datetime.now(UTC).timestamp() * NS_PER_S)
        frames, _ = ring_of(self._settings.profile, stations).patch(0, 1, 0, Timing(now_ns, now_ns))
        deadline = self._check.deadline_ns()
        try:
            link.send(frames, deadline)
            while link.tunnel.unacknowledged_bytes():
                if self._settings.clock() >= deadline:
                    raise TransportFault("timeout")
                self._settings.sleep(_TAKEN_POLL_S)
        except TransportFault as fault:
            self._check.fail(CheckStep.NOTIFICATION, fault)
        self._walk.passed(CheckStep.NOTIFICATION, self._check.carrier.taken)

    def _until(self, link: OneLink, endpoint: WlcEndpoint, step: CheckStep, until: Callable[[], bool]) -> None:
        try:
            self._check.converse(link, endpoint, until)
        except TransportFault as fault:
            # TLS 1.3: the MSE judges our certificate, and may say so, after our side of the handshake is over. But
            # those steps are decided by then, so it is told where the walk stands.
            self._check.fail(step, fault)
        except RemoteProtocolError as fault:
            self._check.broken(step, fault)
