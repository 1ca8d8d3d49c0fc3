"""Profiles that do not work: what is changed of the reference profile, and every problem that must come of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from nmsp_samples import core_document, reference_document

Edit = Callable[[dict[str, Any]], object]

NOTIFY = "messages.measurement_notify"


def field(document: dict[str, Any], message: str, name: str) -> dict[str, Any]:
    table = document["header"] if message == "header" else document["messages"][message]
    return next(f for f in table["fields"] if f["name"] == name)


def reading(document: dict[str, Any], name: str) -> dict[str, Any]:
    fields = document["records"]["reading"]["fields"]
    return next(f for f in fields if f["name"] == name)


def notify(document: dict[str, Any]) -> dict[str, Any]:
    return document["messages"]["measurement_notify"]


# What is changed -> every problem that must come of it, without the file name.
BAD: dict[str, tuple[Edit, list[str]]] = {
    "a field past its record": (
        lambda d: field(d, "capability", "subservices").update(offset=1),
        [
            "messages.capability.fields[0] (subservices): expected to end within the record of 8 bytes, "
            "found an end at byte 9"
        ],
    ),
    "a field before its record": (
        lambda d: field(d, "capability", "subservices").update(offset=-1),
        ["messages.capability.fields[0] (subservices).offset: expected 0 or more, found -1"],
    ),
    "an overlap": (
        lambda d: field(d, "version_request", "highest").update(offset=1),
        ["messages.version_request.fields[1] (highest): expected bytes of its own, found an overlap with lowest"],
    ),
    "an overlap in the readings": (
        lambda d: reading(d, "slot").update(offset=7),
        ["records.reading.fields[2] (band): expected bytes of its own, found an overlap with slot"],
    ),
    "two fields of one name": (
        lambda d: d["header"]["fields"][1].update(name="magic"),
        ["header.fields[1] (magic): expected a name of its own, found a second field of that name"],
    ),
    "a message missing": (
        lambda d: d["messages"].pop("echo_response"),
        ["messages.echo_response: expected a table, found nothing"],
    ),
    "an unknown message": (
        lambda d: d["messages"].update(echo=d["messages"]["echo_request"] | {"id": 99}),
        [
            "messages.echo: expected one of version_request, version_response, capability, subscribe_request, "
            "subscribe_response, echo_request, echo_response, measurement_notify, capability_request, "
        ],
    ),
    "one id twice": (
        lambda d: d["messages"]["echo_response"].update(id=2),
        ["messages.echo_response.id: expected an id of its own, found 2, the id of version_response"],
    ),
    "an id out of range": (
        lambda d: d["messages"]["capability"].update(id=65536),
        ["messages.capability.id: expected a uint16, found 65536"],
    ),
    "a negative id": (
        lambda d: d["messages"]["capability"].update(id=-1),
        ["messages.capability.id: expected a uint16, found -1"],
    ),
    "a type that the code cannot work with": (
        lambda d: field(d, "header", "length").update(type="i32"),
        ["header.fields[3] (length).type: expected u8 or u16 or u32, found i32"],
    ),
    "a mac where a number belongs": (
        lambda d: (
            field(d, "measurement_notify", "subservice").update(type="mac", offset=32) or notify(d).update(size=38)
        ),
        [f"{NOTIFY}.fields[4] (subservice).type: expected an integer type, found mac"],
    ),
    "a number where a mac belongs": (
        lambda d: reading(d, "ap_mac").update(type="u32"),
        ["records.reading.fields[0] (ap_mac).type: expected mac, found u32"],
    ),
    "a type that does not exist": (
        lambda d: field(d, "header", "flags").update(type="u24"),
        ["header.fields[1].type: expected"],
    ),
    "an unknown key": (
        lambda d: d["header"].update(length_count="body"),
        [
            "header.length_count: expected one of length_counts, length_unit, length_adds, align, fields, size, "
            "found an unknown key"
        ],
    ),
    "an unknown key of a field": (
        lambda d: d["header"]["fields"][2].update(offfset=1),
        [
            "header.fields[2].offfset: expected one of offset, epoch, first, name, order, size, type, unit, value, "
            "values, found an unknown key"
        ],
    ),
    "a constant that does not fit": (
        lambda d: field(d, "header", "flags").update(value=256),
        ["header.fields[1] (flags).value: expected a value that fits u8, found 256"],
    ),
    "a negative constant in an unsigned field": (
        lambda d: field(d, "header", "flags").update(value=-1),
        ["header.fields[1] (flags).value: expected a value that fits u8, found -1"],
    ),
    "a field that nobody fills": (
        lambda d: field(d, "header", "flags").pop("value"),
        [
            "header.fields[1] (flags): expected one of msg_id, length, transaction, frame_number, acknowledged, "
            "or a constant value, found neither"
        ],
    ),
    "a field missing": (
        lambda d: notify(d)["fields"].pop(3),
        [f"{NOTIFY}.fields: expected a field station_mac, found none"],
    ),
    "no readings": (
        lambda d: notify(d).pop("repeat"),
        [f"{NOTIFY}.repeat: expected a table (its records), or the fields of one record among its own, found nothing"],
    ),
    "readings where none belong": (
        lambda d: d["messages"]["capability"].update(repeat=copy.deepcopy(notify(d)["repeat"])),
        ["messages.capability.repeat: expected nothing: this message has no records, found a table"],
    ),
    "a count that is no field": (
        lambda d: notify(d)["repeat"].update(count="readings"),
        [
            f"{NOTIFY}.fields[5] (reading_count): expected one of sequence, due_ns, sent_ns, station_mac, subservice, "
            "time, readings, or a constant value, found neither",
            f"{NOTIFY}.fields: expected a field readings, found none",
        ],
    ),
    "too many readings": (
        lambda d: notify(d)["repeat"].update(max=256),
        [f"{NOTIFY}.repeat.max: expected 1 to 255, found 256"],
    ),
    "no reading at all": (
        lambda d: notify(d)["repeat"].update(max=0),
        [f"{NOTIFY}.repeat.max: expected 1 to 255, found 0"],
    ),
    "a frame limit below the largest notification": (
        lambda d: d.update(max_frame_bytes=267),  # 12 + 32 + 16 * 14 = 268
        [f"max_frame_bytes: expected room for {NOTIFY}, 268 bytes, found 267"],
    ),
    "a notification larger than a TLS record": (
        lambda d: d["records"]["reading"].update(size=1022),  # 12 + 32 + 16 * 1022 = 16,396
        [f"{NOTIFY}: expected at most 16384 bytes with header and records, found 16396"],
    ),
    "no frame limit": (
        lambda d: d.update(max_frame_bytes=(1 << 24) + 1),
        ["max_frame_bytes: expected 1 to 16777216, found 16777217"],
    ),
    "a message larger than the frame limit": (
        lambda d: d["messages"]["capability"].update(size=70000),
        ["max_frame_bytes: expected room for messages.capability, 70012 bytes, found 65536"],
    ),
    "a length that does not hold the largest frame": (
        lambda d: (d["header"]["fields"][3].update(type="u8"), d.update(max_frame_bytes=300)),
        [f"header.fields (length): expected a type that holds 268 ({NOTIFY}), found u8"],
    ),
    "a constant where a value varies": (
        lambda d: field(d, "version_request", "lowest").update(value=1),
        ["messages.version_request.fields[0] (lowest).value: expected nothing: this field varies, found 1"],
    ),
    "a count that means something else": (
        lambda d: (notify(d)["repeat"].update(count="subservice"), notify(d)["fields"].pop(5)),
        [f"{NOTIFY}.repeat.count: expected a field that only counts, found subservice"],
    ),
    "a count that does not hold the maximum": (
        lambda d: (
            field(d, "measurement_notify", "reading_count").update(type="i8"),
            notify(d)["repeat"].update(max=200),
        ),
        [f"{NOTIFY}.repeat.max: expected a number that reading_count holds, found 200"],
    ),
    "a name of the header in a notification": (
        lambda d: field(d, "measurement_notify", "reading_count").update(name="flags", value=0),
        [
            f"{NOTIFY}.fields: expected a field reading_count, found none",
            f"{NOTIFY}.fields[5] (flags): expected a name that neither the header nor the readings have, found flags",
        ],
    ),
    "a signal strength without a sign": (
        lambda d: reading(d, "rssi_a").update(type="u8"),
        ["records.reading.fields[4] (rssi_a).type: expected i8 or i16 or i32 or i64, found u8"],
    ),
    "a sequence number with a sign": (
        lambda d: field(d, "measurement_notify", "sequence").update(type="i32"),
        [f"{NOTIFY}.fields[0] (sequence).type: expected u8 or u16 or u32 or u64, found i32"],
    ),
    "a negative size": (
        lambda d: d["messages"]["echo_request"].update(size=-1),
        ["messages.echo_request.size: expected 0 to 16777216, found -1"],
    ),
    "a length in words of three bytes": (
        lambda d: d["header"].update(length_unit=3),
        ["header.length_unit: expected one of 1, 2, 4, 8, found 3"],
    ),
    "a byte order that does not exist": (lambda d: d.update(byte_order="middle"), ["byte_order: expected"]),
    "a text for a number": (lambda d: d["header"].update(size="12"), ['header.size: expected int, found "12"']),
    "no header": (lambda d: d.pop("header"), ["header: expected a value, found nothing"]),
}

TAGS = "messages.tag_info_notify"
CLIENTS = "messages.client_info_notify"
NO_ROOM = "expected an id that fits u16"


def elements(document: dict[str, Any], **changes: object) -> dict[str, Any]:
    """The elements of a tag's notification, changed; the payload is in one."""
    found: dict[str, Any] = document["messages"]["tag_info_notify"]["elements"]
    found.update(changes)
    return found


