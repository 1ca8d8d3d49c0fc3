"""An answer in the names and the structure of the public data model, Cisco-IOS-XE-wireless-nmsp-oper.

Source: that YANG module (rev 4.2.0): `cmx-connection`, `statistics`, `client-registration`. Encoded as a controller's
RESTCONF does: 64-bit numbers are text, a leaf of type empty is [null]. `document` is everything that we know; what the
model has no place for is in a container of ours, `loadgen`. `instance` is what a controller would answer, and valid.
"""

from __future__ import annotations

from typing import Any

from loadgen.nmsp.services import BY_LABEL, labels_of
from loadgen.status.answer import Answer, PeerRow, Side

MODULE = "Cisco-IOS-XE-wireless-nmsp-oper"
# The model's global statistics. A leaf that no worker counts is left out of every answer.
STATISTICS: dict[str, tuple[str, ...]] = {
    "ssl-stats": (
        *("verify-count", "verify-fail", "verify-success", "connection-created", "connection-closed"),
        *("accept-attempts", "accept-fail", "accept-reject", "accept-success", "accept-register-fail"),
    ),
    "aaa-stats": (
        *("aaa-request", "aaa-send-fail", "aaa-send-success", "aaa-response"),
        *("aaa-validation-total", "aaa-validation-fail", "aaa-validation-success"),
    ),
    "srv-stats": ("srv-restarts",),
}
# enm-nmsp-transport-type; its odd names are the model's. It has none for DTLS.
_TRANSPORTS = {"TLS": "default-class-type2", "HTTPS": "manual-changed-class-type1"}
_SCHEMA_VERSION = 1


def document(answer: Answer) -> dict[str, Any]:
    """An answer, ready to be printed as JSON."""
    run = answer.run
    return {
        "schema_version": _SCHEMA_VERSION,
        "run": {name: getattr(run, name) for name in run.__struct_fields__},
        "sides": [_side(side) for side in answer.sides],
    }


def instance(side: Side) -> dict[str, Any]:
    """Our WLCs as one controller: data of the model and nothing else. Its key lets there be one row for an address.

    Args:
        side: with one row for each address.
    """
    connections = []
    for row in side.rows:
        connection = _connection(row, side.transport)
        del connection["loadgen"]
        if side.transport not in _TRANSPORTS:
            del connection["transport"]
        connections.append(connection)
    return {f"{MODULE}:nmsp-oper-data": _container(side, connections)}


def _side(side: Side) -> dict[str, Any]:
    return {
        "role": side.role,
        "endpoints": side.endpoints,
        "peers": side.counts.peers,
        "active": side.counts.active,
        "matching": side.counts.matching,
        "missing": list(side.missing),
        f"{MODULE}:nmsp-oper-data": _container(side, [_connection(row, side.transport) for row in side.rows]),
    }


def _container(side: Side, connections: list[dict[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "cmx-connection": connections,
        "statistics": {
            container: {leaf: str(side.counts.statistics[leaf]) for leaf in leaves if leaf in side.counts.statistics}
            for container, leaves in STATISTICS.items()
            if not side.counts.statistics.keys().isdisjoint(leaves)
        },
    }
    if side.capability:
        data = {"client-registration": [{"client-id": 0, "services": _services(side.capability)}], **data}
    return data


def _connection(row: PeerRow, transport: str) -> dict[str, Any]:
    return {
        "peer-ip": row.address,
        "connection-id": str(row.connection_id),
        "active": row.active,
        "transport": _TRANSPORTS.get(transport, transport),
        "subscriptions": _services(row.granted),
        "con-stats": {
            "tx-msg-counter": _counters(row.sent),
            "rx-msg-counter": _counters(row.heard),
            "unsupported-msg-count": str(row.unsupported),
            "tx-data-frames": str(row.data_sent),
            "rx-data-frames": str(row.data_heard),
            "connections": str(row.connections),
            "disconnections": str(row.disconnections),
        },
        "loadgen": {
            "endpoint": row.owner,
            "endpoint-mac": row.owner_mac,
            "peer-port": row.port,
            "phase": row.phase,
            "tx-echo": str(row.echo_sent),
            "rx-echo": str(row.echo_heard),
            "capability-mask": str(row.offered),
        },
    }


def _services(mask: int) -> dict[str, Any]:
    return {"mask": str(mask)} | {label: [None] for label in labels_of(mask) if label in BY_LABEL}


def _counters(counts: dict[int, int]) -> list[dict[str, Any]]:
    return [{"msg-id": number, "counter": str(counts[number])} for number in sorted(counts)]
