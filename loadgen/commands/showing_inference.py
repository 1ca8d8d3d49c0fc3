"""`loadgen infer` as people start it: what is printed and written, and which exit code it comes to."""

from __future__ import annotations

from pathlib import Path

from loadgen.commands.inferrer import infer
from loadgen.commands.options import InferOptions
from loadgen.commands.output import announce, complain, display, say
from loadgen.errors import InputError
from loadgen.files import already_there, write_new
from loadgen.report.inference import inference_page
from loadgen.report.inference_tables import found_tables, summary

# All of them have bytes in them that people's devices said.
_MODE = 0o600


def infer_captures(options: InferOptions, *, quiet: bool) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable, or cannot be written.
    """
    paths = [path for path in (options.out, options.as_json, options.report) if path is not None]
    there = [] if options.force else [path for path in paths if path.exists() or path.is_symlink()]
    if there:
        raise InputError([already_there(path) for path in there])
    result = infer(
        options.captures,
        hints=options.hints,
        port=options.port,
        keylog=options.key_log,
        name=options.out.stem,
        on_progress=(lambda _: None) if quiet else announce,
    )

    def write(path: Path, data: bytes) -> None:
        write_new(path, data, _MODE, replace=options.force)
        if not quiet:
            announce(f"wrote {path}")

    if not quiet and result.layout is not None:
        display(found_tables(result.layout))
    if not quiet:
        for line in summary(result.findings, found=result.layout is not None):
            say(line)
    if result.profile is not None:
        write(options.out, result.profile.encode())
    if result.layout is not None and options.as_json is not None:
        write(options.as_json, result.as_json())
    if result.layout is not None and options.report is not None:
        write(options.report, inference_page(result.layout, result.frames).encode())
    if result.layout is None:
        complain(f"no layout was found: {result.why}")
    elif result.profile is None:
        complain(
            "the layout was found, but no profile can say it:\n" + "\n".join(f"  {each}" for each in result.problems)
        )
    return int(result.exit_code)