def payload(document: dict[str, Any]) -> dict[str, Any]:
    field: dict[str, Any] = elements(document)["fields"][0]
    return field


def move(document: dict[str, Any], name: str, **changes: object) -> None:
    """A field of a tag's notification into an element of its own."""
    message = document["messages"]["tag_info_notify"]
    (moved,) = (each for each in message["fields"] if each["name"] == name)
    message["fields"].remove(moved)
    element = {key: value for key, value in moved.items() if key != "offset"} | {"id": 2} | changes
    elements(document)["fields"].append(element)


def by_id(document: dict[str, Any], number: int, **made: object) -> None:
    """The records of a client information notification into elements with this id."""
    message = document["messages"]["client_info_notify"]
    message["repeat"] = {key: value for key, value in message["repeat"].items() if key != "count"} | {"id": number}
    message["fields"] = [each for each in message["fields"] if each["name"] != "record_count"]
    if made:
        message["elements"] = made


# The same of what only a profile with more than the needed messages has.
def dialogue(**tables: Any) -> Edit:
    """Turns as (sender, message)."""

    def edit(document: dict[str, Any]) -> None:
        made = {key: value for key, value in tables.items() if key != "opening"}
        if "opening" in tables:
            made["opening"] = [{"sender": sender, "message": message} for sender, message in tables["opening"]]
        document["dialogue"] = made

    return edit


