"""What a user is, and what the arguments of a run come to."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from distributed_samples import SCENARIO, chosen
from msgspec import inspect

from loadgen.distributed.arguments import ARGUMENTS, choose, fleets_of
from loadgen.distributed.messages import Orders
from loadgen.distributed.users import ENDPOINTS_PER_WORKER, UserClass, first_endpoint, sized
from loadgen.errors import InputError
from loadgen.nmsp.profile import reference_profile
from loadgen.scenario.files import files_of
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.schema import Scenario

PAIR = SCENARIO.replace("stations = 5", "stations = 5\ncount = 2") + "[mse]\ncount = 2\n"


def plan_of(folder: Path, user: UserClass, users: int, text: str = SCENARIO, **options: str) -> Plan:
    fleet = chosen(folder, text, **options)
    one = next(iter(fleet.fleets.values()))._replace(user=user)
    fit = sized(one, users)
    return make_plan(
        fit.scenario, one.profile, use=fit.use, targets=one.targets, sessions_per_user=fit.sessions_per_user
    )


def pairs(plan: Plan) -> list[tuple[int, int]]:
    return [(session.wlc, session.mse) for session in plan.sessions]


def test_a_wlc_user_is_a_wlc_with_all_its_sessions(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, UserClass.WLC, 3, PAIR)
    assert plan.sessions_per_user == 2
    assert pairs(plan) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert {wlc.port for wlc in plan.wlcs} == {0}


def test_an_mse_user_has_a_wlc_of_its_own(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, UserClass.MSE, 3, PAIR)
    assert plan.sessions_per_user == 1
    assert pairs(plan) == [(0, 0), (1, 1), (2, 2)]


def test_an_mse_user_dials_every_target(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, UserClass.MSE, 3, target="wlc=127.0.0.1:5000,127.0.0.1:5001")
    assert plan.use is Use.TARGET_WLC
    assert plan.sessions_per_user == 2
    assert pairs(plan) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


def test_a_wlc_user_that_serves_listens_where_the_scenario_says(tmp_path: Path) -> None:
    text = SCENARIO.replace("stations = 5", 'stations = 5\nlisten = "127.9.0.1:16113"\nauthenticate = false')
    plan = plan_of(tmp_path, UserClass.WLC, 2, text, target="serve")
    assert [(wlc.host, wlc.port) for wlc in plan.wlcs] == [("127.9.0.1", 16113), ("127.9.0.2", 16113)]


@pytest.mark.parametrize(
    ("step", "listen", "over", "found"),
    [
        ("address", None, 300, [("127.9.1.45", 16113), ("127.9.1.46", 16113)]),
        ("port", None, 7, [("127.9.0.1", 16120), ("127.9.0.1", 16121)]),
        ("port", "[::1]:2000", 0, [("::1", 2000), ("::1", 2001)]),
        ("address", "127.3.0.1:99", 2, [("127.3.0.3", 99), ("127.3.0.4", 99)]),
        ("port", "127.3.0.1:0", 5, [("127.3.0.1", 0), ("127.3.0.1", 0)]),
    ],
)
def test_wlcs_that_serve_listen_behind_those_of_others(
    tmp_path: Path, step: str, listen: str | None, over: int, found: list[tuple[str, int]]
) -> None:
    text = SCENARIO.replace("stations = 5", f'step = "{step}"\nlisten = "127.9.0.1:16113"\nauthenticate = false')
    fleet = chosen(tmp_path, text, target="serve").fleets[UserClass.WLC]
    fit = sized(fleet, 2, listen, over)
    plan = make_plan(fit.scenario, fleet.profile, use=fit.use, sessions_per_user=fit.sessions_per_user)
    assert [(wlc.host, wlc.port) for wlc in plan.wlcs] == found


@pytest.mark.parametrize(
    ("text", "options", "per_wlc"),
    [
        (SCENARIO, {}, 10.0),
        (PAIR, {}, 5.0),
        (PAIR, {"notify_rate": "2.5"}, 2.5),
        (PAIR.replace("rate = 10", "wire_rate = 20"), {}, 5.0),
        (SCENARIO.replace("rate = 10", 'interval = "500ms"\nburst = 3'), {}, 6.0),
    ],
)
def test_every_wlc_has_its_own_rate(tmp_path: Path, text: str, options: dict[str, str], per_wlc: float) -> None:
    for users in (1, 7):
        plan = plan_of(tmp_path, UserClass.WLC, users, text, **options)
        assert plan.load.stages[0].end_per_s * plan.load.burst == pytest.approx(per_wlc * users)


def test_the_load_goes_on_until_somebody_stops_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, UserClass.WLC, 100)
    schedule = plan.schedule()
    day = 86400 * 10**9
    slots = schedule.count_at(day)
    assert slots == 86400 * 1000 + 1
    assert schedule.due_ns(slots - 1) <= day < schedule.due_ns(slots)
    assert schedule.slots > 365 * slots


def test_no_two_workers_have_the_same_endpoints() -> None:
    assert [first_endpoint(index) for index in (0, 1, 255)] == [0, ENDPOINTS_PER_WORKER, 255 * ENDPOINTS_PER_WORKER]
    with pytest.raises(InputError, match="at most 256 workers"):
        first_endpoint(256)


def test_classes_follow_the_target_unless_they_were_picked(tmp_path: Path) -> None:
    assert [*chosen(tmp_path).fleets] == [UserClass.WLC]
    assert [*chosen(tmp_path, target="wlc=127.0.0.1:9").fleets] == [UserClass.MSE]
    path = tmp_path / "sample.toml"
    both = choose({"scenario": str(path)}, path, ["MseUser", "WlcUser"])
    assert set(both.fleets) == set(UserClass)
    with pytest.raises(InputError) as refusal:
        choose({"scenario": str(path), "target": "wlc=127.0.0.1:9"}, path, ["WlcUser"])
    assert str(refusal.value) == "--target wlc=127.0.0.1:9: expected users of class MseUser, found WlcUser"


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        chosen(tmp_path, target="mse=1.2.3.4:5", notify_rate="-1", stations="many", key="dsa")
    text = str(refusal.value)
    for part in (
        '--target: expected built-in, serve or wlc=HOST:PORT[,...], found "mse=1.2.3.4:5"',
        "--notify-rate: expected notifications per second, more than 0, found -1",
        "wlc.stations",
        "tls.key",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (SCENARIO.replace("rate = 10", 'kind = "handshake"'), "load.kind"),
        (SCENARIO + "[[mse.assign]]\nmse = 0\nwlc = [0]\n", "mse.assign"),
        (SCENARIO + '[mse]\nidentities = ["a.pem", "b.pem"]\ncount = 2\n', "mse.identities"),
    ],
)
def test_what_does_not_go_together_with_users_is_refused(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(InputError, match=where):
        chosen(tmp_path, text, target="wlc=127.0.0.1:9")


def test_arguments_are_kept_apart_from_whatever_else_locust_has(tmp_path: Path) -> None:
    path = tmp_path / "sample.toml"
    path.write_text(SCENARIO, "utf-8")
    given = choose({"host": "http://x", "loglevel": "INFO", "scenario": None, "key": "", "stations": "7"}, path)
    assert given.path == path
    assert given.scenario.wlc.stations == 7
    assert len({argument.name for argument in ARGUMENTS}) == len(ARGUMENTS) == 5


def test_workers_make_the_same_of_the_orders(tmp_path: Path) -> None:
    """By way of msgpack, and without the master's files."""
    master = chosen(tmp_path, PAIR, stations="7", notify_rate="3", key="rsa-2048")
    orders = master.orders("run", 1, 10, 2)
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.to_builtins(orders)))
    fleets = fleets_of(msgspec.convert(carried, Orders), tmp_path / "elsewhere")
    ours, theirs = sized(fleets[UserClass.WLC], 10), sized(master.fleets[UserClass.WLC], 10)
    assert ours == theirs


