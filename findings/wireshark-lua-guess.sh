#!/usr/bin/env bash
# tshark 4.0.17 (Debian 12): a dissector in Lua that has its messages put together by dissect_tcp_pdus() gets them whole when
# it is found by its port. When a heuristic of its own hands over to it by proto.dissector(tvb, pinfo, tree), as the heuristic
# in Wireshark's example of a dissector does (over UDP), it does not: that counts as one more dissector, and one further up
# from TCP has a pinfo.can_desegment of 0. Nothing is said; the message is cut off, and its rest is read as if it began one.
# The same function called as what it is, a function of Lua, gets them whole. Nor does the 0 forbid anything: what a
# dissector asks for by pinfo.desegment_len in spite of it is put together.
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
# Without init.lua, which the package links to outside of itself, root's scripts are not run.
ln -sf "$work/root/etc/wireshark/init.lua" "$work/root/usr/share/wireshark/init.lua"
LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name libwireshark.so.16)")
export LD_LIBRARY_PATH HOME="$work/home" XDG_CONFIG_HOME="$work/home"
export WIRESHARK_DATA_DIR="$work/root/usr/share/wireshark" WIRESHARK_PLUGIN_DIR="$work/home"
missing=$(ldd "$work/root/usr/bin/tshark" | grep "not found" || true)
[[ -z $missing ]] || { echo "skipped: $missing"; exit 77; }

# One message, "2 bytes, its size of 60 in 2 bytes, 56 bytes", in two TCP segments of 40 and 20 bytes.
"${PYTHON:-python3}" - > "$work/two.pcap" <<'END'
import struct
import sys

message = struct.pack(">2sH56s", b"MM", 60, b"x" * 56)
capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
for start, end in ((0, 40), (40, 60)):
    segment = struct.pack(">HHIIBBHHH", 41234, 45678, 1 + start, 1, 0x50, 0x18, 8192, 0, 0) + message[start:end]
    home = bytes((127, 0, 0, 1))
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, 6, 0, home, home) + segment
    capture += struct.pack("<IIII", start, 0, len(packet), len(packet)) + packet
sys.stdout.buffer.write(capture)
END

cat > "$work/probe.lua" <<'END'
local found = ...
local probe = Proto("probe", "Probe")

local function size(tvb, _, offset)
  return tvb(offset + 2, 2):uint()
end

local function message(tvb, pinfo)
  print("packet " .. pinfo.number .. ": " .. tvb:len() .. " of " .. size(tvb, pinfo, 0))
  return tvb:len()
end

local function dissect(tvb, pinfo, tree)
  print("can_desegment " .. pinfo.can_desegment)
  if found == "asks" then
    if tvb:len() < size(tvb, pinfo, 0) then
      pinfo.desegment_offset, pinfo.desegment_len = 0, size(tvb, pinfo, 0) - tvb:len()
    else
      message(tvb, pinfo)
    end
  else
    dissect_tcp_pdus(tvb, tree, 4, size, message)
  end
  return tvb:len()
end

probe.dissector = dissect
if found == "port" then
  DissectorTable.get("tcp.port"):add(45678, probe)
else
  probe:register_heuristic("tcp", function(tvb, pinfo, tree)
    if pinfo.dst_port ~= 45678 then
      return false
    end
    if found == "function" then
      dissect(tvb, pinfo, tree)
    else
      probe.dissector(tvb, pinfo, tree)
    end
    return true
  end)
end
END

# What the dissector says, on one line; $1 is how it is found. With -q alone, packets are not dissected.
said() {
  timeout 60 "$work/root/usr/bin/tshark" -n -q -Y tcp -X "lua_script:$work/probe.lua" -X "lua_script1:$1" -r "$work/two.pcap" \
    2> "$work/err" | paste -s -d ';' | sed 's/;/; /g'
}

timeout 60 "$work/root/usr/bin/tshark" --version 2> "$work/err" | head -n 1
whole="can_desegment 1; can_desegment 1; packet 2: 60 of 60"
code=0
expect() {
  local seen
  seen=$(said "$1") || seen="exit code $?"
  echo "$2: $seen"
  [[ $seen = "$3" ]] || code=1
}
expect port "by its port" "$whole"
expect function "heuristic, dissect(...)" "$whole"
expect object "heuristic, probe.dissector(...)" \
  "can_desegment 0; packet 1: 40 of 60; can_desegment 0; packet 2: 20 of 30840"
expect asks "the same, desegment_len set all the same" "can_desegment 0; can_desegment 0; packet 2: 60 of 60"
[[ $code = 0 ]] || { echo "behaviour changed"; exit 1; }
