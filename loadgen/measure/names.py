"""The names of a result's figures, each with what it means. docs/metrics.md is held against this table by a test."""

from __future__ import annotations

# As nmsp.services has them, with _ for -: where a run's MSEs subscribe to more than one, each has figures of its own.
SUBSERVICES = (
    *("rssi_ms", "rssi_rfid", "rssi_rogue", "rssi_interferer", "rssi_hs", "rssi_ms_associated_only"),
    *("spectrum_interferer", "spectrum_air_quality", "spectrum_aggregate_interferer"),
    *("info_ms", "info_rfid", "info_rogue", "info_hs", "stats_ms", "stats_rfid", "stats_rogue"),
    *("attach", "location", "fmchs", "ap_monitor", "wips", "on_demand", "ap_info"),
)
# As scenario.requests has them.
REQUESTS = (
    *("capability", "subscribe", "subscribe_groups", "unsubscribe"),
    *("measurement", "information", "statistics", "on_demand", "wips_config"),
)
METRICS = {
    "handshake.tcp": "first SYN to TCP connected, at the MSE",
    "handshake.tls": "TCP connected to TLS done, of those let in, at the MSE (at the WLC when only that side is ours)",
    "handshake.tls_resumed": "TCP connected to TLS done, of handshakes that resumed an earlier TLS session",
    "handshake.session": "first SYN to subscription answered (from accept, when only the WLC is ours)",
    "handshake.latency": "due until TLS done, of handshakes at a rate, and of sessions",
    "handshake.lag": "due until dialed, of handshakes at a rate, and of sessions",
    "handshake.service": "dialed to TLS done, of handshake load",
    "notify.latency": "due until received",
    "notify.service": "handed to TLS to received",
    "notify.age": "received - the time that a device which is not ours put into it, by its clock",
    "notify.gap": "received after the one before it in its session, where WLCs are not ours or no due time is known",
    "notify.lag": "due until handed to TLS",
    "echo.latency": "echo request due until its response",
    "echo.service": "echo request sent until its response",
    "echo.lag": "echo request due until sent, answered or not",
    "generator.lag": "the lag of those sends, requests or handshakes that the peer did not hold up",
    "generator.read_lag": "received by the kernel to read by us, of some reads in stages of the load",
    "generator.handshake_lag": "received by the kernel to read by us, all messages of a handshake together, at the MSE",
    "generator.accept_lag": "received by the kernel to read by us, all messages of a handshake together, at the WLC",
    **{f"service.{name}.latency": f"notify.latency, of {name}" for name in SUBSERVICES},
    **{f"request.{name}.latency": f"{name} request due until answered" for name in REQUESTS},
    **{f"request.{name}.service": f"{name} request first sent until answered" for name in REQUESTS},
    **{f"request.{name}.lag": f"{name} request due until first sent" for name in REQUESTS},
}
# What begins by the clock of a WLC and ends by that of an MSE.
BETWEEN_CLOCKS = frozenset(
    {"notify.latency", "notify.service", "notify.age", *(f"service.{name}.latency" for name in SUBSERVICES)}
)
COUNTERS = {
    "sessions.attempted": "dialed, or accepted when only the WLC is ours",
    "sessions.established": "subscription answered",
    "sessions.failed": "ended before the subscription was answered",
    "sessions.withdrawn": "given up by us before that, because the run or their user ended",
    "sessions.closed": "established, and later closed in order",
    "sessions.granted_in_part": "of those established: with less than they had asked for",
    "sessions.left_early": "of those closed: by a peer of somebody else's, before the end of the load",
    "sessions.lost": "established, and later ended by a fault",
    "sessions.orphaned": "of those lost: with the worker of ours that had them",
    "handshakes.due": "due by the schedule",
    "handshakes.attempted": "dialed, or accepted when only the WLC is ours",
    "handshakes.completed": "TLS is up; with TLS 1.3 also: the server sent no alert until it closed",
    "handshakes.resumption_asked": "of those attempted: load.resumed has them resume what their session did before",
    "handshakes.resumption_offered": "of those asked to: the target had given a ticket, or a name, to offer",
    "handshakes.resumed": "of those completed: resumed an earlier TLS session",
    "handshakes.failed": "ended before TLS was up",
    "handshakes.withdrawn": "given up by us before that, because the run ended",
    "handshakes.unfinished": "of those withdrawn: begun by somebody else's MSEs more than 1 s before",
    "handshakes.dropped": "due, but given up: load.concurrency under way for longer than load.backlog",
    "notify.due": "due by the schedule, for every subscriber, and every planned session that is not there",
    "notify.sent": "handed to TLS",
    "notify.sent_bytes": "their bytes, before TLS",
    "notify.writes": "TLS writes that carried them, one or more in each",
    "notify.unacknowledged_bytes": "bytes written, not taken by its TCP when a link went, or the load was over",
    "notify.untaken_bytes": "bytes of them that a peer's TCP had not taken when its link went",
    "notify.unconfirmed": "of those sent: in sessions that we ended, and their peer did not: reset, or silent",
    "notify.unacknowledged_before_bytes": "bytes of them under way when the last of several stages began",
    "notify.received": "decoded at an MSE; duplicates, what was not subscribed to, and opaque ones, too",
    "notify.dropped": "due, but given up: no session, or blocked for too long (load.backlog) or until it unsubscribed",
    "notify.declined": "not due, because their MSE, one of the plan's, had unsubscribed; as many as it would have been",
    "notify.lost": "sent and not received; or missing in a session's sequence",
    "notify.withdrawn": "missing in a session's sequence when we ended it, no longer than others had been that came",
    "notify.unaccounted": "sent, and nobody knows whether received: a worker died",
    "notify.unreported": "received, although nobody reported to have sent it: a worker died",
    "notify.duplicated": "of those received: had come before; in no duration and no rate",
    "notify.reordered": "received after a later one",
    "notify.unplaced": "of those received: nobody knows which of its WLC's schedule it is, nor when it was due",
    "notify.early": "received before the subscription's answer, and not taken",
    "echo.due": "echoes due in sessions that were up",
    "echo.sent": "of those due: requested",
    "echo.dropped": "of those due: given up, because the session was over, or owed for session.dead_interval",
    "echo.received": "of those sent: answered",
    "echo.unanswered": "of those sent: not answered when the session ended, or (DTLS) however often they were sent",
    "echo.withdrawn": "of those sent: not answered when their session ended, less than an echo interval later",
    "echo.answered": "echo responses that we sent",
    "echo.unmatched": "echo responses that nobody asked for",
    **{f"service.{name}.received": f"notify.received, of {name}" for name in SUBSERVICES},
    "requests.due": "due by the schedules",
    "requests.sent": "sent for the first time",
    "requests.dropped": "due, but given up: no session, or held up for longer than load.backlog",
    "requests.answered": "answered, in time or after they were sent again",
    "requests.refused": "of those answered: with another status than OK",
    "requests.in_part": "of those answered: with OK, and without all that was asked for",
    "requests.retransmitted": "sent again, because no answer came",
    "requests.timed_out": "not answered, however often they were sent",
    "requests.abandoned": "not answered when their session ended",
    "requests.withdrawn": "not answered when we ended their session, and still in time",
    "requests.late": "answers to requests that were given up before",
    "requests.duplicated": "second answers to requests that were sent again",
    "requests.unmatched": "responses that nobody asked for",
    "requests.served": "requests that our WLCs answered",
    "requests.repeated": "of those served: the same ones, again",
    "messages.opaque": "messages that came, and that the profile knows as bytes alone",
    "messages.unsupported": "messages with an id that the profile does not know",
    "transmit.dropped.high": "messages for which a link's queue of high priority had no room",
    "transmit.dropped.normal": "messages for which a link's queue of normal priority had no room",
    "transmit.deepest.high": "the most messages that ever waited at one link, of high priority",
    "transmit.deepest.normal": "the most messages that ever waited at one link, of normal priority",
    "messages.retransmitted": "messages of set-up, and echo requests, that we sent again, because no answer came",
    "messages.repeated": "messages of setting a session up, or echoing, that came again or out of turn",
    "datagrams.sent": "datagrams handed to DTLS, of both sides if both are ours; without those of handshakes",
    "datagrams.received": "datagrams received and decrypted",
    "datagrams.dropped": "datagrams that found the receive buffer of a socket of ours full",
    "datagrams.overflowed": "datagrams that were read from our socket, and found their association's queue full",
    "tcp.segments_sent": "TCP segments with data that our sockets sent, as far as they were looked at",
    "tcp.segments_retransmitted": "of those segments: sent again",
    "tcp.segments_spurious": "of those sent again: in vain, the peer says that it had them already (DSACK)",
    "clock.clamped": "durations below 0 or above 1 h, counted as 0 or 1 h: what a peer says of its times cannot be",
    "accept.attempts": "connections that a WLC accepted",
    "accept.success": "of those accepted: TLS is up",
    "accept.fail": "ended before TLS was up, by the client or by a timeout, or they had no version or suite in common",
    "accept.withdrawn": "given up by our own side before that, because the run or the user ended",
    "accept.reject": "the WLC refused the client's certificate",
    "verify.count": "client certificates whose chain and validity a WLC has judged",
    "verify.success": "of those judged: in order",
    "verify.fail": "of those judged: not in order",
    "aaa.request": "clients whose key hash a WLC has asked its auth lists for",
    "aaa.response": "answers that have come",
    "aaa.validation_success": "of those asked for: listed",
    "aaa.validation_fail": "of those asked for: not listed",
    "aaa.found_in_list_1": "listed in the first auth list",
    "aaa.found_in_list_2": "listed in the second, and not before",
    "aaa.found_in_list_3": "listed in the third, and not before",
    "aaa.found_in_list_4": "listed in the fourth, and not before",
    "generator.shortfall": "notifications, requests or handshakes given up although the peer would have taken them",
}
# The phases of errors.<phase>.<kind>.
_MSE_PHASES = ("tcp", "tls", "session", "stream", "close")
_WLC_PHASES = ("accept", "serve")
ERROR_PHASES = (*_MSE_PHASES, *_WLC_PHASES)
# tls.group.<name>: which key-exchange group tunnels agreed on, as OpenSSL names it.
GROUPS = "tls.group."
# Of these the largest of all workers counts, not the sum.
MAXIMA = ("transmit.deepest.high", "transmit.deepest.normal")
# What only the sender or only the receiver sees: left out of a result when that side is not ours, so that nobody takes
# "not measured" for 0.
WLC_COUNTERS = frozenset(
    {
        *("notify.due", "notify.sent", "notify.sent_bytes", "notify.writes", "notify.unacknowledged_bytes"),
        *("notify.untaken_bytes", "notify.unconfirmed", "notify.dropped", "notify.declined", "echo.answered"),
        *("requests.served", "requests.repeated", "handshakes.unfinished"),
        *(name for name in COUNTERS if name.startswith(("accept.", "verify.", "aaa."))),
    }
)
MSE_COUNTERS = frozenset(
    {
        *("notify.received", "notify.lost", "notify.duplicated", "notify.reordered", "echo.unmatched"),
        *("notify.withdrawn", "notify.unplaced"),
        *("echo.due", "echo.sent", "echo.dropped", "echo.received", "echo.unanswered"),
        "echo.withdrawn",
        *("handshakes.resumption_asked", "handshakes.resumption_offered"),
        *("sessions.granted_in_part", "handshakes.due", "handshakes.dropped", "messages.retransmitted", "notify.early"),
        *("requests.due", "requests.sent", "requests.dropped", "requests.answered", "requests.refused"),
        "requests.in_part",
        *("requests.retransmitted", "requests.timed_out", "requests.abandoned"),
        "requests.withdrawn",
        *("requests.late", "requests.duplicated", "requests.unmatched"),
    }
)
# What a side counts that asks for echoes, and what one does that answers: by the profile's dialogue either may.
ECHO_ANSWERED = "echo.answered"
ECHO_ASKED = tuple(name for name in COUNTERS if name.startswith("echo.") and name != ECHO_ANSWERED)
# What cannot be where both sides are ours: WLCs end first, with all that was sent.
MSE_ALONE_COUNTERS = frozenset({"notify.withdrawn"})
# What only shows where both sides are ours.
BOTH_COUNTERS = frozenset({"notify.unaccounted", "notify.unreported"})
# Named in a result only if somebody counted them.
OPTIONAL_PREFIXES = ("service.", "requests.", "transmit.", "notify.unacknowledged_before", "notify.unplaced")
# What each kind of load has counters of; the other kind's are left out.
NOTIFY_PREFIXES = ("sessions.", "notify.", "echo.", "messages.", *OPTIONAL_PREFIXES)
HANDSHAKE_PREFIXES = ("handshakes.",)
# What only one transport has counters of.
TLS_ONLY = frozenset(
    {
        *("notify.unacknowledged_bytes", "notify.untaken_bytes", "notify.unconfirmed"),
        *("tcp.segments_sent", "tcp.segments_retransmitted", "tcp.segments_spurious"),
    }
)
DTLS_ONLY = frozenset(
    {
        *("datagrams.sent", "datagrams.received", "datagrams.dropped", "datagrams.overflowed"),
        *("messages.retransmitted", "messages.repeated", "notify.early"),
    }
)
ONLY_OVER = {"tls": TLS_ONLY, "dtls": DTLS_ONLY}
RATES = {
    "handshake.per_s": "sessions established per second: the pace of all but the first and the last tenth of them",
    "handshake.completed_per_s": "handshakes completed per second, of those due in stages that count",
    "notify.sent_per_s": "notifications sent per second, of those due in stages that count",
    "notify.received_per_s": "notifications received per second, of those due in stages that count",
}
# What things cost us, or the target where `loadgen ab` started it.
COSTS = {
    "notify.bytes": "bytes of one notification, before TLS",
    "notify.cpu_s": "CPU time of our workers, of both sides if both are ours, per notification",
    "handshake.cpu_s": "CPU time of our workers, of both sides if both are ours, per handshake",
    "session.rss_bytes": "memory that a session takes, at one of our sides",
    "target.cpu_s": "CPU time of a target that was started for the run, per notification or handshake",
    "target.rss_bytes": "most memory that it took",
}


def error_phases(*, wlc: bool, mse: bool) -> frozenset[str]:
    """The phases in which a side that is ours can have errors. Args: wlc, mse: which sides are ours."""
    return frozenset((*(_MSE_PHASES if mse else ()), *(_WLC_PHASES if wlc else ())))
