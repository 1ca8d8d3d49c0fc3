"""Which message is which, by who says it, when, how regularly, and who answers.

Bodies are not known yet: what a session begins with, and what comes back like a clock, tells the messages of a session;
most of what is left is measurements. `by_bodies` then tells some of the others by what is in them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadgen.infer.header import HeaderFound
from loadgen.infer.heads import Heads, Int64s

__all__ = ["Named", "by_bodies", "name_messages"]

# An answer comes soon.
_SOON_NS = 3_000_000_000
# Of requests, this share is answered by one kind of message; and of those, by few others.
_ANSWERED = 0.75
# An opening has no more frames than this, and is the same in most sessions.
_OPENING = 12
# Echoes are due as a clock is: how much their gaps vary, and what they may be.
_REGULAR = 0.12
_ECHO_NS = (2_000_000_000, 130_000_000_000)
_USUAL_ECHO_NS = 15_000_000_000
_ECHO_BYTES = 32
_FEW = 3


@dataclass(slots=True)
class Named:
    """names: of each of the header's ids. masks: offered in a capability. dialogue: (sender, name) of a beginning.
    answers: by the number of a request's kind among the ids, that of its response's."""

    names: list[str]
    masks: frozenset[int] = frozenset()
    dialogue: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)


def name_messages(heads: Heads, header: HeaderFound, trailer: int) -> Named:
    """Names of NMSP's where they are clear, else "wlc_0x12"."""
    talk = _Talk(heads, header, header.size + trailer)
    named: dict[int, str] = {}
    answers = talk.answers()
    echo = talk.echo(answers)
    if echo is not None:
        named[echo], named[answers[echo]] = "echo_request", "echo_response"
    opening = [kind for kind in talk.opening() if kind not in named]
    named |= _of_opening(opening, answers, talk)
    measured = talk.most_said(named.keys() | answers.keys() | set(answers.values()))
    if measured is not None:
        named[measured] = "measurement_notify"
    names = [named.get(number, f"{talk.side(number)}_{id_:#x}") for number, (_, id_) in enumerate(header.ids)]
    dialogue = [(talk.side(kind), names[kind]) for kind in opening if kind in named and kind != measured]
    return Named(names, dialogue=dialogue, answers=answers)


class _Talk:
    """Who says what, and when."""

    def __init__(self, heads: Heads, header: HeaderFound, around: int) -> None:
        self._heads, self._header, self._around = heads, header, around
        self._sessions = [*heads.dialogues()]
        self._counts = np.bincount(header.kind, minlength=len(header.ids))
        self._numbers: Int64s | None = None
        if (known := header.transaction) is not None:
            self._numbers = heads.number(known["at"], known["size"], known.get("order") or header.order)

    def side(self, kind: int) -> str:
        return "mse" if self._header.ids[kind][0] else "wlc"

    def answers(self) -> dict[int, int]:
        """By the kind of a request, that of its response."""
        waits: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for rows in self._sessions:
            self._wait(rows.tolist(), waits)
        likely = []
        first = set(self.opening()[:1]) if self._numbers is None else set[int]()
        for (one, other), taken_ns in waits.items():
            # One of a few may be lost.
            share = (len(taken_ns) + 1) / (max(self._counts[one], self._counts[other]) + 1)
            if share >= _ANSWERED:
                # Without transactions all that alternates looks asked and answered: what a session begins with is a
                # question, and behind that the MSE asks.
                told = self._numbers is not None or one in first or self._header.ids[one][0]
                likely.append((-round(share, 1), one not in first, not told, float(np.median(taken_ns)), one, other))
        found: dict[int, int] = {}
        taken: set[int] = set()
        for *_, one, other in sorted(likely):
            if one not in taken and other not in taken:
                found[one] = other
                taken |= {one, other}
        return found

    def _wait(self, rows: Sequence[int], waits: dict[tuple[int, int], list[int]]) -> None:
        """For each two kinds of both sides: how long the second one came behind the first, where it came soon, with the
        same transaction, and before the first came again."""
        heads, kind = self._heads, self._header.kind
        last: dict[int, int] = {}
        for row in rows:
            here = int(kind[row])
            for before, at in [*last.items()]:
                waited = int(heads.ns[row] - heads.ns[at])
                if waited > _SOON_NS:
                    del last[before]
                elif self._counts[here] * _ANSWERED > self._counts[before]:
                    continue  # there are too many to be its answers: notifications go on meanwhile
                elif heads.of_client[at] != heads.of_client[row] and self._alike(at, row):
                    waits[before, here].append(waited)
                    del last[before]
            last[here] = row

    def _alike(self, one: int, other: int) -> bool:
        """Whether a transaction does not speak against it."""
        return self._numbers is None or bool(self._numbers[one] == self._numbers[other])

    def echo(self, answers: Mapping[int, int]) -> int | None:
        """The request that comes back most regularly, and says next to nothing."""
        found: list[tuple[float, int]] = []
        for one, other in answers.items():
            sizes = self._heads.size[np.isin(self._header.kind, (one, other))]
            if int(sizes.max()) - self._around > _ECHO_BYTES:
                continue
            gaps = self._gaps(one)
            if len(gaps) < _FEW:
                continue
            middle = float(np.median(gaps))
            spread = float(np.median(np.abs(gaps - middle))) / max(middle, 1.0)
            if _ECHO_NS[0] <= middle <= _ECHO_NS[1] and spread <= _REGULAR:
                found.append((spread + abs(np.log(middle / _USUAL_ECHO_NS)) * 0.02, one))
        return min(found)[1] if found else None

    def _gaps(self, kind: int) -> Int64s:
        parts = [np.diff(self._heads.ns[rows[self._header.kind[rows] == kind]]) for rows in self._sessions]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def opening(self) -> list[int]:
        """The kinds that most sessions begin with, each once, in their order."""
        begun = [rows for rows in self._sessions if self._is_whole(rows)]
        if not begun:
            return []
        firsts = [[*dict.fromkeys(self._header.kind[rows[:_OPENING]].tolist())] for rows in begun]
        often = Counter(kind for kinds in firsts for kind in kinds)
        places = {kind: np.median([kinds.index(kind) for kinds in firsts if kind in kinds]) for kind in often}
        common = [kind for kind, times in often.items() if times * 2 > len(begun)]
        return sorted(common, key=lambda kind: (places[kind], -often[kind]))

    def _is_whole(self, rows: Int64s) -> bool:
        """Whether the session's first bytes of both sides are there."""
        firsts = {bool(self._heads.of_client[row]): int(row) for row in rows[::-1].tolist()}
        return all(self._heads.frames[row].offset == 0 for row in firsts.values())

    def times_in_session(self, kind: int) -> float:
        """How often it is said in a session, in the mean of those in which it is."""
        sessions = len(np.unique(self._heads.session[self._header.kind == kind]))
        return float(self._counts[kind]) / max(sessions, 1)

    def most_said(self, others: set[int]) -> int | None:
        """What the WLC says most of, in bytes and in frames, without being asked."""
        left = [kind for kind, (of_client, _) in enumerate(self._header.ids) if not of_client and kind not in others]
        said = {kind: float(self._heads.size[self._header.kind == kind].sum()) for kind in left}
        left = [kind for kind in left if self._counts[kind] >= _FEW]
        return max(left, key=lambda kind: (self._counts[kind] * said[kind] ** 0.5, kind), default=None)


