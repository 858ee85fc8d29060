"""Recipes for clusters that are not at hand, read by those clusters' own parsers and schemas."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml
from mlflow.projects._project_spec import load_project

from jetexp import __version__
from jetexp.cli import jetexp

DEPLOY = Path(__file__).parent.parent / "deploy"
KUBERNETES, HTCONDOR = DEPLOY / "kubernetes", DEPLOY / "htcondor"


def check_command(words: list[str]) -> None:
    """See whether jetexp knows a command and all its options."""
    name, *arguments = words
    command = jetexp.commands[name]
    with click.Context(jetexp) as parent:
        command.make_context(name, arguments, parent=parent)


def manifests(name: str) -> list[dict]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


@pytest.mark.parametrize("name", ["jetexp.yaml", "job.yaml"])
def test_manifests_are_kubernetes_own(name: str) -> None:
    for manifest in manifests(name):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_key_that_kubernetes_does_not_know_is_refused() -> None:
    (job,) = manifests("job.yaml")
    job["spec"]["template"]["spec"]["restartPolicies"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_the_manifests_of_chief_and_workers_agree() -> None:
    found = {(one["kind"], one["metadata"]["name"]): one for one in manifests("jetexp.yaml")}
    chief, worker = (
        found["Job", f"jetexp-{name}"]["spec"]["template"]["spec"] for name in ("chief", "worker")
    )
    settings = found["ConfigMap", "jetexp"]["data"]
    service = found["Service", "jetexp-chief"]
    labels = found["Job", "jetexp-chief"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    (port,) = (one["port"] for one in service["spec"]["ports"])

    shell, option, script = chief["containers"][0]["command"]
    assert (shell, option) == ("sh", "-c")
    words = shlex.split(script.replace('"$EXPERIMENT"', settings["EXPERIMENT"]))
    assert words[:2] == ["exec", "jetexp"]
    check_command(words[2:])
    assert words[-1] == f"0.0.0.0:{port}"
    words = worker["containers"][0]["command"]
    assert words[0] == "jetexp"
    check_command(words[1:])
    assert f"jetexp-chief:{port}" in words
    for pod in (chief, worker):
        assert pod["containers"][0]["image"].endswith(f":{__version__}")
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "jetexp"
        for name, folder in settings.items():
            if name.startswith("JETEXP_"):
                assert folder.startswith(pod["containers"][0]["volumeMounts"][0]["mountPath"])


def test_the_project_for_mlflows_own_backend_is_one() -> None:
    project = load_project(str(KUBERNETES))
    assert project.docker_env["image"].endswith(f":{__version__}")
    entry = project.get_entry_point("main")
    command = entry.compute_command({"trials": "20"}, None)
    check_command(shlex.split(command.split("python -m jetexp ")[1]))
    backend = json.loads((KUBERNETES / "backend.json").read_text())
    assert (DEPLOY.parent / backend["kube-job-template-path"]).is_file()
    assert {"kube-context", "repository-uri"} < backend.keys()


@pytest.mark.skipif(platform.system() != "Linux", reason="HTCondor's parser is published for Linux alone")
def test_condor_reads_the_submit_files(tmp_path: Path) -> None:
    import htcondor2

    dag = (HTCONDOR / "execution.dag").read_text()
    nodes = dict(re.findall(r"^JOB (\w+) (\S+)$", dag, re.MULTILINE))
    assert sorted(nodes) == ["chief", "jets", "workers"]
    assert "PARENT jets CHILD chief workers" in dag
    given = dict(re.findall(r'(\w+)="([^"]*)"', dag))
    numbers = {}
    for name, file in nodes.items():
        submit = htcondor2.Submit((DEPLOY.parent / file).read_text())
        for key, value in given.items():
            submit[key] = value
        assert (DEPLOY.parent / submit["executable"]).is_file()
        words = shlex.split(submit.expand("arguments").strip('"'))
        assert "$" not in " ".join(words)
        if name != "jets":
            assert words[:2] == [{"chief": "chief", "workers": "worker"}[name], given["address"]]
            words = [*words[2:], "--chief", "host:1"]
        check_command(words)
        numbers[name] = re.findall(r"\$\((\w+)\)", submit.getQArgs() or "")
    assert numbers == {"jets": ["parts"], "chief": [], "workers": ["number"]}
    with pytest.raises(Exception, match="failed"):
        htcondor2.Submit("executable = a\nargumnts\nqueue")


@pytest.mark.slow
def test_the_script_that_condor_calls_brings_a_worker_to_its_chief(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "jetexp").symlink_to(DEPLOY.parent / "jetexp")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
        return subprocess.run(
            [HTCONDOR / "in_environment", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )

    address = tmp_path / "logs" / "chief.address"
    assert call("prepare", "logs/chief.address").returncode == 0
    assert address.parent.is_dir()
    address.write_text("127.0.0.1:1\n")
    done = call("worker", "logs/chief.address", "work", "--patience", "0.1")
    assert done.returncode == 2
    assert "The chief at 127.0.0.1:1 does not answer" in " ".join(done.stderr.split())
    assert call("prepare", "logs/chief.address").returncode == 0
    assert not address.exists()
    # a chief leaves its address before anything else, and says what is wrong with its experiment
    done = call("chief", "logs/chief.address", "run", "absent.yaml")
    assert done.returncode == 2
    assert "There is no experiment file absent.yaml" in " ".join(done.stderr.split())
    assert re.fullmatch(r"\S+:2\d{4}\n", address.read_text())
