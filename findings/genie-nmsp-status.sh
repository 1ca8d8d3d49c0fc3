#!/usr/bin/env bash
# genie 26.9: ShowNmspStatus reads `show nmsp status` by a pattern that a line must fit as a whole. A line with anything behind
# the transport, and one of a peer at ::1 or 2001:db8:: (an address that ends with its colons), is left out without a word, and
# the others are returned as if they were all. And genie.libs.parser 26.9 with pyats 26.9, as they install, cannot be imported:
# genie.metaparser comes with `genie`, which neither requires. (It takes 800 MB.)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
pip=("$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check)
"${pip[@]}" genie.libs.parser==26.9 pyats==26.9 || exit 77
alone=imported
"$work/venv/bin/python" -c 'from genie.libs.parser.iosxe.show_nmsp import ShowNmspStatus' 2> "$work/alone" || alone=$(tail -n 1 "$work/alone")
echo "genie.libs.parser and pyats alone: $alone"
"${pip[@]}" genie==26.9 || exit 77

timeout 120 "$work/venv/bin/python" - "$alone" <<'END'
import sys
from unittest.mock import Mock

from genie.libs.parser.iosxe.show_nmsp import ShowNmspStatus

LINE = "{:<41}Active    439           439           22965       22          TLS{}"
CASES = {
    "IPv4": ("192.0.2.10", ""),
    "IPv6": ("2001:db8::10", ""),
    "IPv6 that ends with its colons": ("2001:db8::", ""),
    "loopback": ("::1", ""),
    "a column more": ("192.0.2.11", "  58454"),
}
other = LINE.format("192.0.2.99", "")
read = {}
for name, (address, more) in CASES.items():
    output = LINE.format(address, more) + "\n" + other
    found = ShowNmspStatus(device=Mock()).cli(output=output)
    read[name] = address in found
    print(f"{name}: {sorted(found)}")
wanted = dict(zip(CASES, (True, True, False, False, False)))
if read != wanted or "genie.metaparser" not in sys.argv[1]:
    sys.exit("behaviour changed")
END
