#!/usr/bin/env bash
# hdrhistogram 0.10.8 (Python): a discarded histogram is not freed. It and its encoder refer to each other, so its buckets
# (264 KiB for 1 ns to 1 h with three digits) stay until a cyclic collection; and collections count objects, not bytes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check hdrhistogram==0.10.8

timeout 120 "$work/venv/bin/python" - <<'END'
import gc
import importlib.metadata
import sys
import weakref

from hdrh.histogram import HdrHistogram

DECODED = 400
MANY = 10


def most_at_once(encoded, collect):
    """Decodes one after the other, keeps none of them, and says how many were there at the same time."""
    alive = weakref.WeakSet()
    most = 0
    for _ in range(DECODED):
        alive.add(HdrHistogram.decode(encoded))
        if collect:
            gc.collect()
        most = max(most, len(alive))
    return most


histogram = HdrHistogram(1, 3_600_000_000_000, 3)
histogram.record_value(1_000_000)
encoded = histogram.encode()
size = histogram.counts_len * histogram.word_size

gc.collect()
gc.disable()
reference = weakref.ref(histogram)
del histogram
kept = reference() is not None
gc.enable()
gc.collect()
freed = reference() is None

as_is = most_at_once(encoded, collect=False)
gc.collect()
collected = most_at_once(encoded, collect=True)

print(f"hdrhistogram {importlib.metadata.version('hdrhistogram')}, Python {sys.version.split()[0]}, gc {gc.get_threshold()}")
print(f"after del, no collection yet: {'still there' if kept else 'freed'}")
print(f"after gc.collect(): {'freed' if freed else 'still there'}")
print(f"{DECODED} decoded, one at a time: up to {as_is} there at once, {as_is * size / 1e6:.1f} MB of buckets")
print(f"the same, gc.collect() after each: up to {collected}, {collected * size / 1e6:.1f} MB")
if not (kept and freed and as_is >= MANY and collected <= 1):
    sys.exit("behaviour changed")
END
