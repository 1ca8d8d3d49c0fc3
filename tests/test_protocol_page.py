"""docs/protocol.md against the code, the profile, the tests and the scenarios: none of its cells can go stale."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from loadgen.loads import LoadKind
from loadgen.nmsp.catalogue import CATALOGUE, KIND_OF, NOTIFICATIONS
from loadgen.nmsp.dialogue import needed
from loadgen.nmsp.fields import Label
from loadgen.nmsp.layout import LayoutPart, describe
from loadgen.nmsp.messages import DeviceResponse, Kind
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.services import CATALYST_9800, MOBILE_STATION, Subservice
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.requests import ASKED
from loadgen.scenario.site_plan import told_by
from loadgen.world.tellers import FAMILIES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "protocol.md").read_text("utf-8")
NONE = "—"
Row = dict[str, str]


# -- the page ----------------------------------------------------------------------------------------------------------


def table(first: str) -> list[Row]:
    """The rows of the one table whose first column is called so, each by column."""
    lines = PAGE.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    head, rule, *rows = found
    assert set("".join(rule)) == {"-"}
    return [dict(zip(head, row, strict=True)) for row in rows]


def names(cell: str) -> list[str]:
    """What a cell lists: "`a`, `b`"; nothing if it is a dash."""
    return [] if cell == NONE else [name.strip("`") for name in cell.split(", ")]


SERVICES = table("bit")
MESSAGES = {row["message"].strip("`"): row for row in table("id")}
RECORDS = {row["record"].strip("`"): row for row in table("record")}
KINDS = {kind.label: kind for kind in CATALOGUE}
PARTS = {(part.what, part.name): part for part in describe(reference_profile()).parts}


def labelled(part: LayoutPart, label: Label) -> list[str]:
    return [row.name for row in part.rows if row.label is label]


# -- what the scenarios use --------------------------------------------------------------------------------------------


class Use(NamedTuple):
    """What `loadgen run` of a scenario sends: messages, and the subservices that any of them is about."""

    kinds: frozenset[Kind]
    services: frozenset[Subservice]


def uses(plan: Plan) -> Use:
    """From the plan alone: what is offered, wanted, told and asked, and whether it lasts until an echo."""
    if plan.load.kind is LoadKind.HANDSHAKE:  # no byte inside of TLS
        return Use(frozenset(), frozenset())
    granted = plan.wlc.capability & plan.mse.subscription
    told = told_by(plan.site) if plan.site is not None else MOBILE_STATION
    services = {service for service in told if granted >> service & 1}
    if granted >> Subservice.RSSI_MS & 1:  # of the two that a station may be told of under, the first
        services.discard(Subservice.RSSI_MS_ASSOCIATED_ONLY)
    kinds = {Kind.VERSION_REQUEST, Kind.VERSION_RESPONSE, Kind.CAPABILITY}
    kinds |= {Kind.SUBSCRIBE_REQUEST, Kind.SUBSCRIBE_RESPONSE}
    kinds |= {kind for kind in NOTIFICATIONS if services & set(CATALOGUE[kind].subservices)}
    if plan.duration_ns >= plan.session.echo_interval:
        kinds |= {Kind.ECHO_REQUEST, Kind.ECHO_RESPONSE}
    for request in plan.requests:
        kind = ASKED[request.name]
        about = {Subservice(number) for number in request.subservices} & set(CATALOGUE[kind].subservices)
        about = about or set(CATALOGUE[kind].subservices)
        for answer, entry in CATALOGUE.items():
            if kind not in entry.answers or (
                issubclass(entry.message, DeviceResponse) and not about & set(entry.subservices)
            ):
                continue
            kinds.add(answer)
        kinds.add(kind)
        services |= about
    return Use(frozenset(kinds), frozenset(services))


@cache
def used_by_scenarios() -> dict[str, Use]:
    """Of every scenario that there is, by name: that of its file, or of its folder."""
    found = {}
    for path in sorted((ROOT / "scenarios").rglob("*.toml")):
        name = path.stem if path.parent.name == "scenarios" else path.parent.name
        assert name not in found
        found[name] = uses(make_plan(*load_scenario(path)))
    return found


def scenarios_in(cell: str) -> set[str]:
    """A cell's scenarios: a list of them, "all but" a list, or "none"."""
    every = set(used_by_scenarios())
    listed = set() if cell == "none" else set(cell.removeprefix("all but ").split(", "))
    assert listed <= every, f"no such scenario: {sorted(listed - every)}"
    return every - listed if cell.startswith("all but ") else listed


# -- what the tests test -----------------------------------------------------------------------------------------------

# Tests that go through all of something instead of naming it: where that is seen in the file, and what all of it is.
GOES_THROUGH: dict[str, tuple[str, Callable[[], Iterable[Subservice]]]] = {
    "world_tellers": ('@pytest.mark.parametrize("subservice", list(FAMILIES)', lambda: FAMILIES),
    "world_site_measured": (
        '@pytest.mark.parametrize("name", CLASSES)',
        lambda: CATALOGUE[Kind.MEASUREMENT_NOTIFY].subservices,
    ),
    "e2e_sites": ('counters.get(f"service.{name}.received")', lambda: used_by_scenarios()["campus"].services),
}