def test_what_is_no_scenario_is_refused_by_a_worker(tmp_path: Path) -> None:
    orders = chosen(tmp_path).orders("run", 1, 10, 2)
    bad = msgspec.structs.replace(orders, scenario={**orders.scenario, "wlc": {"stations": 0}})
    with pytest.raises(InputError, match=r"wlc\.stations"):
        fleets_of(bad, tmp_path)


FILES = """
[wlc]
auth_list = {name}
trust = {name}
[mse]
identities = [{name}]
[tls]
trust = {name}
"""
LISTS = "[[wlc.aaa.lists]]\nauth_list = {name}\n"


def orders_naming(folder: Path, name: str, text: str) -> Orders:
    orders = chosen(folder).orders("run", 1, 10, 2)
    tables = tomllib.loads(text.format(name=json.dumps(name)))
    return msgspec.structs.replace(orders, scenario=orders.scenario | tables)


@pytest.mark.parametrize("name", ["/etc/hostname", "../other.pem", "keys/../../other.pem", "out/x.pem", "a\0b"])
def test_a_worker_opens_no_file_but_of_its_own_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "files"
    (folder / "keys").mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(InputError) as refusal:
        fleets_of(orders_naming(tmp_path, name, FILES), folder)
    assert [problem.where for problem in refusal.value.problems] == [
        "wlc.auth_list",
        "mse.identities[0]",
        "wlc.trust",
        "tls.trust",
    ]
    assert {problem.expected for problem in refusal.value.problems} == {f"a file below {folder}"}
    with pytest.raises(InputError, match=r"wlc\.aaa\.lists\[0\]\.auth_list: expected a file below"):
        fleets_of(orders_naming(tmp_path, name, LISTS), folder)


