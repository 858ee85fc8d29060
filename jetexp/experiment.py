"""An experiment, as validated and frozen objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from jetexp.images import ImageSettings
from jetexp.jets.settings import GenerationSettings, JetsSettings
from jetexp.search_settings import SearchSettings
from jetexp.settings import NAME, Settings
from jetexp.tagger_fit import ReferenceSettings, TaggerFit
from jetexp.taggers.classical_settings import MassWindowSettings
from jetexp.taggers.settings import CLASSICAL, CnnSettings, TaggerSettings, TrainingSettings

__all__ = ["Experiment", "GateSettings", "SplitSettings"]


# inputs of two parts, of the epochs that are shown and drawn, and what is copied in between
PARTS_AT_ONCE = 8
# columns that a champion's answers and files of scores have beside one a class
COLUMNS_BESIDE_CLASSES = ("discriminant", "selected", "source", "row")


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
    metric : {"rejection", "auc"}
        What the candidate has to win by: background rejection (paired bootstrap), or AUC (DeLong, paired).
    signal_efficiency : float
        The working point of background rejections.
    minimum_gain : float
        How much better the candidate has to be: for "rejection" as a part of the champion's (0.05 for 1.05
        times), for "auc" as a difference.
    confidence : float
        Confidence (one-sided) that it is.
    minimum_auc, minimum_rejection : float, optional
        Floors, which hold without a champion too.
    minimum_per_class : int
        Test jets a class below which no model is promoted.
    """

    metric: Literal["rejection", "auc"] = "rejection"
    signal_efficiency: float = Field(0.5, gt=0, lt=1)
    minimum_gain: float = Field(0.0, ge=0, le=10)
    # of 2 000 replicas no more than 0.9995 can be told
    confidence: float = Field(0.95, gt=0.5, le=0.999)
    minimum_auc: float | None = Field(None, ge=0, le=1)
    minimum_rejection: float | None = Field(None, ge=0)
    minimum_per_class: int = Field(1000, ge=1)


