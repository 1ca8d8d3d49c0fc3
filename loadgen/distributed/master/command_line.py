"""Our options on Locust's command line, and what a plain `locust -f scenarios/locustfile.py` is: a master."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from typing import Any

from locust.argument_parser import LocustArgumentParser

from loadgen.distributed.arguments import ARGUMENTS

_USE_INSTEAD = "this locustfile's users are played by `loadgen locust-worker`, which is started instead"


class _Unless(str):
    """A default that is told from what somebody gave. True, like any text that is not empty."""

    __slots__ = ()


class _UnlessInt(int):
    """The same for a number."""


def add_options(parser: LocustArgumentParser) -> None:
    """Add what `options.results`, `.local_workers` and the arguments of a run are read from.

    `parser.parse_args` then also settles who is master: unless somebody has said so, by option, environment or file,
    we are, with workers of our own.
    """
    for argument in ARGUMENTS:
        option = f"--{argument.name.replace('_', '-')}"
        more = {"choices": list(argument.choices)} if argument.choices else {}
        parser.add_argument(option, default=argument.default, help=argument.help, **more)
    parser.add_argument(
        "--results", default="results", metavar="<folder>", include_in_web_ui=False, help="Where result folders go."
    )
    parser.add_argument(
        "--local-workers",
        type=_count,
        default=None,
        metavar="<int>",
        include_in_web_ui=False,
        help="Workers to start on this machine; one per core, or none with --master or --expect-workers.",
    )
    parser.set_defaults(master=_Unless("by default"), expect_workers=_UnlessInt(1))
    parse = parser.parse_args

    def parse_args(*args: Any, **more: Any) -> Any:
        options = parse(*args, **more)
        _settle(parser, options)
        return options

    parser.parse_args = parse_args


def _settle(parser: LocustArgumentParser, options: Any) -> None:
    if options.worker:
        parser.error(f"--worker: {_USE_INSTEAD}, with --master-host and --master-port")
    if options.processes:
        parser.error(f"--processes: {_USE_INSTEAD}, as many as --local-workers says")
    elsewhere = not isinstance(options.master, _Unless) or not isinstance(options.expect_workers, _UnlessInt)
    if options.local_workers is None:
        options.local_workers = 0 if elsewhere else len(os.sched_getaffinity(0))
    if isinstance(options.expect_workers, _UnlessInt):
        options.expect_workers = max(1, options.local_workers)
    options.expect_workers = int(options.expect_workers)
    options.master = True


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 1024:
        raise ArgumentTypeError(f"expected a number from 0 to 1024, found {text}")
    return int(text)
