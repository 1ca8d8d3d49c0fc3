"""`loadgen profile`: look at wire profiles, check them, compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.commands.output import display, say
from loadgen.errors import InputError, Problem

if TYPE_CHECKING:  # numpy takes its time to import
    from loadgen.nmsp.profile import WireProfile

REFERENCE = "reference"

_file = click.Path(path_type=Path)


@click.group()
def profile() -> None:
    """Wire profiles: how NMSP lies on the wire, as a file. FILE may be the word `reference`."""


@profile.command(short_help="Print the layout of FILE.")
@click.argument("file", type=_file, default=REFERENCE, required=False)
@click.option("--only", multiple=True, metavar="NAME", help="This message, with its records; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(file: Path, only: tuple[str, ...], as_json: bool) -> int:
    """Print the layout of FILE: offset, size, type, name, unit, and whether a public source names the field."""
    import msgspec

    from loadgen.nmsp.layout import describe
    from loadgen.report.layout import layout_tables
    from loadgen.results.document import as_json as json_of
    from loadgen.strict import one_of

    described = describe(_read(file))
    chosen = described.parts
    if only:
        names = set(only)
        if unknown := names - {part.name for part in described.parts}:
            known = [part.name for part in described.parts]
            raise InputError([Problem("--only", one_of(name, known), f'"{name}"') for name in sorted(unknown)])
        for _ in described.parts:  # records of records, too
            names |= {part.record for part in described.parts if part.name in names and part.record is not None}
        chosen = tuple(part for part in described.parts if part.name in names)
    if as_json:
        say(json_of(msgspec.structs.replace(described, parts=chosen)), nl=False)
    else:
        display(layout_tables(described, chosen))
    return 0


@profile.command()
@click.argument("file", type=_file)
def check(file: Path) -> int:
    """Say everything that is wrong with FILE, each with its place."""
    compiled = _read(file)
    say(f"ok: {compiled.name} {compiled.digest}, {len(compiled.layouts)} messages")
    return 0


@profile.command()
@click.argument("a", type=_file)
@click.argument("b", type=_file)
def diff(a: Path, b: Path) -> int:
    """Say what is laid out differently in B. Ends with 0 if nothing is, with 1 if something is."""
    from loadgen.nmsp.layout import differences

    # A problem with one file is no reason to hide that of the other.
    read: list[WireProfile] = []
    problems: list[Problem] = []
    for path in (a, b):
        try:
            read.append(_read(path))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    left, right = read
    sentences = differences(left, right)
    for sentence in sentences:
        say(sentence)
    return 1 if sentences else 0


@profile.command(short_help="Print a Wireshark dissector for FILE.")
@click.argument("file", type=_file, default=REFERENCE, required=False)
def dissector(file: Path) -> int:
    """Print a dissector of the layout of FILE for Wireshark and tshark, in Lua."""
    from loadgen.report.dissector import dissector as lua_of

    say(lua_of(_read(file)), nl=False)
    return 0


def _read(file: Path) -> WireProfile:
    from loadgen.nmsp.profile import load_profile, reference_profile

    return reference_profile() if str(file) == REFERENCE else load_profile(file)