_ASKED, _ANSWERED = ("mse", "version_request"), ("wlc", "version_response")
BAD |= {
    "a dialogue with an unknown message": (
        dialogue(opening=[("mse", "version_reqest")]),
        ["dialogue.opening[0].message: expected one of version_request, version_response, "],
    ),
    "a dialogue with a message that no opening has": (
        dialogue(opening=[("wlc", "measurement_notify")]),
        [
            "dialogue.opening[0].message: expected one of version_request, version_response, capability_request, "
            'capability, subscribe_request, subscribe_response, echo_request, echo_response, found "measurement_notify"'
        ],
    ),
    "a dialogue with a message that the profile lacks": (
        dialogue(opening=[("mse", "capability_request"), ("wlc", "capability")]),
        ["messages.capability_request: expected a table, for dialogue.opening[0], found nothing"],
    ),
    "a dialogue whose echo the profile lacks": (
        lambda d: (dialogue(echo="both")(d), d["messages"].pop("echo_request")),
        ["messages.echo_request: expected a table, for dialogue.echo, found nothing"],
    ),
    "a dialogue whose end the profile lacks": (
        dialogue(end={"sender": "mse", "message": "unsubscribe_request"}),
        ["messages.unsubscribe_request: expected a table, for dialogue.end, found nothing"],
    ),
    "a dialogue with a message of the other side": (
        dialogue(opening=[("mse", "capability")]),
        ['dialogue.opening[0].sender: expected "wlc", who can say capability, found "mse"'],
    ),
    "a response before its request": (
        dialogue(opening=[_ANSWERED, _ASKED]),
        [
            "dialogue.opening[0]: expected version_request from the other side before its response, found "
            "version_response without it"
        ],
    ),
    "a response from the side that has asked": (
        dialogue(opening=[_ASKED, ("mse", "version_response")]),
        [
            "dialogue.opening[1]: expected version_request from the other side before its response, found "
            "version_response without it"
        ],
    ),
    "the same message twice": (
        dialogue(opening=[_ASKED, _ANSWERED, _ASKED]),
        ["dialogue.opening[2]: expected each message once from a side, found version_request from the mse once more"],
    ),
    "an endless opening": (
        dialogue(opening=[_ASKED] * 65),
        ["dialogue.opening: expected at most 64 messages, found 65"],
    ),
    "an end from a side that cannot say it": (
        lambda d: (d["messages"].update(_unsubscribing()), dialogue(end=_end("either"))(d)),
        ['dialogue.end.sender: expected "mse", who can say unsubscribe_request, found "either"'],
    ),
    "an end that ends nothing": (
        dialogue(end={"sender": "wlc", "message": "subscribe_response"}),
        ['dialogue.end.message: expected one of unsubscribe_request, found "subscribe_response"'],
    ),
    "nobody who asks for echoes": (
        dialogue(echo="nobody"),
        ['dialogue.echo: expected one of mse, wlc, both, none, found "nobody"'],
    ),
}


def opaque(**changes: Any) -> Edit:
    """An opaque message that would be in order, with these changes; None takes a key away."""

    def edit(document: dict[str, Any]) -> None:
        table = {"id": 0x900, "sender": "wlc", "hex": "00 11 22 33"} | changes
        document["opaque"] = {"hail": {key: value for key, value in table.items() if value is not None}}

    return edit


def _fill(name: str, kind: str, offset: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "offset": offset, **more}


def _asked(**changes: Any) -> Edit:
    """One that answers another."""

    def edit(document: dict[str, Any]) -> None:
        hail = {"id": 0x900, "sender": "wlc", "hex": "00"}
        back = {"id": 0x901, "sender": "mse", "hex": "00", "answers": "hail"}
        document["opaque"] = {"hail": hail, "back": back | changes}

    return edit


