"""A layout ("layout-1") as a wire profile, and by name what of it such a profile cannot say.

A profile knows NMSP's messages and their fields by name; a layout has roles. A field is taken by its name or another
name for it, else by its role where that says what it is (`naming.OWN_ROLES`), else, where a message is nothing without
it, the next integer is: such guesses are told apart. A message that cannot be said in fields is one of bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from loadgen.infer.layout_document import LayoutDocument, LayoutField, LayoutMessage, Order, place_of
from loadgen.infer.to_profile_bodies import Bodies, Unsayable, own_order, why
from loadgen.nmsp.catalogue import CATALOGUE, class_of
from loadgen.nmsp.checksum import CHECKSUM_TYPES
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile_document import CLASSES, SIDES

__all__ = ["MadeProfile", "profile_of"]

Table = dict[str, Any]
_KINDS = {kind.label: kind for kind in CATALOGUE}
_CODES = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_WITHOUT = "nothing of it is sent, and what comes there is not looked at"
# As a session asks that is set up by NMSP's own echoes.
_ECHO_EVERY = "15s"
# The order of an opening, and who says what as a rule.
_OPENING = (
    ("version_request", "mse"),
    ("version_response", "wlc"),
    ("capability", "wlc"),
    ("subscribe_request", "mse"),
    ("subscribe_response", "wlc"),
)


@dataclass(slots=True)
class MadeProfile:
    """A profile as tables, as `profile_untrusted` takes it.

    Attributes:
        unsaid: place in the layout and why, of what the profile does not have.
        guesses: place in the profile and what was guessed. notes: the same of why a field is what it is.
        missing: without what there is no profile: then `table` is refused.
    """

    table: Table
    unsaid: list[str] = field(default_factory=list)
    guesses: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def profile_of(layout: LayoutDocument, opening: Sequence[tuple[str, str]] | None = None) -> MadeProfile:
    """Args: opening: messages in the order of a session's beginning, each with who says it; None: as they are from."""
    layout = _told_apart(layout)
    made = MadeProfile({"name": layout.name or "found", "byte_order": layout.byte_order})
    _framing(layout, made)
    bodies = Bodies(layout, made.unsaid, made.guesses, made.notes)
    messages: Table = {}
    opaque: Table = {}
    taken: set[tuple[str, int]] = set()
    for message in layout.messages:
        where = f"messages.{message.name}"
        words = _words(message)
        if words & taken:
            (made.missing if message.name in _KINDS else made.unsaid).append(
                f"{where}: its id is another message's too"
            )
            continue
        taken |= words
        if message.name in _KINDS:
            try:
                messages[message.name] = {"id": message.id, **bodies.message(message)}
                continue
            except Unsayable as error:
                made.unsaid.append(f"{where}: {error}; as bytes")
        opaque[_opaque_name(message.name)] = _opaque(message, layout.byte_order)
    _pair(layout, made, messages, opaque)
    made.table["messages"] = messages
    if records := _used(messages, bodies.records):
        made.table["records"] = records
    if opaque:
        made.table["opaque"] = opaque
    _constants(layout, made)
    _dialogue(layout, made, opening)
    return made


def _told_apart(layout: LayoutDocument) -> LayoutDocument:
    """Where the id does not tell two messages apart that a profile has to, and another field of the header that follows
    from the message does, that is the type, and the id the subtype.
    """
    header = layout.header
    ids = [each for each in header.fields if each.role == "msg_id"]
    words = [word for message in layout.messages for word in _words(message)]
    if len(ids) != 1 or ids[0].size not in (1, 2) or len(set(words)) == len(words):
        return layout
    for each in header.fields:
        own = [message.header.get(each.name) for message in layout.messages]
        if each.role != "enum" or each.size not in (1, 2) or None in own:
            continue
        messages = tuple(
            msgspec.structs.replace(
                message,
                id=(message.header[each.name] << 8 * int(str(ids[0].size))) + message.id,
                header={name: value for name, value in message.header.items() if name != each.name},
            )
            for message in layout.messages
        )
        words = [word for message in messages for word in _words(message)]
        if len(set(words)) == len(words):
            others = [other for other in header.fields if other is not each and other is not ids[0]]
            fields = (msgspec.structs.replace(each, role="msg_id"), ids[0], *others)
            return msgspec.structs.replace(
                layout, header=msgspec.structs.replace(header, fields=fields), messages=messages
            )
    return layout


