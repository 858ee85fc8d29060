"""One final fit of whatever tagger: scored on the test jets, recorded as a child run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.calibration import apply_temperature, fit_temperature
from jetexp.evaluation.report import Evaluation, discriminant
from jetexp.evaluation.uncertainty import is_chance
from jetexp.experiment import Experiment
from jetexp.inference import compiled
from jetexp.inputs import Inputs, InputSettings, LazyArray, make_inputs, number_of_jets, some_inputs
from jetexp.jets.collection import JETS_PER_BLOCK
from jetexp.jets.sample import Jets
from jetexp.kept_scores import TEST_SCORES, scores_to_keep
from jetexp.memory import release_memory
from jetexp.parts import JetParts
from jetexp.recorder import ChildRun
from jetexp.recording import evaluated, raw_images, record_evaluation, record_note, served_settings
from jetexp.serving import ServedSettings, Thresholds, probabilities
from jetexp.tagger_fit import TaggerFit
from jetexp.taggers.catalogue import build_ensemble, input_settings
from jetexp.taggers.classical import ClassicalTagger, fit_classical, importance
from jetexp.taggers.settings import CLASSICAL, BoostedTreesSettings
from jetexp.tracking import MlflowRecorder
from jetexp.training import History, predict

if TYPE_CHECKING:
    import keras

__all__ = [
    "FinalFit",
    "TaggerFits",
    "ensemble_of",
    "fit_classical_tagger",
    "hyperparameters",
    "scored",
    "with_temperature",
]

logger = logging.getLogger(__name__)

Float = npt.NDArray[np.float32]

# at most, for the working points of raw images
THRESHOLD_JETS = 10_000


@dataclass(frozen=True, eq=False)
class FinalFit:
    """One of the final fits.

    Attributes
    ----------
    name : str
        Name of its child run, such as ``seed-00``.
    run_id : str
        That run.
    network : keras.Model or None
        Trained; None for a classical tagger.
    model_uri : str
        Where MLflow keeps it; empty for a classical tagger.
    history : History or None
        How the fit went; None where there were no epochs.
    validation, test : Evaluation
        Its numbers.
    scores : ndarray of float32, shape (N, classes)
        Its scores of the test jets.
    """

    name: str
    run_id: str
    network: keras.Model | None
    model_uri: str
    history: History | None
    validation: Evaluation
    test: Evaluation
    scores: Float


@dataclass(frozen=True, eq=False)
class TaggerFits:
    """What all fits of one experiment share.

    Attributes
    ----------
    experiment : Experiment
        With the hyperparameters found.
    jets : JetParts
        Train, validation and test part.
    parent : MlflowRecorder
        Each fit opens a child of it.
    cache : Path
        Folder in which observables that take long are kept.
    variant : str
        Which variant of an experiment this is; empty where there are none. The child runs of variants,
        which are many, go without figures of their own; their curves, from which the UI draws, are
        recorded all the same.
    """

    experiment: Experiment
    jets: JetParts
    parent: MlflowRecorder
    cache: Path
    variant: str = ""

    @property
    def prefix(self) -> str:
        """What the names of child runs begin with."""
        return f"{self.variant}: " if self.variant else ""

    def run_names(self, one: TaggerFit) -> tuple[str, ...]:
        """Name the child runs of a tagger.

        Parameters
        ----------
        one : TaggerFit
            Of this experiment.

        Returns
        -------
        tuple of str
            One a seed: ``seed-00``, ... of the experiment's own network, ``pfn-seed-00``, ... of another;
            or the name alone of a classical tagger, which has one seed.
        """
        if one.is_classical:
            return (f"{self.prefix}{one.name}",)
        own = one.name == self.experiment.taggers[0].name
        name = self.prefix if own else f"{self.prefix}{one.name}-"
        return tuple(f"{name}seed-{number:02d}" for number in range(one.seeds))

    def part(self, name: str, inputs: InputSettings) -> Inputs:
        """Make what a tagger takes of the jets of one part.

        Parameters
        ----------
        name : {"train", "validation", "test"}
            The part.
        inputs : InputSettings
            What the tagger takes.

        Returns
        -------
        dict of str to ndarray of float32, first axis N
        """
        memory = self.experiment.memory_of_part
        return make_inputs(getattr(self.jets, name), inputs, cache=self.cache, memory=memory)

    def served(self, one: TaggerFit) -> ServedSettings:
        """Say what a network needs to be served.

        Parameters
        ----------
        one : TaggerFit
            The network.

        Returns
        -------
        ServedSettings
        """
        changes = {"tagger": one.tagger, "images": one.images}
        return served_settings(self.experiment.model_copy(update=changes))

    def raw_images(self) -> LazyArray:
        """Give the test jets' images as they come from a client, to sum those misidentified."""
        return raw_images(self.jets.test, served_settings(self.experiment))