BAD |= {
    "an opaque message with the name of another": (
        lambda d: (opaque()(d), d["opaque"].update(capability=d["opaque"].pop("hail"))),
        ["opaque.capability: expected a name that no message has, found capability"],
    ),
    "an opaque message with the id of another": (
        opaque(id=3),
        ["opaque.hail.id: expected an id of its own, found 3, the id of capability"],
    ),
    "an opaque message whose id does not fit": (
        opaque(id=0x10000),
        ["opaque.hail.id: expected a uint16, found 65536"],
    ),
    "an opaque message without bytes": (
        opaque(hex=None),
        ["opaque.hail: expected its bytes, as hex or file, found neither"],
    ),
    "an opaque message with bytes twice": (
        opaque(file="hail.bin"),
        ["opaque.hail.file: expected either hex, or the name of a file beside the profile, found both"],
    ),
    "an opaque message from a file somewhere else": (
        opaque(hex=None, file="../hail.bin"),
        ['opaque.hail.file: expected either hex, or the name of a file beside the profile, found "../hail.bin"'],
    ),
    "an opaque message that is no hex": (
        opaque(hex="0x00"),
        ['opaque.hail.hex: expected pairs of hexadecimal digits, found "0x00"'],
    ),
    "an opaque message that is too long": (
        opaque(hex="00" * 16385),
        ["opaque.hail.hex: expected at most 16384 bytes, found 16385"],
    ),
    "an opaque message for which a frame has no room": (
        lambda d: (opaque(hex="00" * 1000)(d), d.update(max_frame_bytes=1011)),
        ["max_frame_bytes: expected room for opaque.hail, 1012 bytes, found 1011"],
    ),
    "two fills of the same bytes": (
        opaque(fields=[_fill("transaction", "u16", 1), _fill("counter", "u8", 2)]),
        ["opaque.hail.fields[1] (counter): expected bytes of its own, found an overlap with transaction"],
    ),
    "a fill behind the end": (
        opaque(fields=[_fill("counter", "u16", 3)]),
        ["opaque.hail.fields[0] (counter): expected to end within the record of 4 bytes, found an end at byte 5"],
    ),
    "a fill of something unknown": (
        opaque(fields=[_fill("weather", "u8", 0)]),
        ["opaque.hail.fields[0] (weather): expected one of transaction, mac, time, counter, or a constant"],
    ),
    "a fill of the wrong type": (
        opaque(fields=[_fill("counter", "i8", 0)]),
        ["opaque.hail.fields[0] (counter).type: expected u8 or u16 or u32 or u64, found i8"],
    ),
    "a period that is none": (
        opaque(every="often"),
        ['opaque.hail.every: expected a duration such as "250ms", "30s" or "1m30s", found "often"'],
    ),
    "a period of nothing": (
        opaque(every="0s"),
        ['opaque.hail.every: expected a duration such as "250ms", "30s" or "1m30s", found "0s"'],
    ),
    "an opaque message with another constant than the header has": (
        opaque(header={"flags": 300}),
        ["opaque.hail.header.flags: expected a value that fits u8, found 300"],
    ),
    "an answer to nothing": (
        opaque(answers="nobody"),
        ['opaque.hail.answers: expected another opaque message, found "nobody"'],
    ),
    "an answer to what is not there": (
        _asked(answers="heil"),
        ['opaque.back.answers: expected one of hail, found "heil"'],
    ),
    "an answer from the side that has asked": (
        _asked(sender="wlc"),
        ['opaque.back.sender: expected "mse", who hears hail from the other side, found "wlc"'],
    ),
    "an answer that is said anyway": (
        _asked(every="1s"),
        ['opaque.back.answers: expected a message that answers nothing, and has no period here, found "hail"'],
    ),
    "an opaque answer before its question": (
        lambda d: (_asked()(d), dialogue(opening=[("mse", "back"), ("wlc", "hail")])(d)),
        ["dialogue.opening[0]: expected hail from the other side before its response, found back without it"],
    ),
    "an end that is said again and again": (
        lambda d: (opaque(every="1s")(d), dialogue(end={"sender": "wlc", "message": "hail"})(d)),
        [
            "dialogue.end.message: expected a message that is said at the end alone, found "
            '"hail", which has a period or answers another'
        ],
    ),
    "an end that the opening has": (
        lambda d: (
            opaque()(d),
            dialogue(opening=[("wlc", "hail")], end={"sender": "wlc", "message": "hail"})(d),
        ),
        ['dialogue.end.message: expected a message that the opening does not have, found "hail"'],
    ),
}


def _unsubscribing() -> dict[str, Any]:
    messages = reference_document()["messages"]
    return {name: messages[name] for name in ("unsubscribe_request", "unsubscribe_response")}


def _end(sender: str) -> dict[str, str]:
    return {"sender": sender, "message": "unsubscribe_request"}


