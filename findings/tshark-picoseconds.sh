#!/usr/bin/env bash
# tshark 4.0.17 (Debian 12): a pcapng interface may count its times in any power of ten or two of a second (if_tsresol). One
# that is finer than some 10^-10 s is taken, without a word, and gives wrong times: the fraction of the second, in ticks, times
# 10^9 does not fit in 64 bits. Whole seconds are right, so that packets stay within the second, in an order that is none.
# 77: could not be tried (no apt-get here, or another release's packages).
set -euo pipefail

version=4.0.17-0+deb12u3
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
command -v apt-get > /dev/null || { echo "skipped: no apt-get"; exit 77; }
mkdir "$work/debs" "$work/home"
# Its own packages by their version; what else it links to and is on few machines, as the release has it.
(cd "$work/debs" && timeout 300 apt-get download -qq {tshark,libwireshark16,libwireshark-data,libwiretap13,libwsutil14}="$version" \
  libbrotli1 libc-ares2 libdbus-1-3 libglib2.0-0 libicu72 liblua5.2-0 libnghttp2-14 libpcap0.8 libsmi2ldbl libsnappy1v5 libxml2 \
  2> "$work/apt") ||
  { echo "skipped: no tshark $version: $(head -n 1 "$work/apt")"; exit 77; }
for package in "$work"/debs/*.deb; do
  dpkg -x "$package" "$work/root"
done
LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name libwireshark.so.16)")
export LD_LIBRARY_PATH HOME="$work/home" XDG_CONFIG_HOME="$work/home"
export WIRESHARK_DATA_DIR="$work/root/usr/share/wireshark" WIRESHARK_PLUGIN_DIR="$work/home"
missing=$(ldd "$work/root/usr/bin/tshark" | grep "not found" || true)
[[ -z $missing ]] || { echo "skipped: $missing"; exit 77; }

# Three packets, 1.25, 1.5 and 1.75 s after 1970, by a clock of the resolution $1 (as if_tsresol has it).
capture() {
  "${PYTHON:-python3}" - "$1" <<'END'
import struct
import sys

resolution = int(sys.argv[1])


def block(number, body):
    size = struct.pack("<I", 12 + len(body))
    sys.stdout.buffer.write(struct.pack("<I", number) + size + body + size)


block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
block(1, struct.pack("<HHIHHB3xHH", 1, 0, 0, 9, 1, resolution, 0, 0))
second = 1 << (resolution & 127) if resolution & 128 else 10**resolution
for quarters in (5, 6, 7):
    ticks = quarters * second // 4
    block(6, struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 60, 60) + bytes(60))
END
}

timeout 60 "$work/root/usr/bin/tshark" --version 2> "$work/err" | head -n 1
code=0
expect() {
  local seen
  capture "$1" > "$work/three.pcapng"
  seen=$(timeout 60 "$work/root/usr/bin/tshark" -n -r "$work/three.pcapng" -T fields -e frame.time_epoch 2> "$work/err" | paste -s -d ' ') ||
    seen="exit code $?"
  echo "$2: $seen"
  [[ $seen = "$3" ]] || code=1
}
right="1.250000000 1.500000000 1.750000000"
expect 9 "10^-9 s" "$right"
expect 10 "10^-10 s" "$right"
expect 162 "2^-34 s" "$right"
expect 12 "10^-12 s" "1.010192327 1.001937910 1.012130237"
expect 168 "2^-40 s" "1.015118976 1.013460736 1.011802496"
[[ $code = 0 ]] || { echo "behaviour changed"; exit 1; }
