"""What a run answers to `loadgen status`, as text: what a controller prints, and what is ours beside it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence

import msgspec

from loadgen.nmsp.services import labels_of
from loadgen.status.answer import Answer, PeerRow, RunInfo, Side
from loadgen.status.model import STATISTICS

_NAMES = {"wlc": "WLC", "mse": "MSE"}
_USES = {
    "both": "both fleets",
    "target-wlc": "our MSEs, at somebody else's WLCs",
    "serve-wlc": "our WLCs, for somebody else's MSEs",
    "serve-mse": "our MSEs, at the scenario's WLCs",
}
# The columns of `show nmsp status`, as a controller has them; an MSE asks where a controller answers.
_COLUMNS = {
    "wlc": (
        *("DNA Spaces/CMX IP Address", "Active", "Tx Echo Resp", "Rx Echo Req", "Tx Data", "Rx Data", "Transport"),
    ),
    "mse": ("WLC IP Address", "Active", "Tx Echo Req", "Rx Echo Resp", "Tx Data", "Rx Data", "Transport"),
}
_WIDTHS = (41, 10, 14, 14, 12, 12, 11)
_OUR_WIDTH = 8

View = Callable[[Side], list[str]]


def overview(answer: Answer) -> str:
    """A row for each peer, as `show nmsp status` prints it; at the end of the line its port and our end."""
    return _by_side(answer, _status)


def plain(side: Side) -> str:
    """Our WLCs' peers as one controller prints them: its columns alone, for those who parse them.

    Args:
        side: with one row for each address.
    """
    rows = [msgspec.structs.replace(row, address=_in_full(row.address)) for row in side.rows]
    return "\n".join(line.rstrip() for line in _table(side, rows))


def capability(answer: Answer) -> str:
    """Who offers what: our WLCs, or our MSEs' peers."""

    def of(side: Side) -> list[str]:
        lines = []
        if side.capability:
            lines.append(f"each of our {_count(side.endpoints, 'WLC')} offers {_mask(side.capability)}")
        else:
            lines += _by_mask(side.counts.offered, "offered by", "no active WLC has told what it offers")
        return lines

    return _by_side(answer, of, rows=False)


def subscription(answer: Answer) -> str:
    """Who has subscribed to what."""

    def of(side: Side) -> list[str]:
        verb = "subscribed by" if side.role == "wlc" else "granted by"
        lines = _by_mask(side.counts.granted, verb, "nobody subscribed")
        width = _address_width(side.rows)
        for row in side.rows:
            names = ", ".join(labels_of(row.granted)) or "-"
            lines.append(f"{row.address:<{width}}{row.port:<8}{_NAMES[side.role]} {row.owner:<8}{names}")
        return lines

    return _by_side(answer, of)


def statistics(answer: Answer) -> str:
    """The counters of the public data model: of each peer, and of the side."""

    def of(side: Side) -> list[str]:
        lines: list[str] = []
        for row in side.rows:
            lines += [*_connection(row, side), ""]
        counts = side.counts.statistics
        for container, leaves in STATISTICS.items():
            lines.append(container)
            lines += [f"  {leaf:<26}{counts[leaf]}" for leaf in leaves if leaf in counts]
            if missing := [leaf for leaf in leaves if leaf not in counts]:
                lines.append(f"  not counted: {', '.join(missing)}")
        return lines

    return _by_side(answer, of)


def listing(runs: Sequence[RunInfo], silent: Iterable[str] = ()) -> str:
    """All runs that are going on, a line each. Args: silent: doors of those that did not answer."""
    width = max((len(run.scenario) for run in runs), default=0)
    lines = [f"{run.pid:>8}  {run.scenario:<{width}}  {_where(run)}" for run in runs]
    lines += [f"{door.removesuffix('.sock'):>8}  does not answer" for door in silent]
    return "\n".join(lines)


