"""`loadgen record anonymize` as people start it: what is printed of it."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.commands.anonymizer import AnonymizeResult, anonymize
from loadgen.commands.options import AnonymizeOptions
from loadgen.commands.output import complain, say
from loadgen.foreign import plain


def write_anonymous(options: AnonymizeOptions) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError, NotWritten: as of `anonymize`.
    """
    result = anonymize(options)
    for line in _summary(options, result):
        say(line)
    for each in result.undecrypted:
        complain(plain(str(each)))
    return 0


def _summary(options: AnonymizeOptions, result: AnonymizeResult) -> Iterator[str]:
    count, tally = result.count, result.tally
    yield f"{count.conversations:,} conversations; {count.replaced:,} MACs, addresses and texts inside replaced"
    if options.profile is not None:
        unknown = f", {count.unknown_frames:,} of them unknown to the profile" if count.unknown_frames else ""
        yield f"{count.frames:,} frames{unknown}"
    if count.blanked:
        yield f"{count.blanked:,} bytes that the profile does not know are zeros now (--keep-unknown keeps them)"
    if count.left_out:
        yield f"{count.left_out:,} bytes in no whole frame, or behind a hole, are left out"
    if tally.cut_at is not None:
        yield f"{plain(str(options.source))} ends in the midst of a packet"
    yield f"wrote {options.out}"
