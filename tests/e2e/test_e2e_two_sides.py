"""One side in one process, the other in another: --serve and --target."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from e2e_loadgen import SMALL, Ended, Identities, Run, Running, Start, new_identities
from ports import free_port

from loadgen.measure.hlog import read_hlog_untrusted

# WLCs wait so long for the first MSE, and then have their load: the test ends them, when the MSEs have gone.
LONG = ("--duration", "10m")


def write_scenario(folder: Path, identities: Identities, listen: str, name: str = "sides.toml") -> Path:
    """A scenario for either side; files are named relative to it."""
    text = SMALL.replace('listen = "127.77.2.1:0"', f'listen = "{listen}"\nauth_list = "keys/auth-list.ios-xe.txt"')
    text = text.replace('step = "port"', 'step = "address"').replace('name = "small"', 'name = "sides"')
    names = ", ".join(f'"keys/{pem.name}"' for pem in identities.pems)
    text = text.replace("[mse]", f"[mse]\nidentities = [{names}]").replace("500ms", "700ms")
    path = folder / name
    path.write_text(text, "utf-8")
    (folder / "keys").symlink_to(identities.auth_list.parent)
    return path


def interrupted(running: Running) -> Ended:
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130, ended.stderr
    return ended


@pytest.mark.parametrize("how", ["serve", "target"])
def test_they_meet(start: Start, tmp_path: Path, identities: Identities, how: str) -> None:
    host = "127.77.10.1" if how == "serve" else "127.77.11.1"
    port = free_port(host)
    scenario = write_scenario(tmp_path, identities, f"{host}:{port}")
    hosts = [f"{host.rpartition('.')[0]}.{number}" for number in (1, 2, 3, 4)]
    wlc = start("run", scenario, "--serve", "wlc", *LONG)
    wlc.wait_for_listener(*((each, port) for each in hosts))
    target = ",".join(f"{each}:{port}" for each in hosts)
    mse = start(
        "run",
        scenario,
        "--duration",
        "500ms",
        *(["--serve", "mse"] if how == "serve" else ["--target", f"wlc={target}"]),
    )
    mse_ended = mse.end()
    mse_ended.check_passed()
    assert "missing" not in " ".join(mse_ended.result["verdict"]["reasons"])
    wlc_ended = interrupted(wlc)
    assert wlc_ended.result["verdict"]["limited_by"] == "interruption"
    ours, theirs = mse_ended.counters, wlc_ended.counters
    assert ours["sessions.established"] == theirs["sessions.established"] == 8
    assert ours["sessions.attempted"] == theirs["sessions.attempted"] == 8
    # Whoever ended first said goodbye; for both it was an orderly end.
    assert ours["sessions.closed"] == theirs["sessions.closed"] == 8
    # Also what was still under way when the MSEs, whose run ended first, said goodbye.
    assert ours["notify.received"] == theirs["notify.sent"] > 0
    assert theirs["notify.due"] == theirs["notify.sent"] + theirs["notify.dropped"]
    assert ours["notify.lost"] == ours["notify.duplicated"] == ours["notify.reordered"] == 0
    # What only the other side can count is not there at all, rather than 0.
    assert "notify.sent" not in ours
    assert "notify.received" not in theirs
    assert mse_ended.errors == wlc_ended.errors == {}
    for ended in (mse_ended, wlc_ended):
        assert ended.result["metrics"]["handshake.tls"]["count"] == 8
        assert ended.result["metrics"]["handshake.session"]["count"] == 8
        assert {path.name for path in ended.folder.iterdir()} >= {"plan.json", "result.json", "histograms.hlog"}
        # What the other side sent before this one's load began is not under the name of a figure of the result.
        tags = read_hlog_untrusted(ended.folder / "histograms.hlog")
        staged = {tag.rpartition("/")[2] for tag in tags if "/" in tag}
        assert staged >= {"notify.latency" if ended is mse_ended else "notify.lag"}
        assert not staged & set(tags)
    assert mse_ended.result["use"] == ("serve-mse" if how == "serve" else "target-wlc")
    assert wlc_ended.result["use"] == "serve-wlc"


def test_both_sides_into_one_results_folder(start: Start, tmp_path: Path, identities: Identities) -> None:
    """Both play the same plan, maybe in the same second: neither is in the other's way."""
    host = "127.77.12.1"
    port = free_port(host)
    scenario = write_scenario(tmp_path, identities, f"{host}:{port}")
    results = tmp_path / "results"
    # The WLCs start their load when the MSEs come.
    wlc = start("run", scenario, "--serve", "wlc", *LONG, results=results)
    wlc.wait_for_listener(*((f"127.77.12.{number}", port) for number in (1, 2, 3, 4)))
    mse = start("run", scenario, "--serve", "mse", results=results).end()
    mse.check_passed()
    interrupted(wlc)
    assert len(list(results.iterdir())) == 2