BAD_WHOLE: dict[str, tuple[Edit, list[str]]] = {
    "records missing": (
        lambda d: d["messages"]["client_info_response"].pop("repeat"),
        [
            "messages.client_info_response.repeat: expected a table (its records), or the fields of one record among "
            "its own, found nothing"
        ],
    ),
    "a record that there is not": (
        lambda d: d["messages"]["client_info_notify"]["repeat"].update(record="nobody"),
        [f'{CLIENTS}.repeat.record: expected a table of [records], found "nobody", which is none'],
    ),
    "a record that nobody repeats": (
        lambda d: d["records"].update(spare=d["records"]["reading"]),
        ["records.spare: expected a record that a message repeats, found one that none does"],
    ),
    "counted, and in elements": (
        lambda d: d["messages"]["tag_info_notify"]["repeat"].update(id=9),
        [f"{TAGS}.repeat: expected one of count (a field), id (of its elements) and to_end, found several"],
    ),
    "neither counted nor in elements": (
        lambda d: d["messages"]["tag_info_notify"]["repeat"].pop("count"),
        [
            f"{TAGS}.fields[4] (record_count): expected one of payload, sequence, due_ns, sent_ns, subservice, "
            "time, or a constant value, found neither",
            f"{TAGS}.repeat: expected one of count (a field), id (of its elements) and to_end, found none",
        ],
    ),
    "an order of what has none": (
        lambda d: notify(d)["fields"][3].update(order="little"),
        [f"{NOTIFY}.fields[3] (station_mac).order: expected nothing: mac has no byte order, found little"],
    ),
    "records to the end, and elements to the end": (
        lambda d: d["messages"]["tag_info_notify"].update(repeat={"record": "tag_info", "to_end": True, "max": 3}),
        [
            f"{TAGS}.fields[4] (record_count): expected one of payload, sequence, due_ns, sent_ns, subservice, "
            "time, or a constant value, found neither",
            f"{TAGS}.repeat.to_end: expected nothing: {TAGS}.elements goes to the end, found true",
        ],
    ),
    "records to the end in front of a tail, and padding": (
        lambda d: (
            d["header"].update(align=4),
            notify(d).update(repeat={"record": "reading", "to_end": True, "max": 3}, tail={"size": 4, "fields": []}),
            notify(d)["fields"].pop(5),
        ),
        [f"{NOTIFY}.tail: expected nothing: where it begins behind records is not known with padding, found a table"],
    ),
    "records to the end of nobody knows what": (
        lambda d: (
            d["records"].update(
                station={
                    "size": 6,
                    "fields": [{"name": "station_mac", "type": "mac", "offset": 0}],
                    "repeat": {"record": "reading", "to_end": True, "max": 3},
                }
            ),
            notify(d)["repeat"].update(record="station"),
            notify(d)["fields"].pop(3),
        ),
        ["records.station.length: expected a field that says where its records end, found nothing"],
    ),
    "records to the end that are smaller than padding": (
        lambda d: (
            d["header"].update(align=8),
            d["messages"]["wips_config_request"].update(
                repeat={"record": "wips_signature", "to_end": True, "max": 3}, fields=[]
            ),
        ),
        ["records.wips_signature.size: expected at least 8 bytes, or padding could be one, found 4"],
    ),
    "records to the end without a byte": (
        lambda d: (
            d["records"].update(wips_signature={"size": 0, "fields": []}),
            d["messages"]["wips_config_request"].update(
                repeat={"record": "wips_signature", "to_end": True, "max": 3}, fields=[]
            ),
        ),
        [
            "records.wips_signature.fields: expected a field signature, found none",
            "records.wips_signature.size: expected at least a byte, found 0",
        ],
    ),
    "records in elements that there are not": (
        lambda d: by_id(d, 5),
        [f"{CLIENTS}.repeat.id: expected nothing without {CLIENTS}.elements, found 5"],
    ),
    "an element's id twice": (
        lambda d: move(d, "sequence", id=1),
        [f"{TAGS}.elements.fields[1] (sequence).id: expected an id of its own, found 1, the id of payload"],
    ),
    "an element with the id of the records": (
        lambda d: (
            by_id(d, 3, type="u8", length="u8", fields=[{"name": "sequence", "type": "u64", "id": 3}])
            or d["messages"]["client_info_notify"]["fields"].pop(0)
        ),
        [f"{CLIENTS}.elements.fields[0] (sequence).id: expected an id of its own, found 3, the id of its records"],
    ),
    "a field in two elements": (
        lambda d: elements(d)["fields"].append(payload(d) | {"id": 2}),
        [f"{TAGS}.elements.fields[1] (payload): expected a name of its own, found a second field of that name"],
    ),
    "a field in an element and at a place": (
        lambda d: elements(d)["fields"].append({"name": "sequence", "type": "u64", "id": 2}),
        [f"{TAGS}.fields[0] (sequence): expected a name of its own, found a second field of that name"],
    ),
    "an element of nobody's": (
        lambda d: elements(d)["fields"].append({"name": "colour", "type": "u8", "id": 2}),
        [
            f"{TAGS}.elements.fields[1] (colour): expected one of payload, sequence, due_ns, sent_ns, subservice, "
            "time, found an unknown field"
        ],
    ),
    "a type that does not do in an element": (
        lambda d: move(d, "sequence", type="i32"),
        [f"{TAGS}.elements.fields[1] (sequence).type: expected u8 or u16 or u32 or u64, found i32"],
    ),
    "an element's id that is too large": (
        lambda d: payload(d).update(id=65536),
        [f"{TAGS}.elements.fields[0] (payload).id: {NO_ROOM}, found 65536"],
    ),
    "an element's id that is negative": (
        lambda d: payload(d).update(id=-1),
        [f"{TAGS}.elements.fields[0] (payload).id: {NO_ROOM}, found -1"],
    ),
    "an id of records that is too large": (
        lambda d: by_id(d, 256, type="u8", length="u8"),
        [f"{CLIENTS}.repeat.id: expected an id that fits u8, found 256"],
    ),
    "an element that its length does not hold": (
        lambda d: elements(d, length="u8"),
        [f"{TAGS}.elements.fields[0] (payload): expected at most what a length of type u8 holds, found 500 bytes"],
    ),
    "an element that its length does not hold with its head": (
        lambda d: (elements(d, length="u8", length_counts="element"), payload(d).update(size=253)),  # and 2 + 1
        [f"{TAGS}.elements.fields[0] (payload): expected at most what a length of type u8 holds, found 256 bytes"],
    ),
    "a record that an element's length does not hold": (
        lambda d: (
            by_id(d, 7, type="u8", length="u8"),
            d["records"]["client_info"].update(size=256),
            d["messages"]["client_info_notify"]["repeat"].update(max=60),
        ),
        [f"{CLIENTS}.repeat: expected at most what a length of type u8 holds, found 256 bytes"],
    ),
    "an element whose size is not said": (
        lambda d: payload(d).pop("size"),
        [f"{TAGS}.elements.fields[0] (payload).size: expected 1 to 16384 (bytes), found nothing"],
    ),
    "an element of a number with a size": (
        lambda d: move(d, "sequence", size=8),
        [f"{TAGS}.elements.fields[1] (sequence).size: expected nothing: its type says it, found 8"],
    ),
    "a text whose size is not said": (
        lambda d: d["records"]["ap_group"]["fields"][0].pop("size"),
        ["records.ap_group.fields[0] (name).size: expected 1 to 16384 (text), found nothing"],
    ),
    "a text without room": (
        lambda d: d["records"]["ap_group"]["fields"][0].update(size=0),
        ["records.ap_group.fields[0] (name).size: expected 1 to 16384 (text), found 0"],
    ),
    "a text that is larger than any frame": (
        lambda d: d["records"]["ap_group"]["fields"][0].update(size=16385),
        [
            "records.ap_group.fields[0] (name).size: expected 1 to 16384 (text), found 16385",
            "records.ap_group.fields[0] (name): expected to end within the record of 32 bytes, "
            "found an end at byte 16385",
        ],
    ),
    "a size of a number": (
        lambda d: reading(d, "slot").update(size=1),
        ["records.reading.fields[1] (slot).size: expected nothing: its type says it, found 1"],
    ),
    "a constant that is no number": (
        lambda d: d["messages"]["echo_request"].update(
            size=6, fields=[{"name": "pad", "type": "mac", "offset": 0, "value": 1}]
        ),
        ["messages.echo_request.fields[0] (pad).type: expected an integer type, found mac"],
    ),
    "a field of the header with the name of the readings": (
        lambda d: field(d, "header", "flags").update(name="readings"),
        ["header.fields[1] (readings): expected a name that a notification does not have, found readings"],
    ),
    "a constant with the name of the readings": (
        lambda d: (
            notify(d)["fields"].append({"name": "readings", "type": "u8", "offset": 32, "value": 1})
            or notify(d).update(size=33)
        ),
        [
            f"{NOTIFY}.fields[6] (readings): expected a name that neither the header nor the readings have, "
            "found readings"
        ],
    ),
    "another notification larger than a TLS record": (
        lambda d: d["messages"]["client_info_notify"]["repeat"].update(max=255),  # 12 + 26 + 255 * 98 = 25,028
        [f"{CLIENTS}: expected at most 16384 bytes with header and records, found 25028"],
    ),
    "elements of a type that there is not": (lambda d: elements(d, type="u64"), [f"{TAGS}.elements.type: expected"]),
    "a length of elements that counts frames": (
        lambda d: elements(d, length_counts="frame"),
        [f"{TAGS}.elements.length_counts: expected"],
    ),
    "an element without an id": (
        lambda d: payload(d).pop("id"),
        [f"{TAGS}.elements.fields[0].id: expected a value, found nothing"],
    ),
    "an element with an offset": (
        lambda d: payload(d).update(offset=1),
        [
            f"{TAGS}.elements.fields[0].offset: expected one of epoch, id, name, order, size, type, unit, "
            "found an unknown key"
        ],
    ),
    "records without a maximum": (
        lambda d: d["messages"]["tag_info_notify"]["repeat"].pop("max"),
        [f"{TAGS}.repeat.max: expected a value, found nothing"],
    ),
}

