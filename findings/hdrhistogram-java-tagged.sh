#!/usr/bin/env bash
# HdrHistogram for Java 2.1.11, HistogramLogProcessor: of a log whose lines are all tagged it shows nothing without -tag, with
# an exception on stderr; of one that is not there, nothing either. It exits with 0 both times.
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

"$work/venv/bin/python" - > "$work/tagged.hlog" <<'END'
from hdrh.histogram import HdrHistogram

histogram = HdrHistogram(1, 3_600_000_000, 3)
for value in range(1, 101):
    histogram.record_value(value * 1_000)
print("#[Histogram log format version 1.3]")
print(f"Tag=latency,0.000,1.000,{histogram.get_max_value()}.000,{histogram.encode().decode()}")
END

processor() {
  timeout 60 java -cp "$work/package/usr/share/java/hdrhistogram-2.1.11.jar" org.HdrHistogram.HistogramLogProcessor \
    -outputValueUnitRatio 1 "$@" > "$work/out" 2> "$work/err" && code=0 || code=$?
  echo "$(wc -l < "$work/out") lines on stdout, exit $code; stderr: $(head -n 1 "$work/err")"
}

changed() { echo "behaviour changed"; exit 1; }

echo "libhdrhistogram-java 2.1.11, $(java -version 2>&1 | head -n 1)"
echo -n "tagged log, -tag latency: "
processor -i "$work/tagged.hlog" -tag latency
[[ $code = 0 && -s $work/out && ! -s $work/err ]] || changed
echo -n "tagged log, without -tag: "
processor -i "$work/tagged.hlog"
grep -q NullPointerException "$work/err" && [[ $code = 0 && ! -s $work/out ]] || changed
echo -n "no such file: "
processor -i "$work/missing.hlog"
[[ $code = 0 && ! -s $work/out && -s $work/err ]] || changed
