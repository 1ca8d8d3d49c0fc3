"""Every target, by name: what it does with bytes, where it begins, and how much of a run's time is its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import fuzz_captures
import fuzz_datagrams
import fuzz_dialogues
import fuzz_files
import fuzz_layouts
import fuzz_native
import fuzz_native_child
import fuzz_native_sending
import fuzz_sessions
import fuzz_shards
import fuzz_tunnels
import fuzz_wire
from fuzz_corpus import Step


class Target(NamedTuple):
    """Attributes:
    run: raises if something is wrong. share: of the time, compared with the others'.
    is_native: what is fuzzed is C, in a process of its own.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    share: int
    max_bytes: int = 2048
    is_native: bool = False

    def missing(self) -> str | None:
        """Why it cannot be run here; None: it can."""
        return fuzz_native_child.missing() if self.is_native else None

    def native_steps(self) -> set[Step]:
        """Those in C since this was asked last."""
        return fuzz_native_child.child().steps() if self.is_native else set()


TARGETS = {
    "framing": Target(fuzz_wire.framing, fuzz_wire.framing_seeds, 3, 8192),
    "bodies": Target(fuzz_wire.bodies, fuzz_wire.bodies_seeds, 3, 4096),
    "sessions": Target(fuzz_sessions.sessions, fuzz_sessions.sessions_seeds, 4),
    "dialogue": Target(fuzz_dialogues.dialogues, fuzz_dialogues.dialogues_seeds, 3, 512),
    "mse-shard": Target(fuzz_shards.mse_shard, fuzz_shards.mse_shard_seeds, 4),
    "wlc-shard": Target(fuzz_shards.wlc_shard, fuzz_shards.wlc_shard_seeds, 4),
    "site-shard": Target(fuzz_shards.site_shard, fuzz_shards.site_shard_seeds, 3),
    "datagrams": Target(fuzz_datagrams.datagrams, fuzz_datagrams.datagrams_seeds, 3),
    "layouts": Target(fuzz_layouts.layouts, fuzz_layouts.layouts_seeds, 3, 512),
    "nesting": Target(fuzz_layouts.nesting, fuzz_layouts.nesting_seeds, 3, 2048),
    "shapes": Target(fuzz_layouts.shapes, fuzz_layouts.shapes_seeds, 3, 512),
    "captures": Target(fuzz_captures.captures, fuzz_captures.captures_seeds, 3, 4096),
    "tunnels": Target(fuzz_tunnels.tunnels, fuzz_tunnels.tunnels_seeds, 3, 4096),
    "profiles": Target(fuzz_files.profiles, fuzz_files.profiles_seeds, 3, 256),
    "scenarios": Target(fuzz_files.scenarios, fuzz_files.scenarios_seeds, 2, 256),
    "toml": Target(fuzz_files.toml, fuzz_files.toml_seeds, 1, 8192),
    "device-text": Target(fuzz_files.device_text, fuzz_files.device_text_seeds, 1, 4096),
    "pem": Target(fuzz_files.pem, fuzz_files.pem_seeds, 1, 4096),
    "interval-log": Target(fuzz_files.interval_log, fuzz_files.interval_log_seeds, 1, 4096),
    "native-receive": Target(fuzz_native.receiving, fuzz_native.receiving_seeds, 4, 512, is_native=True),
    "native-send": Target(fuzz_native_sending.sending, fuzz_native_sending.sending_seeds, 4, 512, is_native=True),
    "native-count": Target(fuzz_native.counting, fuzz_native.counting_seeds, 1, 512, is_native=True),
}
