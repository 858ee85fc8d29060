"""The experiment file: YAML in, validated and frozen objects out."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator

from jetexp.errors import ExperimentError
from jetexp.images import ImageSettings
from jetexp.jets.settings import GenerationSettings, JetFileSettings, JetsSettings
from jetexp.settings import Settings
from jetexp.taggers.settings import CnnSettings, TaggerSettings, TrainingSettings

__all__ = [
    "Choices",
    "Experiment",
    "GateSettings",
    "Range",
    "SearchSettings",
    "SplitSettings",
    "override",
    "read_experiment",
]

MAXIMUM_FILE_SIZE = 1_000_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class Choices(Settings):
    """A hyperparameter that takes one of a few values."""

    choices: tuple[int | float | str, ...] = Field(min_length=1)

    @property
    def extremes(self) -> tuple[int | float | str, ...]:
        """The values that must be possible."""
        return self.choices


class Range(Settings):
    """A hyperparameter between two values.

    Attributes
    ----------
    min, max : float
        The ends, which belong to the range.
    scale : {"linear", "log"}
        What the values are uniform in.
    step : float, optional
        Distance of the values allowed, on the linear scale.
    """

    min: int | float
    max: int | float
    scale: Literal["linear", "log"] = "linear"
    step: int | float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _order(self) -> Range:
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.scale == "log" and self.min <= 0:
            raise ValueError("a log scale needs a min above zero")
        if self.scale == "log" and self.step is not None:
            raise ValueError("a step goes with a linear scale")
        return self

    @property
    def extremes(self) -> tuple[int | float, ...]:
        """The values that must be possible."""
        return (self.min, self.max)


def _form(value: Any) -> str:
    """Tell a list of choices from a range, so that a mistake is told about the one that was meant."""
    choices = isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value)
    return "Choices" if choices else "Range"


Hyperparameter = Annotated[
    Annotated[Choices, Tag("Choices")] | Annotated[Range, Tag("Range")], Discriminator(_form)
]


class SearchSettings(Settings):
    """The search for hyperparameters.

    Attributes
    ----------
    method : {"random", "bayesian", "hyperband"}
        KerasTuner's oracle.
    trials : int
        Number of trials.
    epochs : int
        Epochs of a trial.
    objective : {"val_auc", "val_loss"}
        What the search maximises (AUC) or minimises (loss), on the validation jets.
    space : dict
        Hyperparameters searched: names of tagger or training settings, with a range or choices.
    """

    method: Literal["random", "bayesian", "hyperband"] = "random"
    trials: int = Field(6, ge=1, le=100_000)
    epochs: int = Field(6, ge=1, le=10_000)
    objective: Literal["val_auc", "val_loss"] = "val_auc"
    space: dict[str, Hyperparameter] = Field(min_length=1)


class SplitSettings(Settings):
    """Which jets train, validate and test.

    Attributes
    ----------
    validation : float
        Fraction of the jets that validate.
    test : float
        Fraction of the jets that test, where the experiment has no test sample of its own.
    seed : int
        Seed of the split.
    """

    validation: float = Field(0.25, gt=0, lt=1)
    test: float = Field(0.25, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _sum(self) -> SplitSettings:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} and test {self.test} leave no jets to train on; "
                "their sum must be below 1"
            )
        return self


class GateSettings(Settings):
    """When a candidate takes the place of the champion.

    Attributes
    ----------
    signal_efficiency : float
        The working point at which background rejections are compared.
    confidence : float
        Confidence of the paired comparison.
    minimum_per_class : int
        Test jets a class below which no model is promoted.
    """

    signal_efficiency: float = Field(0.5, gt=0, lt=1)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    minimum_per_class: int = Field(1000, ge=1)


class Experiment(Settings):
    """One experiment, from jets to registry.

    Attributes
    ----------
    name : str
        Name, used for files and runs.
    description : str
        What the experiment shows, in a sentence.
    classes : tuple of str
        Classes told apart; a jet's label is its class's place in this list.
    signal : str
        The class that counts as signal in ROC curves and rejections.
    jets : GenerationSettings or JetFileSettings
        Jets to train and validate on (and to test on, if there is no ``test``).
    test : GenerationSettings or JetFileSettings, optional
        A test sample of its own.
    split : SplitSettings
        Which jets train, validate and test.
    images : ImageSettings
        From constituents to images.
    tagger : CnnSettings or NotebookSettings
        The network.
    training : TrainingSettings
        How it is fitted.
    search : SearchSettings, optional
        The search for hyperparameters; without it the settings are taken as they stand.
    seeds : int
        Number of final fits, from different seeds.
    seed : int
        First seed of search and fits.
    registered_model : str, optional
        Name under which the best model enters the registry.
    gate : GateSettings
        When a candidate takes the place of the champion.
    """

    name: str = Field(pattern=NAME)
    description: str = ""
    classes: tuple[str, ...] = Field(min_length=2)
    signal: str
    jets: JetsSettings
    test: JetsSettings | None = None
    split: SplitSettings = SplitSettings()
    images: ImageSettings
    tagger: TaggerSettings
    training: TrainingSettings = TrainingSettings()
    search: SearchSettings | None = None
    seeds: int = Field(3, ge=1, le=1000)
    seed: int = Field(0, ge=0, le=1_000_000)
    registered_model: str | None = Field(None, pattern=NAME)
    gate: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {list(self.classes)} name one class twice")
        if self.signal not in self.classes:
            raise ValueError(f"signal {self.signal!r} is not among the classes {list(self.classes)}")
        if self.test is not None and self.test == self.jets:
            raise ValueError("test is the same sample as jets; give it another seed or file")
        for name, values in (self.search.space if self.search else {}).items():
            for value in values.extremes:
                try:
                    self.with_hyperparameters({name: value})
                except KeyError:
                    known = sorted({*CnnSettings.model_fields, *TrainingSettings.model_fields} - {"kind"})
                    raise ValueError(
                        f"search.space.{name} is no setting of tagger {self.tagger.kind!r} or of "
                        f"training; known are {', '.join(known)}"
                    ) from None
                except ValidationError as error:
                    problem = error.errors()[0]["msg"]
                    raise ValueError(
                        f"search.space.{name} holds {value!r}, which is impossible: {problem}"
                    ) from None
        return self

    def with_hyperparameters(self, values: Mapping[str, Any]) -> Experiment:
        """Set tagger and training settings by name.

        Parameters
        ----------
        values : mapping
            Names of tagger or training settings, and their values.

        Returns
        -------
        Experiment
            With those settings, and no search.

        Raises
        ------
        KeyError
            If a name is neither a tagger's nor a training setting.
        pydantic.ValidationError
            If a value is impossible.
        """
        tagger, training = self.tagger.model_dump(), self.training.model_dump()
        for name, value in values.items():
            target = next((part for part in (tagger, training) if name in part and name != "kind"), None)
            if target is None:
                raise KeyError(name)
            target[name] = value
        return self.model_copy(
            update={
                "tagger": type(self.tagger).model_validate(tagger, strict=True),
                "training": TrainingSettings.model_validate(training, strict=True),
                "search": None,
            }
        )

    def yaml(self) -> str:
        """Return the experiment as the text of an experiment file."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False)


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
    # parts of the location that name a union's branch are no keys of the file
    branches = {"pythia", "file", "cnn", "notebook", "Choices", "Range"}
    key = ".".join(str(part) for part in error["loc"] if part not in branches)
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
    return _validated(content, str(path))


def _validated(content: dict[str, Any], where: str) -> Experiment:
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
        model = {"pythia": GenerationSettings, "file": JetFileSettings, "cnn": CnnSettings}.get(
            str(part), model
        )
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
        A file or stored sample to take all jets from, the test jets too.
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
    content = experiment.model_dump(mode="json", exclude_none=True)
    if jets is not None:
        content["jets"] = {"source": "file", "path": jets}
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
    return _validated(content, f"experiment {experiment.name} with the overrides given")