def _of_opening(opening: Sequence[int], answers: Mapping[int, int], talk: _Talk) -> dict[int, str]:
    """First versions, then services, then what is subscribed to."""
    named: dict[int, str] = {}
    responses = {other: one for one, other in answers.items()}
    asked = [kind for kind in opening if kind in answers and answers[kind] in opening]
    if asked and talk.times_in_session(asked[0]) < 2:
        named[asked[0]], named[answers[asked[0]]] = "version_request", "version_response"
        asked = asked[1:]
    of_mse = [kind for kind in asked if talk.side(kind) == "mse"]
    told = [
        kind
        for kind in opening
        if talk.side(kind) == "wlc"
        and kind not in answers
        and kind not in responses
        and talk.times_in_session(kind) < 2
    ]
    if told:
        named[told[0]] = "capability"
    elif len(of_mse) > 1:
        named[of_mse[0]], named[answers[of_mse[0]]] = "capability_request", "capability"
        of_mse = of_mse[1:]
    if of_mse:
        named[of_mse[0]], named[answers[of_mse[0]]] = "subscribe_request", "subscribe_response"
    return named


def by_bodies(named: Named, nodes: Sequence[Mapping[str, Any]], of_client: Sequence[bool]) -> list[str]:
    """The names again, with those that what is in a body tells: who a station is, and how much it has sent."""
    names = [*named.names]
    responses = {other: one for one, other in named.answers.items()}
    taken = set(names)
    for number, node in enumerate(nodes):
        if not names[number].startswith("wlc_0x") or of_client[number]:
            continue
        roles = Counter(_roles(node))
        if not roles["mac"]:
            continue
        if roles["counter"] + roles["number"] >= _FEW and roles["counter"] >= 2:
            what, asked = "client_statistics", "statistics_request"
        elif roles["text"] or roles["ipv4"]:
            what, asked = "client_info", "information_request"
        else:
            continue
        kind = "response" if number in responses else "notify"
        if f"{what}_{kind}" in taken:
            continue
        names[number] = f"{what}_{kind}"
        taken.add(names[number])
        if number in responses:
            names[responses[number]] = asked
    return names


def _roles(node: Mapping[str, Any]) -> Iterator[str]:
    for each in node.get("fields", ()):
        yield each["role"]
    for repeat in node.get("repeats", ()):
        yield from _roles(repeat["record"])
    for kind in (node.get("elements") or {}).get("known", ()):
        yield from _roles(kind["value"])
