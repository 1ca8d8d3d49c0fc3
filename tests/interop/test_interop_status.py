"""`loadgen status` as the field's own tools read it: genie's parser of `show nmsp status`, and the public data model.

Neither is installed with the tests. The parser is 800 MB with what it needs (genie, pyats and genie.libs.parser):
GENIE_PYTHON names a Python that has them. The model is another's: YANG_MODELS names the folder with
Cisco-IOS-XE-wireless-nmsp-oper.yang and what that imports; yanglint is in Debian's libyang2-tools. tests/status holds
the same to the columns of the one and the names of the other.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.report import status as shown
from loadgen.status.answer import PeerRow, Side, SideCounts, one_per_address
from loadgen.status.model import STATISTICS, instance

PATIENCE_S = 120
GENIE = os.environ.get("GENIE_PYTHON") or (sys.executable if importlib.util.find_spec("genie") else "")
MODELS = Path(os.environ.get("YANG_MODELS", "nowhere"))
MODEL = MODELS / "Cisco-IOS-XE-wireless-nmsp-oper.yang"
READ = """
import json, sys
from unittest.mock import Mock
from genie.libs.parser.iosxe.show_nmsp import ShowNmspStatus
print(json.dumps(ShowNmspStatus(device=Mock()).parse(output=sys.stdin.read())))
"""
ADDRESSES = ["9.9.71.110", "9.9.71.110", "2001:bebe::1", "::1", "2001:db8::", "fe80::1%eth0"]


def side(transport: str = "TLS") -> Side:
    """WLCs that heard of everything; two sessions of the first peer."""
    rows = [
        PeerRow(
            owner=number,
            owner_mac=f"02:57:4c:00:00:0{number}",
            address=address,
            port=40000 + number,
            connection_id=number + 1,
            phase="down" if number == 1 else "active",
            offered=0,
            granted=(1 << 23) - 1 if number == 0 else 1 << number,
            connections=2,
            disconnections=1,
            sent={3: 1, 7: 10 + number, 16: 1000},
            heard={1: 1, 6: 10 + number, 65535: 3},
            unsupported=number,
            echo_sent=10 + number,
            echo_heard=10 + number,
        )
        for number, address in enumerate(ADDRESSES)
    ]
    statistics = {leaf: 1 << 40 for leaves in STATISTICS.values() for leaf in leaves}
    counts = SideCounts(len(rows), len(rows) - 1, len(rows), {}, {}, statistics)
    return Side("wlc", 6, (1 << 23) - 1, transport, counts, one_per_address(rows), {}, ())


@pytest.mark.skipif(not GENIE, reason="genie is not installed (see GENIE_PYTHON)")
@pytest.mark.parametrize("transport", ["TLS", "DTLS"])
def test_genie_reads_every_row_of_the_plain_table(transport: str) -> None:
    text = shown.plain(side(transport))
    done = subprocess.run(
        [GENIE, "-c", READ], input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert [*found] == ["9.9.71.110", "2001:bebe::1", "0:0:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:0", "fe80::1"]
    for row, read in zip(side().rows, found.values(), strict=True):
        assert read == {
            "active": "Active",
            "tx_echo_resp": row.echo_sent,
            "rx_echo_req": row.echo_heard,
            "tx_data": row.data_sent,
            "rx_data": row.data_heard,
            "transport": transport,
        }


@pytest.mark.skipif(shutil.which("yanglint") is None, reason="yanglint is not installed (Debian: libyang2-tools)")
@pytest.mark.skipif(not MODEL.is_file(), reason="the public data model is not here (see YANG_MODELS)")
@pytest.mark.parametrize("transport", ["TLS", "DTLS"])
def test_the_model_takes_the_instance(transport: str, tmp_path: Path) -> None:
    def lint(value: dict[str, Any]) -> str:
        path = tmp_path / "data.json"
        path.write_bytes(msgspec.json.encode(value))
        command = ["yanglint", "-p", str(MODELS), "-t", "data", "-f", "json", str(MODEL), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return f"{done.returncode}: {done.stderr}" if done.returncode or "err" in done.stderr else ""

    value = instance(side(transport))
    assert lint(value) == ""
    # It is looked at: the same peer twice is refused, and so is a leaf that there is not.
    (data,) = value.values()
    data["cmx-connection"].append(data["cmx-connection"][0])
    assert "Duplicate instance" in lint(value)
    data["cmx-connection"] = [{"peer-ip": "192.0.2.7", "loadgen": {}}]
    assert "not found" in lint(value)