def _merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Apply changes, key by key; settings of another kind or source are replaced as a whole."""
    result = dict(content)
    for key, value in changes.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(old, dict) and isinstance(value, dict) and not _another_form(old, value):
            result[key] = _merged(old, value)
        else:
            result[key] = value
    return result


def _another_form(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return any(key in new and new[key] != old.get(key) for key in ("kind", "source"))


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
    train_per_class : int, optional
        Train on the first so many jets of each class; by default on all of the training part.
    images : ImageSettings
        From constituents to images.
    tagger : settings of a tagger
        The tagger, most often a CNN.
    training : TrainingSettings
        How it is fitted.
    search : SearchSettings, optional
        The search for hyperparameters; without it the settings are taken as they stand.
    seeds : int
        Number of final fits, from different seeds.
    seed : int
        First seed of search and fits.
    references : tuple of ReferenceSettings
        Other taggers, measured on the same jets.
    ensemble : bool
        Whether the final fits together (the mean of their log-odds) are a tagger of their own.
    calibration : {"none", "temperature"}
        Whether the tagger that is registered has its probabilities scaled by a temperature fitted to the
        validation jets (Guo et al., arXiv:1706.04599).
    variants : dict of str to dict
        Changes to this experiment, each measured by itself: keys and values as in the file. A null
        takes a key away.
    registered_model : str, optional
        Name under which the best model enters the registry.
    gate : GateSettings
        When a candidate takes the place of the champion.
    memory : float
        GiB that images and lists of constituents may take; where they would take more, they are made from
        constituents while they are needed.
    """

    name: str = Field(pattern=NAME)
    description: str = ""
    classes: tuple[str, ...] = Field(min_length=2)
    signal: str
    jets: JetsSettings
    test: JetsSettings | None = None
    split: SplitSettings = SplitSettings()
    train_per_class: int | None = Field(None, ge=2)
    images: ImageSettings
    tagger: TaggerSettings
    training: TrainingSettings = TrainingSettings()
    search: SearchSettings | None = None
    seeds: int = Field(3, ge=1, le=1000)
    seed: int = Field(0, ge=0, le=1_000_000)
    references: tuple[ReferenceSettings, ...] = ()
    ensemble: bool = False
    calibration: Literal["none", "temperature"] = "none"
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    registered_model: str | None = Field(None, pattern=NAME)
    gate: GateSettings = GateSettings()
    memory: float = Field(1.0, gt=0, le=1e6)

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {list(self.classes)} name one class twice")
        if taken := [name for name in self.classes if name in COLUMNS_BESIDE_CLASSES]:
            raise ValueError(
                f"class {taken[0]!r} would have the name of another column of its tagger's answers; "
                "another name would be right"
            )
        if self.signal not in self.classes:
            raise ValueError(f"signal {self.signal!r} is not among the classes {list(self.classes)}")
        if self.test is not None and self.test == self.jets:
            raise ValueError("test is the same sample as jets; give it another seed or file")
        if (
            isinstance(self.jets, GenerationSettings)
            and isinstance(self.test, GenerationSettings)
            and self.jets.seed == self.test.seed
        ):
            raise ValueError(
                f"test.seed is {self.test.seed} as that of jets: the same collisions would be in both; "
                "another seed would be right"
            )
        self._check_taggers()
        self._check_space()
        self._check_variants()
        return self

    def _check_taggers(self) -> None:
        names = [one.name for one in self.taggers]
        if len({*names, "ensemble"}) <= len(names):
            raise ValueError(
                f"references: every tagger needs a name of its own, and {', '.join(names)} (and ensemble) "
                "are taken"
            )
        if self.images.need_charge and self.registered_model is not None:
            raise ValueError(
                "registered_model: a model is served raw images, which carry no charges, and images.channels "
                "need them"
            )
        windows = [one.name for one in self.taggers if isinstance(one.tagger, MassWindowSettings)]
        if windows and len(self.classes) > 2:
            raise ValueError(f"{windows[0]}: a mass window tells two classes apart, not {len(self.classes)}")
        if self.taggers[0].is_classical:
            for key, given in (
                ("search", self.search is not None),
                ("ensemble", self.ensemble),
                ("registered_model", self.registered_model is not None),
            ):
                if given:
                    raise ValueError(f"{key} goes with a network, and {self.tagger.kind} is none")

    def _check_variants(self) -> None:
        if self.variants and self.registered_model is not None:
            raise ValueError("an experiment with variants registers no model")
        for name in self.variants:
            try:
                self.variant(name)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(str(part) for part in first["loc"])
                raise ValueError(f"variants.{name}: {key}: {first['msg']}") from None
            if self.variant(name).search is not None:
                raise ValueError(
                    f"variants.{name}: a variant has no search, whose trials would be taken for those of "
                    "another; an experiment of its own would be right"
                )

    def _check_space(self) -> None:
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

    @property
    def memory_of_part(self) -> float:
        """Bytes that the inputs of one part may take."""
        return self.memory * 2**30 / PARTS_AT_ONCE

    @property
    def taggers(self) -> tuple[TaggerFit, ...]:
        """All taggers to be fitted, the experiment's own first."""
        own = TaggerFit(self.tagger.kind, self.tagger, self.images, self.training, self.seeds, self.seed)
        others = (
            TaggerFit(
                one.name or one.tagger.kind,
                one.tagger,
                one.images or self.images,
                one.training or self.training,
                1 if isinstance(one.tagger, CLASSICAL) else one.seeds or self.seeds,
                self.seed,
            )
            for one in self.references
        )
        return (own, *others)

    def variant(self, name: str) -> Experiment:
        """Return one of the variants.

        Parameters
        ----------
        name : str
            One of ``variants``.

        Returns
        -------
        Experiment
            With the variant's changes, and no variants.

        Raises
        ------
        KeyError
            If there is none of this name.
        pydantic.ValidationError
            If it is impossible.
        """
        content = self.model_dump(mode="json", exclude_none=True, exclude={"variants"})
        changed = _merged(content, self.variants[name])
        return Experiment.model_validate_json(json.dumps(changed), strict=True)

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

    def generated(self) -> list[tuple[GenerationSettings, tuple[str, ...]]]:
        """Give the samples that have to be generated for the experiment and all its variants.

        Returns
        -------
        list of tuple of GenerationSettings and tuple of str
            Each sample once, with its classes; none where all jets are read from files.
        """
        found: list[tuple[GenerationSettings, tuple[str, ...]]] = []
        for one in [self.variant(name) for name in self.variants] or [self]:
            for settings in (one.jets, one.test):
                if isinstance(settings, GenerationSettings):
                    whole = settings.of_stored()
                    if (whole, one.classes) not in found:
                        found.append((whole, one.classes))
        return found

    def content(self) -> dict[str, Any]:
        """Return the experiment as the keys and values of an experiment file."""
        content = self.model_dump(mode="json", exclude_none=True)
        # there a null means something
        return content | {"variants": self.variants} if self.variants else content

    def yaml(self) -> str:
        """Return the experiment as the text of an experiment file."""
        return yaml.safe_dump(self.content(), sort_keys=False)
