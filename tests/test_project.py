"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def test_conda_pins_every_direct_dependency_within_the_ranges_of_pyproject() -> None:
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert conda["dependencies"][0] == "python=3.11"
    pins = {}
    for line in conda["dependencies"][-1]["pip"]:
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)(?:; .*)?", line).groups()
        pins[canonicalize_name(name)] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = {}
    extras = project["optional-dependencies"].values()
    for line in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(line)
        if requirement.name != "jetexp":
            ranges[canonicalize_name(requirement.name)] = requirement.specifier
    assert pins.keys() == ranges.keys()
    outside = {name: version for name, version in pins.items() if not ranges[name].contains(version)}
    assert not outside


def test_mlproject_runs_commands_that_exist() -> None:
    from jetexp.cli import jetexp

    project = yaml.safe_load((ROOT / "MLproject").read_text())
    assert project["conda_env"] == "conda.yaml"
    assert set(project["entry_points"]) == {"main", "suite", "generate", "compare", "promote", "test"}
    for name, entry in project["entry_points"].items():
        words = entry["command"].split()
        if name == "test":
            continue
        assert words[:3] == ["python", "-m", "jetexp"]
        options = {option for parameter in jetexp.commands[words[3]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_the_teams_server_is_installed_with_the_versions_that_are_pinned() -> None:
    pins = set(re.findall(r"- (\S+==\S+)", (ROOT / "conda.yaml").read_text()))
    for path in ("docs/team.md", "deploy/server/compose.yaml"):
        named = re.findall(r"'([a-z]+)(?:\[\w+\])?(==[^']+)'", (ROOT / path).read_text())
        assert len(named) == 2
        assert {name + version for name, version in named} <= pins


def test_containers_set_what_the_server_asks_for() -> None:
    example = (ROOT / "deploy/server/server.env.example").read_text()
    asked = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    services = yaml.safe_load((ROOT / "deploy/server/compose.yaml").read_text())["services"]
    assert set(services["mlflow"]["environment"]) == asked
