"""docs/distributed/: what can be held to account without a cluster. Commands are those that exist, ports agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from master_process import REPO

from loadgen.cli.locust_worker import locust_worker

FOLDER = REPO / "docs" / "distributed"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
KUBERNETES = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text("utf-8")))
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")


def deployments() -> dict[str, dict[str, Any]]:
    return {doc["metadata"]["name"]: doc["spec"] for doc in KUBERNETES if doc["kind"] == "Deployment"}


def container(name: str) -> dict[str, Any]:
    (found,) = deployments()[name]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


WORKERS = [COMPOSE["services"]["worker"]["command"], container("loadgen-worker")["command"]]
MASTERS = [COMPOSE["services"]["master"]["command"], container("loadgen-master")["command"]]


@pytest.mark.parametrize("command", WORKERS, ids=["compose", "kubernetes"])
def test_workers_are_started_with_options_that_exist(command: list[str]) -> None:
    assert command[:2] == ["loadgen", "locust-worker"]
    context = locust_worker.make_context("locust-worker", command[2:])
    hosts = {*COMPOSE["services"], *(doc["metadata"]["name"] for doc in KUBERNETES if doc["kind"] == "Service")}
    assert context.params["master_host"] in hosts
    assert context.params["master_port"] == 5557


@pytest.mark.parametrize("command", MASTERS, ids=["compose", "kubernetes"])
def test_masters_are_started_with_options_that_exist(command: list[str]) -> None:
    assert command[0] == "locust"
    done = subprocess.run(
        [sys.executable, "-m", *command, "--list"], cwd=REPO, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WlcUser" in done.stdout


def test_ports_agree() -> None:
    assert re.search(r"EXPOSE 5557 8089", DOCKERFILE)
    ports = {port["name"]: port["containerPort"] for port in container("loadgen-master")["ports"]}
    assert ports == {"workers": 5557, "web": 8089}
    (service,) = (doc["spec"] for doc in KUBERNETES if doc["kind"] == "Service")
    assert {port["name"]: port["targetPort"] for port in service["ports"]} == ports
    assert COMPOSE["services"]["master"]["ports"] == ["8089:8089"]


def test_selectors_find_their_pods() -> None:
    for name, spec in deployments().items():
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == labels == {"app": name}
    (service,) = (doc["spec"] for doc in KUBERNETES if doc["kind"] == "Service")
    assert service["selector"] == {"app": "loadgen-master"}


def test_volumes_that_are_mounted_are_there() -> None:
    pod = deployments()["loadgen-master"]["template"]["spec"]
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert {mount.partition(":")[0] for mount in COMPOSE["services"]["master"]["volumes"]} == set(COMPOSE["volumes"])


def test_the_image_has_everything_that_it_copies_and_a_user_who_may_write_results() -> None:
    assert (REPO / "constraints.txt").is_file()
    assert "chown loadgen results" in DOCKERFILE
    assert re.search(r"^USER loadgen$", DOCKERFILE, re.MULTILINE)
    for mount in container("loadgen-master")["volumeMounts"]:
        assert Path(mount["mountPath"]) == Path("/srv/loadgen/results")