def _by_side(answer: Answer, view: View, *, rows: bool = True) -> str:
    run = answer.run
    lines = [f"{run.scenario} (pid {run.pid}): {_where(run)}"]
    for side in answer.sides:
        counts, name = side.counts, _NAMES[side.role]
        peers = f"{counts.active:,} of {_count(counts.peers, 'peer')} active"
        lines += ["", f"{_count(side.endpoints, name)} of ours: {peers}"]
        lines += [f"  missing: {why}" for why in side.missing]
        if run.kind == "handshake":
            lines.append("  handshakes only: nobody has a session")
        lines += view(side)
        if rows and len(side.rows) < counts.matching:
            lines.append(f"... {counts.matching - len(side.rows):,} more: --all, --limit N or --peer ADDRESS")
        elif rows and counts.matching < counts.peers and not side.rows:
            lines.append("no such peer")
    return "\n".join(line.rstrip() for line in lines)


def _where(run: RunInfo) -> str:
    stage = run.stage
    if run.load_stage:
        stage = f"{run.stage} · {run.load_stage}, {run.elapsed_s:.1f} of {run.total_s:.1f} s"
    return f"{_USES.get(run.use, run.use)}, {stage}"


def _status(side: Side) -> list[str]:
    if not side.rows:
        return []
    ours = [("Port", _NAMES[side.role]), *((str(row.port), str(row.owner)) for row in side.rows)]
    return _table(side, side.rows, ours)


def _table(side: Side, rows: Sequence[PeerRow], more: Sequence[tuple[str, ...]] = ()) -> list[str]:
    """A line for each row, below the columns' heads. Args: more: what is ours, of the heads and of each row."""
    table: list[tuple[str, ...]] = [_COLUMNS[side.role]]
    table += [
        (
            *(row.address, "Active" if row.active else "Inactive", str(row.echo_sent), str(row.echo_heard)),
            *(str(row.data_sent), str(row.data_heard), side.transport),
        )
        for row in rows
    ]
    if more:
        table = [(*cells, *others) for cells, others in zip(table, more, strict=True)]
    widths = [max(_WIDTHS[0], _address_width(rows)), *_WIDTHS[1:]]
    widths += [_OUR_WIDTH] * (len(table[0]) - len(widths))
    lines = ["".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)) for cells in table]
    return [lines[0], "-" * sum(widths), *lines[1:]]


def _in_full(address: str) -> str:
    """An IPv6 address without "::" at an end, and without a zone: genie's parser (26.9) passes over such lines."""
    address = address.partition("%")[0]
    if not address.startswith("::") and not address.endswith("::"):
        return address
    return ":".join(group.lstrip("0") or "0" for group in ipaddress.IPv6Address(address).exploded.split(":"))


def _connection(row: PeerRow, side: Side) -> list[str]:
    def counted(counts: dict[int, int]) -> str:
        return ", ".join(f"{side.messages.get(n, '?')} ({n}) {counts[n]}" for n in sorted(counts)) or "-"

    return [
        f"{row.address} port {row.port}, {_NAMES[side.role]} {row.owner} ({row.owner_mac}): {row.phase}",
        f"  connection-id             {row.connection_id}",
        f"  connections               {row.connections}",
        f"  disconnections            {row.disconnections}",
        f"  tx-msg-counter            {counted(row.sent)}",
        f"  rx-msg-counter            {counted(row.heard)}",
        f"  unsupported-msg-count     {row.unsupported}",
        f"  tx-data-frames            {row.data_sent}",
        f"  rx-data-frames            {row.data_heard}",
    ]


def _by_mask(masks: dict[int, int], verb: str, nobody: str) -> list[str]:
    ordered = sorted(masks.items(), key=lambda item: (-item[1], item[0]))
    return [f"{verb} {_count(count, 'peer')}: {_mask(mask)}" for mask, count in ordered] or [nobody]


def _mask(mask: int) -> str:
    return f"{mask:#x} = {', '.join(labels_of(mask)) or 'nothing'}"


def _address_width(rows: Sequence[PeerRow]) -> int:
    return max((len(row.address) for row in rows), default=0) + 2


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