def names_it(test: str, words: Iterable[str], services: Iterable[Subservice]) -> bool:
    """Whether a test file has one of these words, or goes through what one of these subservices is among."""
    found = list((ROOT / "tests").rglob(f"test_{test}.py"))
    assert len(found) == 1, f"{len(found)} files test_{test}.py"
    text = found[0].read_text("utf-8")
    if re.search(rf"(?<![\w-])({'|'.join(words)})(?![\w-])", text):
        return True
    if test not in GOES_THROUGH:
        return False
    mark, among = GOES_THROUGH[test]
    assert mark in text
    return not set(services).isdisjoint(among())


# -- messages ----------------------------------------------------------------------------------------------------------


def test_every_message_and_no_more_in_the_order_of_ids() -> None:
    ids = [int(row["id"]) for row in MESSAGES.values()]
    assert len(MESSAGES) == len(table("id"))
    assert MESSAGES.keys() == KINDS.keys()
    assert ids == sorted(ids)


@pytest.mark.parametrize("name", KINDS)
def test_a_message_is_what_the_catalogue_says(name: str) -> None:
    row, kind = MESSAGES[name], KINDS[name]
    entry = CATALOGUE[kind]
    assert int(row["id"]) == reference_profile().ids[kind]
    assert row["sent by"] == entry.sender.name
    assert row["needed"] == ("yes" if kind.label in needed(None) else NONE)
    assert names(row["subservices"]) == [service.label for service in entry.subservices]
    answers = [answer.label for answer, other in CATALOGUE.items() if kind in other.answers]
    assert names(row["answered by"]) == answers


@pytest.mark.parametrize("name", KINDS)
def test_labels_are_those_of_profile_show(name: str) -> None:
    row, part = MESSAGES[name], PARTS["message", name]
    assert names(row["public fields"]) == labelled(part, Label.PUBLIC)
    assert names(row["record"]) == ([] if part.record is None else [part.record])
    message, number, layout = row["message / id / layout"].split(" / ")
    assert (number, layout) == ("ours", "ours")  # a field may be public, its place never is
    assert (message in ("public", "inferred")) == (row["source"] != NONE)
    assert message in ("public", "inferred", "ours")


@pytest.mark.parametrize("name", KINDS)
def test_whoever_sends_and_takes_a_message_names_it(name: str) -> None:
    """Its class, its kind, a class that it inherits from (messages that are all alike), or all of them."""
    message = CATALOGUE[KINDS[name]].message
    words = {each.__name__ for each in message.__mro__[: message.__mro__.index(msgspec.Struct)]}
    pattern = rf"\b({'|'.join(words)}|Kind\.{KINDS[name].name}|CATALOGUE)\b"
    sides = MESSAGES[name]["sender; receiver"].split("; ")
    assert len(sides) == 2
    for module in (module for side in sides for module in names(side)):
        text = (ROOT / "loadgen" / f"{module}.py").read_text("utf-8")
        assert re.search(pattern, text), module


@pytest.mark.parametrize("name", KINDS)
def test_every_test_of_a_message_names_it(name: str) -> None:
    kind, found = KINDS[name], names(MESSAGES[name]["tests"])
    entry = CATALOGUE[kind]
    assert found
    services = entry.subservices if kind in NOTIFICATIONS else ()
    words = (name, kind.name, entry.message.__name__)
    assert [test for test in found if not names_it(test, words, services)] == []


def test_every_message_is_in_the_tests_that_the_page_says_go_through_all() -> None:
    vectors = msgspec.json.decode((ROOT / "tests" / "vectors" / "reference-1.json").read_bytes())
    assert (
        {vector["message"] for vector in vectors["messages"]}
        == KINDS.keys()
        == {k.label for k in KIND_OF.values()} - {"unsupported"}
    )
    for name, mark in (
        ("nmsp/test_nmsp_codec.py", '@pytest.mark.parametrize("kind", WIRE_KINDS'),
        ("test_wire_vectors.py", '@pytest.mark.parametrize("name", MESSAGES)'),
        ("fuzz/fuzz_wire.py", "for kind in sorted(layouts)"),
    ):
        assert f"`tests/{name}`" in PAGE
        assert mark in (ROOT / "tests" / name).read_text("utf-8"), name


@pytest.mark.parametrize("name", KINDS)
def test_scenarios_of_a_message_are_those_whose_plan_has_it_sent(name: str) -> None:
    used = {scenario for scenario, use in used_by_scenarios().items() if KINDS[name] in use.kinds}
    assert scenarios_in(MESSAGES[name]["scenarios"]) == used


# -- subservices -------------------------------------------------------------------------------------------------------


def test_every_subservice_in_the_order_of_bits() -> None:
    assert [int(row["bit"]) for row in SERVICES] == list(range(23))
    assert [row["subservice"].strip("`") for row in SERVICES] == [service.label for service in Subservice]


