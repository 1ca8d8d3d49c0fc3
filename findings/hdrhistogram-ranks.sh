#!/usr/bin/env bash
# HdrHistogram: the same log has another p90 in Java (2.1.11) than in Python (0.10.8). A percentile's rank is rounded up by the
# one (14.4 of 16 is the 15th value) and to the nearest by the other (the 14th); with a long tail that is the whole tail.
# 77: could not be tried (no Java here, or another release's packages).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
command -v java > /dev/null || { echo "skipped: no java"; exit 77; }
(cd "$work" && apt-get download -qq libhdrhistogram-java=2.1.11-1 2> "$work/apt") ||
  { echo "skipped: no libhdrhistogram-java 2.1.11-1: $(head -n 1 "$work/apt")"; exit 77; }
dpkg -x "$work"/*.deb "$work/package"
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check hdrhistogram==0.10.8

"$work/venv/bin/python" - "$work/values.hlog" > "$work/python" <<'END'
import pathlib
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

histogram = HdrHistogram(1, 3_600_000_000, 3)
for value in [1_000] * 14 + [10_000, 100_000]:
    histogram.record_value(value)
path = pathlib.Path(sys.argv[1])
path.write_text(f"#[Histogram log format version 1.2]\n0.000,1.000,100000.000,{histogram.encode().decode()}\n")
decoded = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000, 3)).get_next_interval_histogram()
print(*(decoded.get_value_at_percentile(percentile) for percentile in (50, 90, 100)))
END

timeout 60 java -cp "$work/package/usr/share/java/hdrhistogram-2.1.11.jar" org.HdrHistogram.HistogramLogProcessor \
  -outputValueUnitRatio 1 -i "$work/values.hlog" -csv -o "$work/java"
# Of the interval: time, count, 50 %, 90 %, maximum.
java=$(tail -n 1 "$work/java" | cut -d , -f 3-5 | tr , ' ' | sed 's/\.000//g')
python=$(cat "$work/python")
echo "14 values of 1,000, one of 10,000, one of 100,000; 50 %, 90 %, 100 %:"
echo "Java 2.1.11:   $java"
echo "Python 0.10.8: $python"
[[ $java = "1000 10007 100031" && $python = "1000 1000 100031" ]] || { echo "behaviour changed"; exit 1; }
