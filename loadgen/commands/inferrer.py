"""An inference: from captures to a layout, a profile, and what is known of how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

import msgspec

from loadgen.capture.events import Conversation, Data, Event
from loadgen.capture.keylog import TunnelKeys
from loadgen.capture.reading import SERVER_PORT, events_of, secrets_of
from loadgen.capture.streams import Exchange, collect
from loadgen.capture.tally import Tally
from loadgen.capture.tls import Undecrypted, decrypted
from loadgen.commands.recorded import chunks_of, lines_of
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.infer.completing import completed, frames_by
from loadgen.infer.frames import Frame
from loadgen.infer.hinting import HintsDocument, contradicted, hints_untrusted
from loadgen.infer.inference import Hints, Inference
from loadgen.infer.inference import infer as infer_layout
from loadgen.infer.layout_document import HowFound, LayoutDocument
from loadgen.infer.profile_text import profile_text
from loadgen.infer.to_profile import MadeProfile, profile_of
from loadgen.nmsp.profile import profile_untrusted
from loadgen.strict import parse_toml_untrusted, read_toml_untrusted

# Of plaintext of all captures together: what comes behind is not looked at. A frame has some 100 bytes.
MOST_BYTES = 128 << 20
_MOST_NAMED = 5


@dataclass(frozen=True)
class InferResult:
    """What was found.

    Attributes:
        layout: with its findings; None: there is none, and `why` says why.
        profile: the text of a profile's file; None: none can be made of the layout, and `problems` says why.
        frames: that were cut, by session, in their order.
        findings: also of what has no layout.
    """

    layout: LayoutDocument | None
    findings: HowFound
    why: str = ""
    profile: str | None = None
    problems: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = field(default=(), repr=False)

    @property
    def exit_code(self) -> ExitCode:
        """0: there is a profile, and it is usable; 5: only a layout, or nothing that can be relied upon."""
        return ExitCode.PASSED if self.profile is not None else ExitCode.INCONCLUSIVE

    def as_json(self) -> bytes:
        """The layout with confidence and evidence, as `loadgen schema inference` has it.

        Raises:
            ValueError: there is none.
        """
        if self.layout is None:
            raise ValueError(self.why)
        order = self.layout.byte_order
        table = {"format": "layout-1", "byte_order": order, **msgspec.to_builtins(self.layout)}
        return msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n"


def infer(
    captures: Sequence[str | PathLike[str]],
    *,
    hints: str | PathLike[str] | None = None,
    port: int = SERVER_PORT,
    keylog: str | PathLike[str] | None = None,
    name: str = "found",
    on_progress: Callable[[str], None] = lambda _: None,
) -> InferResult:
    """The layout that the sessions of captures speak, as far as it can be told from them.

    Args:
        captures: pcap or pcapng; of one device.
        hints: a TOML file with what is known of them.
        port: of the WLCs, where no beginning of a connection was captured.
        keylog: the secrets of their tunnels (NSS format), beside those inside of the captures.
        name: of the profile.
        on_progress: told now and then what is being done.

    Raises:
        InputError: something cannot be read, or all sessions are encrypted and their keys are missing.
    """
    known, told = HintsDocument(), Hints()
    if hints is not None:
        path = Path(hints)
        known, told = hints_untrusted(read_toml_untrusted(path, "hints"), str(path))
    reading = _Reading(port, None if keylog is None else Path(keylog), on_progress)
    paths = [Path(capture) for capture in captures]
    exchanges = reading.exchanges(paths)
    on_progress(f"{len(exchanges):,} sessions, {reading.total:,} bytes: looking for frames, then for fields")
    found = infer_layout(exchanges, told)
    frames = [] if found.layout is None else frames_by(found.layout, exchanges)
    findings = _findings(paths, exchanges, reading, found)
    wrong = tuple(contradicted(known, told, exchanges, found.layout, frames))
    findings = msgspec.structs.replace(findings, contradicted=wrong)
    if found.layout is None:
        return InferResult(None, findings, found.why)
    on_progress(f"{found.frames:,} frames: making a profile")
    layout = msgspec.structs.replace(completed(found.layout, frames, found.checksum), name=name)
    made = profile_of(layout, [(name, sender) for sender, name in found.dialogue] or None)
    findings = msgspec.structs.replace(findings, unsaid=tuple(made.unsaid), guesses=made.guesses)
    layout = msgspec.structs.replace(layout, findings=findings)
    text, problems = _checked(made, findings)
    return InferResult(layout, findings, "", text, problems, tuple(frames))


class _Reading:
    """Captures, read one after the other: all their conversations, each with a number of its own."""

    def __init__(self, port: int, key_log: Path | None, on_progress: Callable[[str], None]) -> None:
        self._port, self._key_log, self._on_progress = port, key_log, on_progress
        self.undecrypted: list[Undecrypted] = []
        self.total = 0
        self.stopped = False
        self.left_out: list[str] = []

    def exchanges(self, paths: Sequence[Path]) -> list[Exchange]:
        found: list[Exchange] = []
        for path in paths:
            self._on_progress(f"reading {path}")
            keys = TunnelKeys()
            if self._key_log is not None:
                for lines in lines_of(self._key_log):
                    keys.add(lines)
            for secrets in secrets_of(chunks_of(path), name=str(path)):
                keys.add(secrets)
            tally = Tally()
            captured = events_of(chunks_of(path), port=self._port, name=str(path), tally=tally)
            for exchange in collect(self._bounded(decrypted(captured, keys, self.undecrypted))):
                index = len(found)
                exchange.conversation = _numbered(exchange.conversation, index)
                found.append(exchange)
            self.left_out += [f"{path.name}: {each}" for each in tally.left_out()]
        if not any(len(exchange.client) + len(exchange.server) for exchange in found) and self.undecrypted:
            named = [Problem(str(paths[0]), "tunnels with their keys", str(each)) for each in self.undecrypted]
            raise InputError(named[:_MOST_NAMED])
        return found

    def _bounded(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Data):
                self.total += len(event.data)
                if self.total > MOST_BYTES:
                    self.stopped = True
                    return
            yield event


def _numbered(conversation: Conversation, index: int) -> Conversation:
    return replace(conversation, index=index)


def _findings(paths: Sequence[Path], exchanges: Sequence[Exchange], reading: _Reading, found: Inference) -> HowFound:
    remarks = [*reading.left_out, *(f"not decrypted: {each}" for each in reading.undecrypted[:_MOST_NAMED])]
    if len(reading.undecrypted) > _MOST_NAMED:
        remarks.append(f"not decrypted: {len(reading.undecrypted) - _MOST_NAMED:,} more")
    if reading.stopped:
        remarks.append(f"only the first {MOST_BYTES >> 20} MiB of plaintext were looked at")
    holes = sum(len(stream.holes) for each in exchanges for stream in (each.client, each.server))
    if holes:
        remarks.append(
            f"{holes:,} places where the captures miss bytes; frames go on behind them where that is certain"
        )
    if found.left_alone:
        named = ", ".join(found.left_alone[:_MOST_NAMED]) + (", ..." if len(found.left_alone) > _MOST_NAMED else "")
        remarks.append(f"left alone: {len(found.left_alone):,} messages, as there is too much to look for: {named}")
    return HowFound(
        captures=tuple(path.name for path in paths),
        sessions=len(exchanges),
        frames=found.frames,
        left_out=found.left_out,
        decoded=round(found.decoded, 4),
        explained=round(found.explained, 4),
        unexplained={name: round(share, 4) for name, share in found.unexplained.items()},
        across_decoded=None if found.across is None else round(found.across.decoded, 4),
        across_explained=None if found.across is None else round(found.across.explained, 4),
        dialogue=tuple(found.dialogue),
        others=tuple(found.framing),
        doubts=tuple(found.doubts),
        remarks=tuple(remarks),
    )


def _checked(made: MadeProfile, findings: HowFound) -> tuple[str | None, tuple[str, ...]]:
    """The text of the profile, if it passes as one; else what is wrong with it."""
    if made.missing:
        return None, tuple(made.missing)
    about = [
        f"Found by `loadgen infer` in {', '.join(findings.captures)}: {findings.frames:,} frames of "
        f"{findings.sessions:,} sessions; {findings.decoded:.1%} of those held out are read from end to end, "
        f"{findings.explained:.1%} of the bytes of their bodies have a role.",
        "What is behind a field says why it is one. Look at what is called a guess before you rely on it.",
    ]
    text = profile_text(made, about)
    try:
        profile_untrusted(parse_toml_untrusted(text), "found")
    except InputError as error:
        said = [(each.where.removeprefix("found: "), each.expected, each.found) for each in error.problems]
        why = [each for each in made.unsaid if any(each.startswith(f"{where}: ") for where, *_ in said)]
        return None, (*(f"{where}: expected {expected}, found {found}" for where, expected, found in said), *why)
    return text, ()
