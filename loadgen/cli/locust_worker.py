"""`loadgen locust-worker`: work for a Locust master."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click


@click.command("locust-worker", short_help="Play the users of a Locust master.")
@click.option("--master-host", default="127.0.0.1", show_default=True, envvar="LOCUST_MASTER_NODE_HOST")
@click.option(
    "--master-port",
    default=5557,
    show_default=True,
    type=click.IntRange(1, 65535),
    envvar="LOCUST_MASTER_NODE_PORT",
)
@click.option("--patience", default="60s", show_default=True, metavar="60s", help="How long to look for a master.")
@click.option(
    "--silence",
    default="10s",
    show_default=True,
    metavar="10s",
    help="A master that does not answer for so long is taken for gone: the load ends, and it is looked for again.",
)
@click.option(
    "--files",
    default=".",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder of all identities and auth lists that the master's scenario names; here by default.",
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="With target `serve`: where this worker's first WLC listens, if not where the scenario says.",
)
@click.option("--local", is_flag=True, hidden=True, help="End when stdin is closed.")
def locust_worker(
    master_host: str, master_port: int, patience: str, silence: str, files: Path, listen: str | None, local: bool
) -> int:
    """Play the users of a Locust master that runs scenarios/locustfile.py.

    Exit code: 0 the master said quit, 3 no master, 6 one of its processes died, 130 interrupted.
    """
    from loadgen.commands.source import read_duration
    from loadgen.prepare.addresses import check_listen
    from loadgen.units import NS_PER_S

    patience_s = read_duration(patience, "--patience") / NS_PER_S
    silence_s = read_duration(silence, "--silence") / NS_PER_S
    if listen is not None:
        check_listen(listen)
    try:
        from loadgen.distributed.node.node import Node, NodeOptions
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: install loadgen with the extra `locust`") from error
    import trio

    from loadgen.run.forkserver import fork_server

    fork_server()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="[%(asctime)s] %(levelname)s/%(name)s: %(message)s"
    )
    options = NodeOptions(master_host, master_port, patience_s, silence_s, files.resolve(), listen, local)
    return trio.run(Node(options).run)
