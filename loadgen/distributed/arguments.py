"""The arguments that a person gives on Locust's command line or in its web UI, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loadgen.distributed.messages import Orders
from loadgen.distributed.users import UserClass, UserFleet, sized
from loadgen.errors import InputError, Problem
from loadgen.nmsp.profile import WireProfile, profile_untrusted, reference_profile
from loadgen.prepare.addresses import read_targets
from loadgen.scenario.files import check_files, is_below
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import relative_to, scenario_untrusted
from loadgen.scenario.schema import Scenario
from loadgen.strict import read_toml_untrusted, shown

BUILT_IN, SERVE = "built-in", "serve"
_USES = {BUILT_IN: Use.BOTH, SERVE: Use.SERVE_WLC}


class Argument(NamedTuple):
    """One of them: its option and field, what is there at first, and its help. All of them are text.

    Attributes:
        hint: the help as the field's label has room for it, on a phone too.
    """

    name: str
    default: str
    hint: str
    help: str
    choices: tuple[str, ...] = ()


ARGUMENTS = (
    Argument("scenario", "", "file; empty: default", "Scenario file; scenarios/locust.toml if empty."),
    Argument(
        "target",
        BUILT_IN,
        "built-in, serve, wlc=HOST:PORT",
        "built-in: both sides are ours. wlc=HOST:PORT[,...]: our MSEs, at somebody else's WLCs. "
        "serve: our WLCs, where wlc.listen says, for somebody else's MSEs.",
    ),
    Argument("notify_rate", "", "/s of each WLC", "Notifications per second of each WLC; the scenario's if empty."),
    Argument("stations", "", "of each WLC", "Mobile stations of each WLC; the scenario's if empty."),
    Argument("key", "", "type of all", "Type of all keys; the scenario's if empty.", ("", "p256", "rsa-2048")),
)


class Chosen(NamedTuple):
    """What the arguments come to: checked, and ready for a number of users.

    Attributes:
        fleets: by class of the users that there will be.
        scenario_data, profile_data: parsed TOML, for the workers.
    """

    path: Path
    scenario: Scenario
    profile: WireProfile
    fleets: dict[UserClass, UserFleet]
    target: str
    per_s: float | None
    scenario_data: dict[str, Any]
    profile_data: dict[str, Any] | None

    def orders(self, run: str, epoch_unix_ns: int, users: int, workers: int) -> Orders:
        """What the workers are told."""
        return Orders(
            run=run,
            epoch_unix_ns=epoch_unix_ns,
            scenario=self.scenario_data,
            profile=self.profile_data,
            target=self.target,
            per_s=self.per_s,
            users=users,
            workers=workers,
        )

    def plan(self, users: int) -> Plan:
        """The plan of all users together, as if they were one worker's; of the first class.

        Raises:
            InputError: that number cannot be.
        """
        fleet = next(iter(self.fleets.values()))
        whole = sized(fleet, max(1, users))
        return make_plan(
            whole.scenario,
            self.profile,
            use=whole.use,
            targets=fleet.targets,
            sessions_per_user=whole.sessions_per_user,
        )


def check_scenario_below(name: str, folder: Path) -> None:
    """What somebody on the web names is a file of this machine: the operator's folder of scenarios is theirs to choose
    from, and nothing else.

    Raises:
        InputError
    """
    if name and not is_below(Path(name), folder):
        raise InputError(Problem("--scenario", f"a file below {folder}", shown(name)))


def choose(options: Mapping[str, object], default_scenario: Path, wanted: Sequence[str] = ()) -> Chosen:
    """Check what somebody gave.

    Args:
        options: by the names of `ARGUMENTS`; more than those is left alone.
        wanted: names of user classes that were picked; empty: what fits the target.

    Raises:
        InputError: every problem, by the argument's option.
    """
    given = {argument.name: str(options.get(argument.name) or "").strip() for argument in ARGUMENTS}
    problems: list[Problem] = []
    path = Path(given["scenario"] or default_scenario)
    overrides = []
    if given["stations"]:
        overrides.append(f"wlc.stations={given['stations']}")
    if given["key"]:
        overrides.append(f'tls.key="{given["key"]}"')
    per_s = None
    if given["notify_rate"]:
        try:
            per_s = float(given["notify_rate"])
            if not 0 < per_s <= 1e9:
                raise ValueError
        except ValueError:
            problems.append(Problem("--notify-rate", "notifications per second, more than 0", given["notify_rate"]))
    target = given["target"] or BUILT_IN
    use, targets = Use.TARGET_WLC, tuple[tuple[str, int], ...]()
    try:
        use, targets = read_target(target)
    except InputError as error:
        problems.extend(error.problems)
    classes: dict[UserClass, None] = {}
    fitting = {Use.BOTH: tuple(UserClass), Use.TARGET_WLC: (UserClass.MSE,), Use.SERVE_WLC: (UserClass.WLC,)}[use]
    for name in wanted:
        if name in fitting:
            classes[UserClass(name)] = None
        else:
            problems.append(Problem(f"--target {target}", f"users of class {' or '.join(fitting)}", name))
    try:
        data = read_toml_untrusted(path, "a scenario")
        scenario, profile = scenario_untrusted(data, path, overrides)
        profile_data = None
        if scenario.profile is not None:
            profile_data = read_toml_untrusted(relative_to(path, scenario.profile), "a wire profile")
        fleets = {
            user: UserFleet(scenario, profile, user, use, targets, per_s) for user in (classes or {fitting[0]: None})
        }
        for fleet in fleets.values():
            sized(fleet, 1)
    except InputError as error:
        problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return Chosen(path, scenario, profile, fleets, target, per_s, data, profile_data)


def fleets_of(orders: Orders, directory: Path) -> dict[UserClass, UserFleet]:
    """What a worker's users are, by class; whichever of them it is told to have.

    Args:
        directory: where files are that the scenario names; nobody has this worker open others.

    Raises:
        InputError: what came from the master is no scenario, or names other files.
    """
    use, targets = read_target(orders.target)
    if orders.profile is None:
        profile = reference_profile()
    else:
        profile = profile_untrusted(orders.profile, "the master's wire profile")
    source = directory / "the master's scenario"
    scenario, profile = scenario_untrusted(dict(orders.scenario), source, profile=profile)
    if problems := check_files(scenario, directory):
        raise InputError(problems)
    return {user: UserFleet(scenario, profile, user, use, targets, orders.per_s) for user in UserClass}


def read_target(text: str) -> tuple[Use, tuple[tuple[str, int], ...]]:
    """Which sides are ours, and where the others are.

    Raises:
        InputError: it is none of the three, or every address that is none or does not resolve.
    """
    if text in _USES:
        return _USES[text], ()
    return Use.TARGET_WLC, read_targets(text, "--target", f"{BUILT_IN}, {SERVE} or wlc=HOST:PORT[,...]")
