#!/usr/bin/env bash
# rich 15.0.0: a Console whose pipe nobody reads any more raises SystemExit(1), not BrokenPipeError, so neither `except OSError`
# nor `except Exception` sees it, and points the process's stdout to /dev/null, even if the pipe was another one: a tool whose
# progress on stderr loses its reader loses its result on stdout.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check rich==15.0.0

cat > "$work/tool.py" <<'END'
import json
import os
import sys

from rich.console import Console

reader, writer = os.pipe()
os.close(reader)
progress = Console(file=os.fdopen(writer, "w")) if sys.argv[1] == "rich" else None
try:
    if progress:
        progress.print("50 %")
    else:
        os.write(writer, b"50 %\n")
except Exception as error:
    print(f"caught as an Exception: {type(error).__name__}", file=sys.stderr)
except SystemExit as error:
    print(f"not an Exception: SystemExit({error.code})", file=sys.stderr)
print(json.dumps({"requests": 1000}), flush=True)
os._exit(0)  # nothing is left to be flushed; the pipe's own buffer must not complain again
END

for how in plain rich; do
  timeout 60 "$work/venv/bin/python" "$work/tool.py" $how > "$work/$how.out" 2> "$work/$how.err" || true
  echo "progress to a pipe without a reader, $how: $(cat "$work/$how.err"); result on stdout: $(wc -c < "$work/$how.out") bytes"
done
"$work/venv/bin/pip" list --format freeze --disable-pip-version-check | grep '^rich=='
grep -q 'Exception: BrokenPipeError' "$work/plain.err" && grep -q 'SystemExit(1)' "$work/rich.err" &&
  [[ -s $work/plain.out && ! -s $work/rich.out ]] || { echo "behaviour changed"; exit 1; }
