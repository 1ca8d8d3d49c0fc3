#!/usr/bin/env bash
# hdrhistogram 0.10.8 (Python): HistogramLogWriter leaves a histogram's tag out, so a log that its own reader read is another
# one when written again; and its output_start_time raises for every time.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check hdrhistogram==0.10.8

timeout 60 "$work/venv/bin/python" - "$work" <<'END'
import importlib.metadata
import io
import pathlib
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader, HistogramLogWriter

folder = pathlib.Path(sys.argv[1])


def tags(path):
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000, 3))
    found = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found.append(histogram.get_tag())
    return found


lines = []
for tag, value in (("read", 1_000), ("write", 50_000)):
    histogram = HdrHistogram(1, 3_600_000_000, 3)
    histogram.record_value(value)
    lines.append(f"Tag={tag},0.000,1.000,{value}.000,{histogram.encode().decode()}\n")
first = folder / "first.hlog"
first.write_text("#[Histogram log format version 1.3]\n" + "".join(lines))

second = folder / "second.hlog"
with second.open("w") as file:
    writer = HistogramLogWriter(file)
    writer.output_log_format_version()
    reader = HistogramLogReader(str(first), HdrHistogram(1, 3_600_000_000, 3))
    while (histogram := reader.get_next_interval_histogram()) is not None:
        writer.output_interval_histogram(histogram, max_value_unit_ratio=1.0)

raised = []
for when in (0, 1_600_000_000, 1_600_000_000_000):
    try:
        HistogramLogWriter(io.StringIO()).output_start_time(when)
    except Exception as error:
        raised.append(type(error).__name__)
        print(f"output_start_time({when}): {type(error).__name__}: {error}")

print(f"hdrhistogram {importlib.metadata.version('hdrhistogram')}")
print(f"tags of the log: {tags(first)}; of the one that was written of its histograms: {tags(second)}")
if tags(first) != ["read", "write"] or any(tags(second)) or len(tags(second)) != 2 or len(raised) != 3:
    sys.exit("behaviour changed")
END