def _words(message: LayoutMessage) -> set[tuple[str, int]]:
    """Sides and ids that no other message may have: who says it; of a measurement, whoever says it."""
    both = message.sender is None or message.name == Kind.MEASUREMENT_NOTIFY.label
    return {(side, message.id) for side in SIDES if both or side == message.sender}


def _pair(layout: LayoutDocument, made: MadeProfile, messages: Table, opaque: Table) -> None:
    """A request whose response is one of bytes is one of bytes, too, and the other way round."""
    found = {message.name: message for message in layout.messages if message.name in _KINDS}

    def as_bytes(name: str, other: str) -> None:
        del messages[name]
        opaque[_opaque_name(name)] = _opaque(found[name], layout.byte_order)
        made.unsaid.append(f"messages.{name}: nothing without {other}, which is said as bytes; as bytes")

    responses = [name for name in found if _KINDS[name] in CATALOGUE and CATALOGUE[_KINDS[name]].answers]
    requests: dict[str, list[str]] = {}
    for name in responses:
        for kind in CATALOGUE[_KINDS[name]].answers:
            if kind.label in found:
                requests.setdefault(kind.label, []).append(name)
    for request, answers in requests.items():
        if request in messages and not any(each in messages for each in answers):
            as_bytes(request, answers[0])
    for name in responses:
        asked = [kind.label for kind in CATALOGUE[_KINDS[name]].answers if kind.label in found]
        if name in messages and name != "capability" and asked and not any(each in messages for each in asked):
            as_bytes(name, asked[0])
    for request, answers in requests.items():
        table = opaque.get(_opaque_name(request))
        said = [opaque[_opaque_name(each)] for each in answers if _opaque_name(each) in opaque and each != "capability"]
        if table is not None and said and {table["sender"], said[0]["sender"]} == {*SIDES}:
            said[0]["answers"] = _opaque_name(request)
            if request == "echo_request":
                table["every"] = _ECHO_EVERY
                made.guesses[f"opaque.{_opaque_name(request)}.every"] = "as often as a side asks that is ours"


def _used(messages: Table, records: Table) -> Table:
    """Those records that messages in fields repeat, and records of those."""
    used: Table = {}
    left = [each["repeat"]["record"] for each in messages.values() if "repeat" in each]
    while left:
        name = left.pop()
        if name not in used:
            used[name] = records[name]
            left += [records[name]["repeat"]["record"]] if "repeat" in records[name] else []
    return {name: table for name, table in records.items() if name in used}


def _opaque_name(name: str) -> str:
    return f"{name}_as_bytes" if name in _KINDS else name