@pytest.mark.parametrize("name", ["x.pem", "keys/x.pem", "keys/../x.pem", "{folder}/keys/x.pem"])
def test_a_worker_opens_files_of_its_own_folder(tmp_path: Path, name: str) -> None:
    for text in (FILES, LISTS):
        assert fleets_of(orders_naming(tmp_path, name.format(folder=tmp_path), text), tmp_path)


def test_a_worker_reads_no_profile_but_the_one_that_it_was_sent(tmp_path: Path) -> None:
    orders = orders_naming(tmp_path, "/dev/null/profile.toml", "profile = {name}")
    assert {fleet.profile.name for fleet in fleets_of(orders, tmp_path).values()} == {reference_profile().name}


NAMED = {"name": "named"}
# Texts of a scenario that are no names of files.
NO_FILES = {
    "name",
    "description",
    "profile",  # a part of the scenario: it travels with it
    "wlc.listen",
    "wlc.subservices",
    "mse.bind",  # addresses
    "mse.subscribe",
    "tls.groups",
    "requests.measurement.subservices",
    "requests.information.subservices",
    "requests.statistics.subservices",
    "requests.subscribe.subservices",
    "requests.unsubscribe.subservices",
    "requests.subscribe_groups.subservices",
    "requests.subscribe_groups.groups",
    "capacity.slo",
    "capacity.start",
    "capacity.max",
    "thresholds",
    "thresholds.threshold",
}


def texts_of(kind: inspect.Type, path: str) -> Iterator[str]:
    """Where in a struct there is any text."""
    match kind:
        case inspect.StrType():
            yield path
        case inspect.UnionType():
            for each in kind.types:
                yield from texts_of(each, path)
        case inspect.VarTupleType():
            yield from texts_of(kind.item_type, path)
        case inspect.DictType():
            yield from texts_of(kind.key_type, path)
        case inspect.StructType():
            for field in kind.fields:
                yield from texts_of(field.type, f"{path}.{field.encode_name}".lstrip("."))


def test_every_text_of_a_scenario_that_is_a_file_is_known_for_one() -> None:
    everything = tomllib.loads(FILES.format(name='"f"') + LISTS.format(name='"f"'))
    everything["load"] = {"kind": "replay", "capture": "f", "capture_keylog": "f"}  # of no users
    files = {re.sub(r"\[\d+\]", "", where) for where, _ in files_of(msgspec.convert({**NAMED, **everything}, Scenario))}
    assert set(texts_of(inspect.type_info(Scenario), "")) == NO_FILES | files


def test_a_plan_of_users_has_a_digest_of_what_it_asks_for(tmp_path: Path) -> None:
    digests = [plan_of(tmp_path, user, users).digest for user, users in ((UserClass.WLC, 2), (UserClass.WLC, 3))]
    assert len(set(digests)) == 2