def fit_classical_tagger(shared: TaggerFits, one: TaggerFit) -> FinalFit:
    """Train a classical tagger, and score the test jets with it.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    one : TaggerFit
        The tagger.

    Returns
    -------
    FinalFit
        Without a network.

    Raises
    ------
    ValueError
        If the tagger is a network.
    """
    settings = one.tagger
    if not isinstance(settings, CLASSICAL):
        raise ValueError(f"{one.name} is a network")
    experiment, jets = shared.experiment, shared.jets
    with shared.parent.child(shared.run_names(one)[0]) as child:
        child.parameters({"seed": one.seed, **settings.model_dump(mode="json", exclude_none=True)})
        inputs = input_settings(settings, one.images)
        fewer = {
            name: _evenly(getattr(jets, name), settings.maximum_jets) for name in ("train", "validation")
        }
        train, validation = (
            _columns(make_inputs(part, inputs, cache=shared.cache)) for part in fewer.values()
        )
        signal = experiment.classes.index(experiment.signal)
        tagger = fit_classical(
            settings,
            train,
            fewer["train"].label,
            validation,
            fewer["validation"].label,
            classes=len(experiment.classes),
            signal=signal,
            seed=one.seed,
        )
        if isinstance(settings, BoostedTreesSettings):
            drops = importance(
                tagger,
                validation,
                fewer["validation"].label,
                settings.observables,
                signal=signal,
                seed=one.seed,
            )
            child.result("importance", drops)
        scores = (_scores(tagger, shared.part(name, inputs)) for name in ("validation", "test"))
        return scored(shared, child, None, *scores)


def _evenly(jets: Jets, number: int) -> Jets:
    """Choose jets evenly over the sample, if there are more."""
    if len(jets) <= number:
        return jets
    fewer = jets.take(np.linspace(0, len(jets) - 1, number).astype(np.int64))
    jets.release()
    return fewer


def _columns(inputs: Inputs, which: slice = slice(None)) -> Float:
    """Bring the one input of a classical tagger to one row a jet."""
    (values,) = some_inputs(inputs, which).values()
    return values.reshape(len(values), -1)


def _scores(tagger: ClassicalTagger, inputs: Inputs) -> Float:
    starts = range(0, number_of_jets(inputs), JETS_PER_BLOCK)
    return np.concatenate([tagger.scores(_columns(inputs, slice(n, n + JETS_PER_BLOCK))) for n in starts])


def scored(
    shared: TaggerFits,
    child: ChildRun,
    network: keras.Model | None,
    validation_scores: Float,
    test_scores: Float,
    *,
    raw: LazyArray | None = None,
    history: History | None = None,
    served: ServedSettings | None = None,
) -> FinalFit:
    """Evaluate a fit on validation and test jets, and record numbers, figures and model.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    child : MlflowRecorder or FinishedRun
        Of the fit's run.
    network : keras.Model or None
        What was fitted; None for a classical tagger.
    validation_scores, test_scores : ndarray of float32, shape (N, classes)
        What it says of the jets.
    raw : LazyArray, shape (N, pixels, pixels), optional
        The test jets' raw images, to sum those misidentified.
    history : History, optional
        How the fit went.
    served : ServedSettings, optional
        What the network needs to be served.

    Returns
    -------
    FinalFit
        With all numbers.
    """
    experiment, jets, brief = shared.experiment, shared.jets, bool(shared.variant)
    validation = evaluated(experiment, validation_scores, jets.validation.label, part="validation")
    test = evaluated(experiment, test_scores, jets.test.label, part="test", images=raw)
    record_evaluation(child, validation, history, brief=brief)
    record_evaluation(child, test, brief=brief)
    record_note(child, validation, test)
    if is_chance(validation.auc, validation.auc_error):
        told = f"validation AUC {validation.auc:.4f} ± {validation.auc_error:.4f}, no better than guessing"
        logger.warning("%s learned nothing: %s", child.name, told)
        child.tags({"learned_nothing": told})
    child.arrays(TEST_SCORES, scores_to_keep([test_scores], jets.test, experiment.signal))
    if network is not None:
        child.network(network, _with_thresholds(shared, network, served, validation_scores))
    release_memory()
    return FinalFit(
        name=child.name,
        run_id=child.run_id,
        network=network,
        model_uri=str(child.model_uri or ""),
        history=history,
        validation=validation,
        test=test,
        scores=test_scores,
    )


