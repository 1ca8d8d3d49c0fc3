"""Made devices, and how well inference finds their layouts: `make infer-bench`.

python -m benchmarks.inference make --seed 3 --out DIR    the files of one
python -m benchmarks.inference table [--seed 3 ...]       the table; of the held-out ones without a seed
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.inference.making import HELD_OUT, TUNING, make_files
from benchmarks.inference.table import bench, table_of


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help=f"write the files; seeds {TUNING} are for tuning, {HELD_OUT} are held out")
    make.add_argument("--seed", type=int, required=True)
    make.add_argument("--out", type=Path, required=True)
    make.add_argument("--frames", type=int, help="of each capture, about so many")
    table = commands.add_parser("table", help="make, infer, score")
    table.add_argument("--seed", type=int, action="append")
    table.add_argument("--json", type=Path, help="write the figures there, too")
    asked = parser.parse_args(arguments)
    if asked.command == "make":
        counted = make_files(asked.seed, asked.out, asked.frames)
        print(", ".join(f"{name}: {frames:,} frames" for name, frames in counted.items()))
        return 0
    measured = bench(asked.seed or HELD_OUT, lambda text: print(text, file=sys.stderr, flush=True))
    if asked.json is not None:
        asked.json.write_text(json.dumps(measured, indent=1))
    print("\n".join(table_of(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