TIME = {"name": "time", "type": "time", "offset": 0, "size": 8, "unit": "ms"}


def stations(document: dict[str, Any], **changes: object) -> dict[str, Any]:
    """A measurement notification of several stations, each of 8 bytes with its readings; returns the record's table."""
    readings = notify(document)["repeat"]
    notify(document).update(
        size=1,
        fields=[{"name": "station_count", "type": "u8", "offset": 0}],
        repeat={"record": "station", "count": "station_count", "max": 4},
    )
    record: dict[str, Any] = {
        "size": 8,
        "fields": [
            {"name": "station_mac", "type": "mac", "offset": 0},
            {"name": "reading_count", "type": "u8", "offset": 6},
            {"name": "spare", "type": "u8", "offset": 7, "value": 0},
        ],
        "repeat": {**readings, "record": "reading", "count": "reading_count"},
    }
    document["records"]["station"] = record | changes
    made: dict[str, Any] = document["records"]["station"]
    return made


def with_time(document: dict[str, Any], **changes: object) -> None:
    """A time in front of the stations."""
    stations(document)
    notify(document)["size"] = 9
    notify(document)["fields"][0]["offset"] = 8
    notify(document)["fields"].append({key: each for key, each in {**TIME, **changes}.items() if each is not None})


def sealed(document: dict[str, Any], over: list[str], **trailer: object) -> None:
    """With a CRC-32 behind it."""
    document["checksum"] = {"kind": "crc-32", "over": over}
    if trailer:
        document["trailer"] = trailer