def test_an_mse_that_is_not_on_the_list(start: Start, tmp_path: Path, identities: Identities) -> None:
    host = "127.77.13.1"
    port = free_port(host)
    scenario = write_scenario(tmp_path, identities, f"{host}:{port}")
    strangers = new_identities(tmp_path / "strangers")
    names = ", ".join(f'"strangers/{pem.name}"' for pem in strangers.pems)
    wlc = start("run", scenario, "--serve", "wlc", *LONG, "--set", "wlc.count=1")
    wlc.wait_for_listener((host, port))
    mse = start(
        "run", scenario, "--serve", "mse", "--set", f"mse.identities=[{names}]", "--set", "wlc.count=1"
    ).end()  # fmt: skip
    ended = interrupted(wlc)
    assert mse.code == 3
    assert mse.counters["sessions.failed"] == ended.counters["sessions.failed"] == 2
    assert ended.errors == {"errors.accept.key_hash_not_listed": 2}
    # The MSE learns it from an alert.
    assert list(mse.errors.values()) == [2]
    assert next(iter(mse.errors)).startswith("errors.tls.alert_")


def test_target_where_nobody_listens(run: Run, small: Path) -> None:
    port = free_port("127.77.14.1")
    ended = run("run", small, "--target", f"wlc=127.77.14.1:{port}")
    assert ended.code == 3, ended.stderr
    assert ended.counters["errors.tcp.refused"] == 2
    assert ended.counters["sessions.failed"] == ended.counters["sessions.attempted"] == 2
    assert ended.result["verdict"]["outcome"] == "no session came up"
    assert ended.errors == {"errors.tcp.refused": 2}
    assert f"nobody answered at 127.77.14.1:{port}: start the WLCs first" in ended.stderr
    assert "--wait-for-target 30s" in ended.stderr
    assert f"loadgen check wlc 127.77.14.1:{port} --identity keys/mse-*.pem" in ended.stderr


@pytest.mark.parametrize("transport", ["tls", "dtls"])
def test_mses_that_are_there_first_wait(start: Start, tmp_path: Path, identities: Identities, transport: str) -> None:
    host = "127.77.17.1" if transport == "tls" else "127.77.18.1"
    scenario = write_scenario(tmp_path, identities, f"{host}:{free_port(host)}")
    more = ("--set", f"transport={transport}", "--set", "mse.setup_timeout=1s")
    mse = start("run", scenario, "--serve", "mse", "--wait-for-target", "60s", "--duration", "300ms", *more)
    mse.wait_for_line("connecting")
    wlc = start("run", scenario, "--serve", "wlc", *LONG, *more)
    ended = mse.end()
    assert ended.code in (0, 4, 5), ended.stderr  # 5: the last of them came late in so short a load
    assert ended.errors == {}
    assert ended.counters["sessions.attempted"] == ended.counters["sessions.established"] == 8
    assert interrupted(wlc).counters["sessions.established"] == 8


def test_a_target_by_name(run: Run, small: Path) -> None:
    port = free_port("127.0.0.1")
    ended = run("run", small, "--target", f"wlc=localhost:{port}")
    assert ended.code == 3, ended.stderr
    assert sum(ended.errors.values()) == 2


def test_serve_wlc_without_a_visitor(run: Run, tmp_path: Path, identities: Identities) -> None:
    host = "127.77.15.1"
    scenario = write_scenario(tmp_path, identities, f"{host}:{free_port(host)}")
    ended = run(
        "run", scenario, "--serve", "wlc", "--wait-for-target", "300ms", "--set", "load.stages=[{hold='300ms'}]"
    )
    assert ended.code == 3, ended.stderr
    assert f"loadgen check mse --listen {host}:" in ended.stderr
    assert f"--auth-list {tmp_path / 'keys' / identities.auth_list.name}" in ended.stderr
    # What was asked for was due all the same.
    assert (ended.counters["sessions.attempted"], ended.counters["notify.sent"]) == (0, 0)
    assert ended.counters["notify.due"] == ended.counters["notify.dropped"] > 0
    verdict = ended.result["verdict"]
    assert (verdict["limited_by"], verdict["limit_reason"]) == ("nobody", "nobody came")
    assert ended.errors == {}


def test_serve_wlc_tells_where_it_listens(start: Start, tmp_path: Path, identities: Identities) -> None:
    """Port 0: the kernel chose one, and whoever is to dial it must be able to find out."""
    scenario = write_scenario(tmp_path, identities, "127.77.16.1:0")
    ended = start("run", scenario, "--serve", "wlc", "--wait-for-target", "300ms").end()
    said = ended.stderr + ended.stdout + (ended.folder / "plan.json").read_text("utf-8")
    assert "127.77.16.1:" in said or '"port": 0' not in said