@pytest.mark.parametrize("service", Subservice, ids=lambda service: service.label)
def test_a_subservice_is_what_the_code_says(service: Subservice) -> None:
    row = SERVICES[service]
    assert (row["name"], row["bit number"]) == ("public", "inferred")
    assert row["9800 offers it"] == ("yes" if CATALYST_9800 >> service & 1 else NONE)
    assert names(row["messages"]) == [kind.label for kind, entry in CATALOGUE.items() if service in entry.subservices]


@pytest.mark.parametrize("service", Subservice, ids=lambda service: service.label)
def test_every_test_of_a_subservice_names_it(service: Subservice) -> None:
    """In Python, as a document's text or as a counter; "location" is a word that means anything."""
    words = (rf"Subservice\.{service.name}", f'"{service.label}"', rf"service\.{service.name.lower()}\.received")
    found = names(SERVICES[service]["tests"])
    assert found
    text_of = [test for test in found if not names_it(test, words, [service])]
    told = {Subservice.ATTACH: "AttachmentNotify", Subservice.LOCATION: "LocationNotify"}.get(service)
    assert [test for test in text_of if told is None or not names_it(test, [told], [])] == []


@pytest.mark.parametrize("service", Subservice, ids=lambda service: service.label)
def test_scenarios_of_a_subservice_are_those_whose_plan_uses_it(service: Subservice) -> None:
    used = {scenario for scenario, use in used_by_scenarios().items() if service in use.services}
    assert scenarios_in(SERVICES[service]["scenarios"]) == used


def test_what_no_scenario_uses_is_said_in_words() -> None:
    """And the other way round: every subservice that a sentence gives as unused is."""
    unused = [service.label for service in Subservice if SERVICES[service]["scenarios"] == "none"]
    sentence = re.search(r"No scenario of this project uses ([^.]*)\.", " ".join(PAGE.split()))
    assert sentence is not None
    assert re.findall(r"`([a-z-]+)`", sentence[1]) == unused


# -- records and sources -----------------------------------------------------------------------------------------------


def test_every_record_with_the_labels_of_profile_show() -> None:
    parts = {name: part for (what, name), part in PARTS.items() if what == "record"}
    assert list(RECORDS) == list(parts)
    for name, part in parts.items():
        row = RECORDS[name]
        assert names(row["public fields"]) == labelled(part, Label.PUBLIC), name
        assert names(row["our fields"]) == labelled(part, Label.OURS), name
        assert names(row["in"]) == [other.name for other in PARTS.values() if other.record == name], name
        assert (row["source"] != NONE) == bool(names(row["public fields"])), name


def test_the_header_has_one_public_field() -> None:
    assert labelled(PARTS["header", "header"], Label.PUBLIC) == ["msg_id"]
    assert "Of the header only `msg_id` is public" in PAGE


def test_every_source_that_is_named_is_listed_and_every_one_listed_is_named() -> None:
    listed = {row["key"]: row for row in table("key")}
    cells = [row["source"] for row in (*MESSAGES.values(), *RECORDS.values())]
    cited = {
        key for cell in cells for key in re.findall(r"[A-Z][A-Z0-9a-z]*(?:-[A-Z0-9]+)?", re.sub(r"`.*?`", "", cell))
    }
    assert cited <= listed.keys()
    prose = PAGE[: PAGE.index("| key |")]
    assert [key for key in listed if key not in prose] == []
    assert all(row["where"] for row in listed.values())


def test_every_file_that_the_page_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / "docs" / link).exists()] == []


def test_a_plan_says_what_is_used(tmp_path: Path) -> None:
    """The reading of plans above, on scenarios made for it."""

    def of(text: str) -> Use:
        path = tmp_path / "x.toml"
        path.write_text(f'name = "x"\n{text}', "utf-8")
        return uses(make_plan(*load_scenario(path)))

    assert of('[load]\nkind = "handshake"\nstages = [{ hold = "20s" }]') == Use(frozenset(), frozenset())
    short, long = (of(f'[load]\nrate = 1\nstages = [{{ hold = "{seconds}s" }}]') for seconds in (14, 15))
    assert long.kinds - short.kinds == {Kind.ECHO_REQUEST, Kind.ECHO_RESPONSE}
    assert short.services == {Subservice.RSSI_MS}
    asked = of(
        '[wlc]\nsubservices = "all"\n[mse]\nsubscribe = ["rssi-ms-associated-only", "info-rfid"]\n'
        "[load]\nrate = 1\n[requests]\ninformation = { rate = 1 }"
    )
    assert asked.services == {Subservice.RSSI_MS_ASSOCIATED_ONLY, Subservice.INFO_RFID}
    assert asked.kinds - short.kinds - {Kind.ECHO_REQUEST, Kind.ECHO_RESPONSE} == {
        Kind.INFORMATION_REQUEST,
        Kind.TAG_INFO_RESPONSE,
    }