CRC = {"name": "checksum", "type": "u32", "offset": 0}

# The same of what is around a body, of times, and of records with more than fixed fields.
BAD_LAYOUTS: dict[str, tuple[Edit, list[str]]] = {
    "a time of five bytes": (
        lambda d: with_time(d, size=5),
        [f"{NOTIFY}.fields[1] (time).size: expected 4 or 8 (time), found 5"],
    ),
    "a time whose size is not said": (
        lambda d: with_time(d, size=None),
        [f"{NOTIFY}.fields[1] (time).size: expected 4 or 8 (time), found nothing"],
    ),
    "a pair in four bytes": (
        lambda d: with_time(d, size=4, unit="s+us"),
        [f"{NOTIFY}.fields[1] (time).size: expected 8 (time), found 4"],
    ),
    "a time whose unit is not said": (
        lambda d: with_time(d, unit=None),
        [f"{NOTIFY}.fields[1] (time).unit: expected how the time counts: s, ms, us, ns, s+us, s+ns or s+frac, found"],
    ),
    "a time of a unit that there is not": (
        lambda d: with_time(d, unit="min"),
        [f"{NOTIFY}.fields[1].unit: expected"],
    ),
    "a number with a unit": (
        lambda d: field(d, "measurement_notify", "due_ns").update(unit="ns"),
        [f"{NOTIFY}.fields[1] (due_ns).type: expected time, where a unit or an epoch is told, found u64"],
    ),
    "a number with an epoch": (
        lambda d: field(d, "measurement_notify", "due_ns").update(epoch="session"),
        [f"{NOTIFY}.fields[1] (due_ns).type: expected time, where a unit or an epoch is told, found u64"],
    ),
    "a first number of what is none": (
        lambda d: field(d, "header", "transaction").update(first=1),
        ["header.fields[4] (transaction).first: expected nothing: of frame_number alone, found 1"],
    ),
    "a constant by class in a body": (
        lambda d: field(d, "subscribe_response", "status").update(
            name="kind", values={"request": 1, "response": 2, "notification": 3}
        ),
        [
            "messages.subscribe_response.fields[1] (kind).values: expected nothing: of constants in the header alone",
        ],
    ),
    "a constant by class where a value varies": (
        lambda d: field(d, "header", "transaction").update(values={"wlc": 1, "mse": 2}),
        ["header.fields[4] (transaction).value: expected nothing: this field varies, found values"],
    ),
    "a constant of both forms": (
        lambda d: field(d, "header", "flags").update(values={"wlc": 1, "mse": 2}),
        ["header.fields[1] (flags): expected either value or values, found both"],
    ),
    "a constant by class that leaves one out": (
        lambda d: (field(d, "header", "flags").pop("value"), field(d, "header", "flags").update(values={"request": 1})),
        [
            "header.fields[1] (flags).values: expected request, response, notification; or wlc, mse, found request",
        ],
    ),
    "a constant by side that does not fit": (
        lambda d: (
            field(d, "header", "flags").pop("value"),
            field(d, "header", "flags").update(values={"wlc": 256, "mse": 0}),
        ),
        ["header.fields[1] (flags).values.wlc: expected a value that fits u8, found 256"],
    ),
    "a message's constant of a field that is none": (
        lambda d: d["messages"]["capability"].update(header={"transaction": 1}),
        ["messages.capability.header.transaction: expected one of flags, magic, found no constant of the header"],
    ),
    "a message's constant that does not fit": (
        lambda d: d["messages"]["capability"].update(header={"flags": -1}),
        ["messages.capability.header.flags: expected a value that fits u8, found -1"],
    ),
    "both an id and a type": (
        lambda d: (
            d["header"]["fields"].append({"name": "msg_type", "type": "u8", "offset": 12})
            or d["header"].update(size=13)
        ),
        [
            "header.fields[2] (msg_id): expected one of msg_type, msg_subtype, length, transaction, frame_number, "
            "acknowledged, or a constant value, found neither",
            "header.fields: expected a field msg_subtype, found none",
        ],
    ),
    "a length that counts much that there is not": (
        lambda d: d["header"].update(length_adds=256),
        ["header.length_adds: expected -255 to 255, found 256"],
    ),
    "a length in words of a frame that is none of them": (
        lambda d: d["header"].update(length_unit=2, align=4, length_adds=3),
        ["header.length_unit: expected a divisor of length_adds, -3 bytes, found 2"],
    ),
    "a length in units that header and trailer are not": (
        lambda d: d["header"].update(length_unit=4, align=8, length_counts="body", size=14),
        ["header.length_unit: expected a divisor of header and trailer, 14 bytes, found 4"],
    ),
    "a length in units that what is in front of it is not": (
        lambda d: (
            d["header"].update(length_unit=4, align=8, length_counts="rest", size=14),
            field(d, "header", "length").update(offset=6),
            field(d, "header", "transaction").update(offset=10),
        ),
        ["header.length_unit: expected a divisor of what is in front of the end of `length`, 10 bytes, found 4"],
    ),
    "a length of a unit that there is not": (lambda d: d["header"].update(length_unit=3), ["header.length_unit: exp"]),
    "a checksum without a field": (
        lambda d: sealed(d, ["body"]),
        ["checksum: expected a field checksum in the header or in the trailer, found none"],
    ),
    "a checksum over a trailer that there is not": (
        lambda d: (
            sealed(d, ["body", "trailer"]),
            d["header"].update(size=16),
            d["header"]["fields"].append(CRC | {"offset": 12}),
        ),
        ["checksum.over: expected parts that there are, found trailer, and there is none"],
    ),
    "a checksum over parts that lie apart": (
        lambda d: sealed(d, ["header", "trailer"], size=4, fields=[CRC]),
        ["checksum.over: expected parts that lie side by side, each once, found header, trailer"],
    ),
    "a checksum over nothing": (
        lambda d: sealed(d, [], size=4, fields=[CRC]),
        ["checksum.over: expected parts that lie side by side, each once, found nothing"],
    ),
    "a checksum of another width": (
        lambda d: sealed(d, ["body"], size=4, fields=[CRC | {"type": "u16"}]),
        ["trailer.fields[0] (checksum).type: expected u32, found u16"],
    ),
    "a checksum field of no checksum": (
        lambda d: d.update(trailer={"size": 4, "fields": [CRC]}),
        ["trailer.fields[0] (checksum): expected one of no fields, or a constant value, found neither"],
    ),
    "a tail behind elements and padding": (
        lambda d: (
            notify(d).update(
                elements={"type": "u8", "length": "u8"},
                tail={"size": 1, "fields": [{"name": "end", "type": "u8", "offset": 0, "value": 7}]},
            ),
            d["header"].update(align=4),
        ),
        [f"{NOTIFY}.tail: expected nothing: where it begins behind elements is not known with padding, found a table"],
    ),
    "an element that looks like padding": (
        lambda d: (
            stations(d, elements={"type": "u8", "length": "u8"}, length="spare", align=4)["fields"][2].pop("value"),
            stations_of(d)["repeat"].pop("count"),
            stations_of(d)["repeat"].update(id=0, max=8),
            stations_of(d)["fields"].pop(1),
        ),
        ["records.station.elements: expected ids that are not 0, where zeros fill up, found its records with id 0"],
    ),
    "a tail with a field that is in front, too": (
        lambda d: notify(d).update(tail={"size": 1, "fields": [{"name": "subservice", "type": "u8", "offset": 0}]}),
        [f"{NOTIFY}.tail.fields[0] (subservice): expected a name of its own, found a second field of that name"],
    ),
    "a record whose length counts what it is not": (
        lambda d: stations(d, length="spare", length_unit=4)["fields"][2].pop("value"),
        ["records.station.align: expected a multiple of length_unit, 4, found 1"],
    ),
    "a record's length that is no field": (
        lambda d: stations(d, length="bytes"),
        ["records.station.fields: expected a field bytes, found none"],
    ),
    "a record's length that does not hold it": (
        lambda d: (stations(d, length="spare")["fields"][2].pop("value"), stations_of(d)["repeat"].update(max=40)),
        ["records.station.length: expected a field that holds 568 (bytes of it), found spare, u8"],
    ),
    "a record's length that means something else": (
        lambda d: stations(d, length="station_mac"),
        [
            "records.station.length: expected a field that only counts, found station_mac",
            "records.station.fields[0] (station_mac).type: expected an integer type, found mac",
        ],
    ),
    "a count of bytes that no field holds": (
        lambda d: (stations(d), notify(d)["repeat"].update(count_unit=1)),
        [f"{NOTIFY}.repeat.count: expected a field that holds 928 (bytes of records), found station_count, u8"],
    ),
    "a count of words of what is none": (
        lambda d: (stations(d, size=9), notify(d)["repeat"].update(count_unit=4)),
        ["records.station.align: expected a multiple of count_unit, 4, found 1"],
    ),
    "a record with elements whose end nobody knows": (
        lambda d: stations(d, elements={"type": "u8", "length": "u8"}),
        ["records.station.length: expected a field that says where its elements end, found nothing"],
    ),
    "records in a record of records": (
        lambda d: (stations(d), d["records"]["reading"].update(repeat={"record": "station", "max": 1, "id": 1})),
        ["records.reading.repeat: expected nothing: this record has no records, found a table"],
    ),
}


def stations_of(document: dict[str, Any]) -> dict[str, Any]:
    """The record that `stations` made."""
    made: dict[str, Any] = document["records"]["station"]
    return made


# With what each begins, what is changed, and what is said.
ALL_BAD = {name: (core_document, *row) for name, row in BAD.items()} | {
    name: (reference_document, *row) for name, row in BAD_WHOLE.items()
}
ALL_BAD |= {name: (core_document, *row) for name, row in BAD_LAYOUTS.items()}