def _opaque(message: LayoutMessage, order: Order) -> Table:
    node = message.body
    size = max([node.size, *(sum(place_of(each)) for each in node.fields if _is_placed(each))])
    varies = bool(
        node.repeats
        or node.elements
        or node.rest not in (None, "padding")
        or any(not isinstance(f.size, int) for f in node.fields)
    )
    table: Table = {"id": message.id, "sender": message.sender or "either", "hex": message.sample or "00" * size}
    if varies:
        table["varies"] = True
    if fields := _said_anew(message, order, len(table["hex"]) // 2):
        table["fields"] = fields
    return table


def _said_anew(message: LayoutMessage, order: Order, size: int) -> list[Table]:
    """What is filled in each time: the time; and the one address of a message of the opening, which is its sender's."""
    placed = [each for each in message.body.fields if _is_placed(each) and sum(place_of(each)) <= size]
    rows: list[Table] = []
    for each in placed:
        at, width = place_of(each)
        fits = each.unit is not None and width in ((8,) if "+" in each.unit else (4, 8))
        if each.role == "timestamp" and fits:
            rows.append({"name": "time", "type": "time", "size": width, "unit": each.unit, "offset": at})
            rows[-1] |= own_order(each, order)
            rows[-1] |= {"epoch": "session"} if each.epoch == "session" else {}
            break
    macs = [each for each in placed if each.role == "mac" and each.size == 6]
    if len(macs) == 1 and message.name in dict(_OPENING):
        rows.append({"name": "mac", "type": "mac", "offset": place_of(macs[0])[0]})
    return rows


def _is_placed(field: LayoutField) -> bool:
    return isinstance(field.at, int) and isinstance(field.size, int)


def _framing(layout: LayoutDocument, made: MadeProfile) -> None:
    """Header, trailer and checksum."""
    header, rule = layout.header, layout.header.frame_size
    table: Table = {"size": header.size}
    foot = layout.trailer.size
    length = next(each for each in header.fields if each.name == rule.field)
    ends = sum(place_of(length))
    ways = {0: "frame", header.size + foot: "body", ends: "rest"}
    if (counts := ways.get(rule.add)) is None:
        table["length_adds"] = -rule.add
    elif counts != "frame":
        table["length_counts"] = counts
    if rule.unit > 1:
        table["length_unit"] = rule.unit
    ids = [each for each in header.fields if each.role == "msg_id"]
    if not 1 <= len(ids) <= 2:
        made.missing.append(f"header: {len(ids)} fields with the message's id, where a profile has one or two")
    names = {each.name: name for each, name in zip(ids, ("msg_type", "msg_subtype"), strict=False)}
    if len(ids) == 1:
        names[ids[0].name] = "msg_id"
    names[rule.field] = "length"
    fields: list[Table] = []
    for each in header.fields:
        fields += _framing_field(layout, made, "header", each, names)
    table["fields"] = sorted(fields, key=lambda row: row["offset"])
    made.table["header"] = table
    if foot:
        behind = [row for each in layout.trailer.fields for row in _framing_field(layout, made, "trailer", each, {})]
        made.table["trailer"] = {"size": foot, "fields": behind}


def _framing_field(
    layout: LayoutDocument, made: MadeProfile, part: str, field: LayoutField, names: dict[str, str]
) -> list[Table]:
    """The profile's fields for one of a header or trailer: mostly one, none, or the pieces of a long constant."""
    where = f"{part}.{field.name}"
    at, size = place_of(field)
    if field.role == "padding":
        return []
    name = names.get(field.name) or ("transaction" if field.role == "transaction" else None)
    if field.name == "reply_to":
        name = None  # it is no transaction's, which answers have where questions do
    if field.role == "sequence" and part == "header":
        name = "frame_number" if "frame_number" not in names.values() else None
        if name:
            names[field.name] = name
            made.guesses[where] = "numbers every frame of a direction, from 0"
    if field.name == "acknowledged" and part == "header":
        name = "acknowledged"
    if field.role == "checksum":
        name = _checksum(made, where, field)
        if name is None:
            return []
    if name is None and (field.value is not None or any(field.name in m.header for m in layout.messages)):
        return _constant(field, size, at, layout.byte_order)
    if name is None or size not in _CODES:
        made.unsaid.append(f"{where} ({field.role}): {_WITHOUT}")
        return []
    order = field.order or layout.byte_order
    if name in ("transaction", "length") and size == 1 and _is_padding(layout, at + (1 if order == "little" else -1)):
        # What is 0 beside it is its upper half: nothing was long enough to need it.
        at, size = (at, 2) if order == "little" else (at - 1, 2)
    if name == "transaction" and size == 1:
        made.unsaid.append(f"{where}: a transaction of one byte")
        return []
    if field.evidence:
        made.notes[f"{part}.{name}"] = why(field)
    return [{"name": name, "type": _CODES[size], "offset": at} | own_order(field, layout.byte_order)]


def _is_padding(layout: LayoutDocument, at: int) -> bool:
    places = [(place_of(each), each.role) for each in layout.header.fields]
    return any(role == "padding" and start <= at < start + size for (start, size), role in places)


def _constant(field: LayoutField, size: int, at: int, order: Order) -> list[Table]:
    if size in _CODES:
        row = {"name": field.name, "type": _CODES[size], "offset": at} | own_order(field, order)
        return [row if field.value is None else row | {"value": field.value}]
    data = (field.value or 0).to_bytes(size, field.order or order)
    return [
        {"name": f"{field.name}_{index}", "type": "u8", "offset": at + index, "value": byte}
        for index, byte in enumerate(data)
    ]


def _checksum(made: MadeProfile, where: str, field: LayoutField) -> str | None:
    known: dict[str, tuple[str, ...]] = {str(key): types for key, types in CHECKSUM_TYPES.items()}
    code = _CODES.get(field.size if isinstance(field.size, int) else 0, "")
    sum_ = field.sum
    kind = "" if sum_ is None else "sum" if sum_.kind in ("sum-8", "sum-16", "sum-32") else sum_.kind
    if sum_ is None or code not in known.get(kind, ()):
        what = "a checksum" if sum_ is None else f"a checksum {sum_.kind}"
        made.unsaid.append(f"{where}: {what}, which a profile does not know how to make")
        return None
    made.table["checksum"] = {"kind": kind, "over": [*sum_.over]}
    return "checksum"


def _asked_first(opening: Sequence[tuple[str, str]], made: MadeProfile) -> list[tuple[str, str]]:
    """Requests in front of their responses: each side's messages are in order, and of both it may not be known."""
    turns = [*opening]
    for name, sender in opening:
        asked = [kind.label for kind in CATALOGUE[_KINDS[name]].answers] if name in _KINDS else []
        at = turns.index((name, sender))
        late = next((turn for turn in turns[at:] if turn[0] in asked), None)
        if late is not None and not any(turn[0] in asked for turn in turns[:at]) and name != "capability":
            turns.remove(late)
            turns.insert(at, late)
            made.guesses["dialogue.opening"] = f"{late[0]} comes in front of its response"
    return turns


def _constants(layout: LayoutDocument, made: MadeProfile) -> None:
    """What the header's constants hold in each message: by classes or by sides where that says it all."""
    tables: dict[str, Table] = {**made.table["messages"], **made.table.get("opaque", {})}
    said = {message.name: message.header for message in layout.messages}
    said |= {_opaque_name(name): header for name, header in said.items() if _opaque_name(name) not in said}
    for row in made.table["header"]["fields"]:
        name = row["name"]
        values = {key: said[key][name] for key in tables if name in said[key]}
        if not values:
            continue
        for groups, group_of in ((CLASSES, _class), (SIDES, _side)):
            by_group: dict[str, set[int]] = {}
            for key, value in values.items():
                by_group.setdefault(group_of(key, tables[key]), set()).add(value)
            if (
                "value" not in row
                and by_group.keys() == {*groups}
                and all(len(each) == 1 for each in by_group.values())
            ):
                row["values"] = {group: by_group[group].pop() for group in groups}
                break
        else:
            row.setdefault("value", Counter(values.values()).most_common(1)[0][0])
            for key, value in values.items():
                if value != row["value"]:
                    tables[key].setdefault("header", {})[name] = value


def _class(name: str, table: Table) -> str:
    if name in _KINDS:
        return class_of(_KINDS[name])
    return "response" if table.get("answers") else "request" if table["sender"] == "mse" else "notification"


def _side(name: str, table: Table) -> str:
    if name in _KINDS:
        return CATALOGUE[_KINDS[name]].sender.name.lower()
    return "mse" if table["sender"] == "mse" else "wlc"


def _dialogue(layout: LayoutDocument, made: MadeProfile, opening: Sequence[tuple[str, str]] | None) -> None:
    """The table is left out where the dialogue is the usual one."""
    senders = {message.name: message.sender for message in layout.messages}
    said, opaque = made.table["messages"], made.table.get("opaque", {})
    if opening is None:
        opening = [(name, senders.get(name) or usual) for name, usual in _OPENING if name in senders]
    opening = _asked_first(opening, made)
    named = {name: name if name in said or _opaque_name(name) not in opaque else _opaque_name(name) for name in senders}
    opening = [(named.get(name, name), sender) for name, sender in opening]
    echo = "none"
    if "echo_request" in said and "echo_response" in said:
        echo = {"mse": "mse", "wlc": "wlc", None: "both"}[senders["echo_request"]]
    if [*opening] == [*_OPENING] and echo == "mse":
        return
    turns = [{"sender": sender, "message": name} for name, sender in opening]
    made.table["dialogue"] = {"opening": turns, "echo": echo}
