"""`loadgen replay`: what was recorded becomes a load."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.arguments import (
    json_option,
    key_log_option,
    loading,
    quiet_option,
    results_option,
    threshold_option,
    wait_option,
)
from loadgen.commands.options import RunOptions
from loadgen.commands.replaying import ReplayOptions, source_of


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--profile", type=click.Path(path_type=Path), help="The wire profile that reads it.")
@click.option("--serve", type=click.Choice(["wlc", "mse"]), help="Play this side only.")
@click.option("--target", metavar="wlc=HOST:PORT[,...]", help="Play the MSEs, at somebody else's WLCs.")
@click.option("--scale", type=click.IntRange(min=1), metavar="N", help="Endpoints that play it.  [default: 1]")
@click.option("--speed", type=click.FloatRange(0.1, 100), metavar="X", help="Times as fast as recorded.  [default: 1]")
@click.option("--rate", type=float, metavar="N", help="Notifications per second of all WLCs, instead of a speed.")
@click.option("--duration", metavar="30s", help="How long; it begins again when it is over.  [default: once]")
@click.option(
    "--macs",
    type=click.Choice(["local", "oui"]),
    help="Where MACs of devices are mapped to: locally administered ones, or others of the same OUI.  [default: local]",
)
@click.option("--aps", is_flag=True, help="Map MACs of access points, too.")
@click.option(
    "--capture-keylog", type=click.Path(path_type=Path), metavar="FILE", help="Secrets of the tunnels in CAPTURE."
)
@click.option("--listen", metavar="HOST:PORT", help="Where the first of our WLCs does.  [default: 127.0.1.1:16113]")
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Any other key of a scenario; repeatable."
)
@click.option("--raw", is_flag=True, help="Without a profile: bytes as they were, one session for each recorded one.")
@click.option(
    "--identity",
    type=click.Path(path_type=Path),
    metavar="PEM",
    help="What --raw shows.  [default: a new one]",
)
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Processes per side; auto: by cores and descriptors.",
)
@wait_option
@results_option
@threshold_option
@json_option
@quiet_option
@key_log_option
def replay(
    capture: Path,
    profile: Path | None,
    serve: str | None,
    target: str | None,
    scale: int | None,
    speed: float | None,
    rate: float | None,
    duration: str | None,
    macs: str | None,
    aps: bool,
    capture_keylog: Path | None,
    listen: str | None,
    overrides: tuple[str, ...],
    raw: bool,
    identity: Path | None,
    workers: str,
    wait_for_target: str | None,
    results: Path,
    thresholds: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    keylog: Path | None,
) -> int:
    """Play what WLCs said in CAPTURE, from any number of them.

    CAPTURE is a pcap or pcapng file. Each endpoint has devices of its own. Both sides are ours by default. Exit
    codes are those of `loadgen run`; docs/replay.md has what is as recorded, and what is not.
    """
    played = ReplayOptions(
        *(capture, profile, scale, speed, rate, macs, aps, capture_keylog),
        *(listen, overrides, target, serve, workers),
    )
    if identity is not None and not raw:
        raise click.UsageError(
            "--identity is of --raw; otherwise --set mse.identities has the MSEs', and WLCs' are made"
        )
    if raw:
        with loading():
            from loadgen.commands.replaying_raw import play_raw

        return play_raw(played, identity)
    with loading():
        from loadgen.commands.showing_run import run_scenario

    options = RunOptions(source_of(played), duration, wait_for_target, results, thresholds, keylog)
    return run_scenario(options, json=as_json, quiet=quiet, trace=None, trace_limit=None)
