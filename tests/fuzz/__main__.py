"""Fuzzes the targets one after the other, guided by coverage (Atheris, which is LLVM's libFuzzer for Python).

Exit codes: 0 nothing was found; 1 something was, and its input is in results/fuzz; 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# What the tests share, as pytest finds it.
sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "tests" / "nmsp")]
FOUND = ROOT / "results" / "fuzz"
_GRACE_S = 120
_MOST_MEMORY_MIB = 2048
_LONGEST_S = 20  # for one input; the slowest takes 50 ms
_NEW = re.compile(r"^#(\d+)\s.*cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of a target: how often it was run, edges, and the input that it failed for."""

    runs: int
    edges: int
    found: Path | None
    output: str


def main() -> int:
    arguments = _arguments()
    if arguments.inside is not None:
        _inside(arguments.inside, arguments.rest)
    from fuzz_corpus import lines_of, read, smallest, write
    from fuzz_targets import TARGETS

    if unknown := [name for name in arguments.target if name not in TARGETS]:
        print(f"fuzz: expected targets among {', '.join(TARGETS)}; found {', '.join(unknown)}", file=sys.stderr)
        return 2
    names = arguments.target or list(TARGETS)
    per_share = arguments.seconds / sum(TARGETS[name].share for name in names)
    failed = False
    print(f"{'target':14}{'s':>6}{'runs':>12}{'edges':>8}{'lines':>8}{'kept':>6}{'new':>5}")
    for name in names:
        target, seconds = TARGETS[name], max(1, round(per_share * TARGETS[name].share))
        if missing := target.missing():
            print(f"{name:14} is not run: {missing}")
            continue
        known = read(name)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            for data in known + read(f"{name}-found") + list(target.seeds()):
                (corpus / f"{hash(data) & 0xFFFFFFFFFFFFFFFF:016x}").write_bytes(data)
            outcome = _fuzz(name, corpus, seconds, target.max_bytes)
            inputs = [path.read_bytes() for path in corpus.iterdir()] if outcome.found is None else known
        if outcome.found is None:
            kept, steps = smallest(target.run, inputs, target.native_steps)
            new = len(set(kept) - set(known))
            print(f"{name:14}{seconds:6}{outcome.runs:12,}{outcome.edges:8,}{lines_of(steps):8,}{len(kept):6}{new:5}")
            if arguments.keep:
                write(name, kept)
        else:
            failed = True
            print(f"{name}: failed after {outcome.runs:,} runs; the input is {outcome.found}\n{outcome.output}")
        sys.stdout.flush()
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help="all of them without it")
    parser.add_argument("--seconds", type=float, default=3600, help="for all of them together")
    parser.add_argument("--keep", action="store_true", help="write what takes new steps to tests/fuzz/corpus")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if rest and arguments.inside is None:
        parser.error(f"unknown options: {' '.join(rest)}")
    arguments.rest = [*arguments.target, *rest]
    return arguments


def _fuzz(name: str, corpus: Path, seconds: int, max_bytes: int) -> Outcome:
    """One target in a process of its own, which libFuzzer ends."""
    FOUND.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "max_len": max_bytes,
        "timeout": _LONGEST_S,
        "rss_limit_mb": _MOST_MEMORY_MIB,
        "artifact_prefix": f"{FOUND}/{name}-",
        "print_final_stats": 1,
        "use_value_profile": 1,
    }
    before = set(FOUND.iterdir())
    command = [sys.executable, __file__, "--inside", name, str(corpus), *(f"-{k}={v}" for k, v in options.items())]
    # libFuzzer ends without tidying up: what is made there goes with the corpus.
    environment = {**os.environ, "TMPDIR": str(corpus.parent)}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + _GRACE_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as late:
        output = (late.output or b"").decode("utf-8", "replace")
        raise SystemExit(f"fuzz: {name} did not end {_GRACE_S} s after its time\n{output[-4000:]}") from None
    output = done.stdout.decode("utf-8", "replace")
    lines = _NEW.findall(output)
    runs, edges = (int(lines[-1][0]), int(lines[-1][1])) if lines else (0, 0)
    new = sorted(set(FOUND.iterdir()) - before)
    if not new and done.returncode:
        raise SystemExit(f"fuzz: {name} ended with {done.returncode}\n{output[-4000:]}")
    return Outcome(runs, edges, new[0] if new else None, output[-4000:])


def _inside(name: str, options: list[str]) -> None:
    """In the target's own process: instrument our code, and hand over to libFuzzer, which does not return."""
    import atheris

    with atheris.instrument_imports(include=["loadgen"]):
        from fuzz_targets import TARGETS
    warnings.simplefilter("error")
    atheris.Setup([sys.argv[0], *options], TARGETS[name].run)
    if TARGETS[name].is_native:
        from fuzz_native_child import child

        child().tell_libfuzzer()
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