def _with_thresholds(
    shared: TaggerFits, network: keras.Model, served: ServedSettings | None, scores: Float
) -> ServedSettings:
    """Measure working points on validation jets, in both forms that the served network takes."""
    served = served or served_settings(shared.experiment)
    if shared.variant or served.inputs.need_charge:
        # many, and none of them is served; or raw images, which carry no charges, cannot be judged
        return served
    jets, classes = shared.jets.validation, shared.experiment.classes
    is_signal = jets.label == classes.index(served.signal)
    some = slice(None, None, -(-len(jets) // THRESHOLD_JETS))
    images = raw_images(jets.take(some), served)[:]
    # a jet of which nothing falls on the image is refused
    seen = images.any(axis=(1, 2))
    if not is_signal[some][seen].any():
        return served
    of_images = probabilities(compiled(network), images[seen], served)

    def measured(scores: Float, is_signal: npt.NDArray[np.bool_]) -> tuple[float, ...]:
        return Thresholds.measured(discriminant(scores, classes, served.signal), is_signal)

    thresholds = Thresholds(
        constituents=measured(scores, is_signal), images=measured(of_images, is_signal[some][seen])
    )
    return served.model_copy(update={"thresholds": thresholds})


def ensemble_of(shared: TaggerFits, fits: Sequence[FinalFit]) -> FinalFit:
    """Join the final fits to one tagger, and score the test jets with it.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    fits : sequence of FinalFit
        Of the experiment's own tagger.

    Returns
    -------
    FinalFit
        Its network takes what its members take; its child run is called ``ensemble``.
    """
    network = build_ensemble([fit.network for fit in fits if fit.network is not None])
    scores = {name: predict(network, _own_part(shared, name)) for name in ("validation", "test")}
    return _joined(shared, "ensemble", network, scores, {"members": len(fits)})


def with_temperature(shared: TaggerFits, fit: FinalFit) -> FinalFit:
    """Scale a network's probabilities by a temperature fitted to the validation jets.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    fit : FinalFit
        With a network.

    Returns
    -------
    FinalFit
        A network that takes the same; for two classes every rejection is the same too. Its child run
        is called ``calibrated``.

    Raises
    ------
    ValueError
        If the fit has no network.
    """
    if fit.network is None:
        raise ValueError(f"{fit.name} is no network")
    validation = predict(fit.network, _own_part(shared, "validation"))
    temperature = fit_temperature(validation, shared.jets.validation.label)
    scores = {
        "validation": apply_temperature(validation, temperature).astype(np.float32),
        "test": apply_temperature(fit.scores, temperature).astype(np.float32),
    }
    network = build_ensemble([fit.network], temperature=temperature)
    return _joined(
        shared, "calibrated", network, scores, {"temperature": temperature, "calibrated": fit.name}
    )


def _own_part(shared: TaggerFits, name: str) -> Inputs:
    one = shared.experiment.taggers[0]
    return shared.part(name, input_settings(one.tagger, one.images))


def _joined(
    shared: TaggerFits,
    name: str,
    network: keras.Model,
    scores: Mapping[str, Float],
    parameters: Mapping[str, Any],
) -> FinalFit:
    """Record a network that is made of final fits."""
    one = shared.experiment.taggers[0]
    with shared.parent.child(f"{shared.prefix}{name}") as child:
        child.parameters({**parameters, **hyperparameters(one)})
        child.metrics({"network_parameters": network.count_params()})
        return scored(
            shared,
            child,
            network,
            scores["validation"],
            scores["test"],
            raw=None if shared.variant else shared.raw_images(),
            served=shared.served(one),
        )


def hyperparameters(one: TaggerFit) -> dict[str, Any]:
    """Give all settings of a tagger and its training, to be recorded.

    Parameters
    ----------
    one : TaggerFit
        The tagger.

    Returns
    -------
    dict
        Names and values.
    """
    return {
        **one.tagger.model_dump(mode="json", exclude_none=True),
        **one.training.model_dump(mode="json", exclude_none=True),
    }
