"""The experiment file: YAML in, a validated experiment out, mistakes told in one sentence."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from jetexp.errors import ExperimentError
from jetexp.experiment import Experiment
from jetexp.jets.settings import GenerationSettings, JetFileSettings
from jetexp.search_settings import Choices, Range
from jetexp.taggers.settings import TaggerSettings

__all__ = ["override", "read_experiment", "validated"]

MAXIMUM_FILE_SIZE = 1_000_000
# what pydantic calls a union's branches: parts of an error's location that are no keys of the file
BRANCHES: dict[str, type[BaseModel]] = {
    "pythia": GenerationSettings,
    "file": JetFileSettings,
    "Choices": Choices,
    "Range": Range,
    **{one.model_fields["kind"].default: one for one in get_args(get_args(TaggerSettings)[0])},
}


class _Loader(yaml.SafeLoader):
    """YAML without aliases or repeated keys, and with 1e-3 read as a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                None, None, "aliases are not used in experiment files", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _number(loader: yaml.SafeLoader, node: Any) -> Any:
    value = loader.construct_scalar(node)
    try:
        return float(value)
    except ValueError:
        return value


# YAML 1.1 takes 1e-3 (no dot) for a string, which nobody who writes a learning rate means
_Loader.add_implicit_resolver(
    "!exponent", re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_constructor("!exponent", _number)


def _explain(error: dict[str, Any]) -> str:
    """Say one pydantic error as: key, what is wrong, what was given."""
    key = ".".join(str(part) for part in error["loc"] if part not in BRANCHES)
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    if not key:
        return message
    return f"key {key!r}: {message}, but {json.dumps(error['input'], default=str)[:80]} was given"


def read_experiment(path: str | Path) -> Experiment:
    """Read and validate an experiment file.

    Parameters
    ----------
    path : str or Path
        A YAML file.

    Returns
    -------
    Experiment
        Validated and frozen.

    Raises
    ------
    ExperimentError
        If the file is missing, not YAML, or holds an unknown key, a wrong type or an
        impossible value; the message names file, key, what was given and what would be right.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAXIMUM_FILE_SIZE:
            raise ExperimentError(f"{path} is over {MAXIMUM_FILE_SIZE} bytes long: no experiment file.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExperimentError(f"There is no experiment file {path}.") from None
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise ExperimentError(f"{path} is not text in UTF-8: no experiment file.") from None
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 (a subclass of SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ExperimentError(f"{path}{where}: not a YAML experiment file: {problem}.") from None
    if not isinstance(content, dict):
        raise ExperimentError(
            f"{path} must hold keys such as name, classes and jets, but holds "
            f"{'nothing' if content is None else type(content).__name__}."
        )
    return validated(content, str(path))


def validated(content: dict[str, Any], where: str) -> Experiment:
    """Validate the content of an experiment file.

    Parameters
    ----------
    content : dict
        Keys and values, as in the file.
    where : str
        What a mistake is told of.

    Returns
    -------
    Experiment
        Validated and frozen.

    Raises
    ------
    ExperimentError
        If it holds an unknown key, a wrong type or an impossible value.
    """
    try:
        # through JSON: strict about types, yet lists may become tuples
        return Experiment.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)
        more = f" (and {len(first) - 1} more)" if len(first) > 1 else ""
        raise ExperimentError(f"{where}: {_explain(dict(first[0]))}{more}{_suggestion(first[0])}.") from None
    except TypeError as error:
        raise ExperimentError(f"{where}: only numbers, text and lists are allowed: {error}.") from None


def _suggestion(error: Any) -> str:
    """Offer the known key closest to an unknown one."""
    if error["type"] != "extra_forbidden":
        return ""
    model: Any = Experiment
    for part in error["loc"][:-1]:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else model
        model = BRANCHES.get(str(part), model)
        for option in getattr(model, "__args__", ()):
            if isinstance(option, type) and issubclass(option, BaseModel):
                model = option
                break
    known = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def override(
    experiment: Experiment,
    *,
    jets: str | None = None,
    per_class: int | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    seed: int | None = None,
) -> Experiment:
    """Replace settings of an experiment by those given on the command line.

    Parameters
    ----------
    experiment : Experiment
        As read from its file.
    jets : str, optional
        A file or stored sample to take all jets from, the test jets too; or several, separated by commas,
        each with its class and an equals sign before it where files name no classes
        (``QCD=a.h5,W=b-*.h5``).
    per_class : int, optional
        Jets of each class; the test sample is made no larger than its own size.
    trials, epochs, seeds, seed : int, optional
        Number of trials, of epochs (in trials and final fits), of final fits; first seed.

    Returns
    -------
    Experiment
        Validated again.

    Raises
    ------
    ExperimentError
        If a value is impossible.
    """
    content = experiment.content()
    if jets is not None:
        before = content["jets"] if content["jets"]["source"] == "file" else {}
        # what the experiment says of such files holds for another one too
        kept = {key: before[key] for key in ("names", "half_width", "unit", "maximum_pixel") if key in before}
        content["jets"] = {"source": "file", "path": _paths(jets, experiment.classes), **kept}
        content.pop("test", None)
    if per_class is not None:
        content["jets"]["per_class"] = per_class
        if "test" in content:
            content["test"]["per_class"] = min(per_class, content["test"].get("per_class", per_class))
    if trials is not None and "search" in content:
        content["search"]["trials"] = trials
    if epochs is not None:
        content["training"]["epochs"] = epochs
        if "search" in content:
            content["search"]["epochs"] = epochs
    if seeds is not None:
        content["seeds"] = seeds
    if seed is not None:
        content["seed"] = seed
    return validated(content, f"experiment {experiment.name} with the overrides given")


def _paths(jets: str, classes: Sequence[str]) -> str | list[str] | dict[str, list[str]]:
    """Part files that are separated by commas, class by class where classes are named."""
    if Path(jets).exists():
        return jets
    parts = [part.strip() for part in jets.split(",") if part.strip()]
    of_class: dict[str, list[str]] = {}
    for part in parts:
        name, equals, path = part.partition("=")
        if equals and name in classes:
            of_class.setdefault(name, []).append(path)
    if not of_class:
        return parts or jets
    if sum(map(len, of_class.values())) < len(parts):
        raise ExperimentError(
            f"jets {jets!r} names a class for some files only; "
            f"{','.join(f'{name}=FILE' for name in classes)} would be right."
        )
    return of_class
