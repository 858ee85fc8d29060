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
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line).groups()
        pins[canonicalize_name(name)] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = {}
    for line in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        requirement = Requirement(line)
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
