"""`python -m benchmarks.inference make --seed 3 --out DIR`: the files of a made device."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.inference.making import HELD_OUT, TUNING, make_files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.inference", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help=f"write the files; seeds {TUNING} are for tuning, {HELD_OUT} are held out")
    make.add_argument("--seed", type=int, required=True)
    make.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(arguments)
    counted = make_files(asked.seed, asked.out)
    print(", ".join(f"{name}: {frames:,} frames" for name, frames in counted.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
