"""From a trained tagger to the registry: measure it as served, register it, let the gate decide."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient

from jetexp import __version__
from jetexp.champion import settle
from jetexp.compare import find_run
from jetexp.errors import ModelError
from jetexp.evaluation.report import Evaluation
from jetexp.evaluation.sculpting import MassSculpting, RejectionAgainstPt
from jetexp.evaluation.separation import is_of_separation
from jetexp.experiment import Experiment
from jetexp.fits import FinalFit, TaggerFits
from jetexp.inference import compiled
from jetexp.jets.collection import JETS_PER_BLOCK
from jetexp.jets.sample import Jets
from jetexp.judging import TestSample, Verdict, judge, preview
from jetexp.mlflow_store import connect, delivered
from jetexp.model_card import MODEL_CARD, ModelCard, PartOfJets, summary_of
from jetexp.outbox import temporary_outbox
from jetexp.parts import load_test_jets
from jetexp.recording import evaluated, raw_images, served_settings
from jetexp.registry import champion_of, model_of_run, register, version_of_run
from jetexp.serving import ServedSettings, load_tagger, probabilities
from jetexp.tracking import MlflowRecorder, git_tags

if TYPE_CHECKING:
    import keras

__all__ = ["promote_run", "register_best"]

Float = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)


def register_best(
    shared: TaggerFits,
    best: FinalFit,
    inspected: tuple[RejectionAgainstPt, MassSculpting],
    *,
    new_test_sample: bool,
) -> tuple[Evaluation | None, Verdict | None]:
    """Measure the best fit as it would be served, enter it into the registry, and let the gate decide.

    Parameters
    ----------
    shared : TaggerFits
        Experiment, jets and recorder of the execution; the experiment names registered model and gate.
    best : FinalFit
        The candidate.
    inspected : tuple
        What :func:`jetexp.inspection.record_inspection` found, for the model card.
    new_test_sample : bool
        Let the registered model take the test jets as its own.

    Returns
    -------
    served : Evaluation or None
        The candidate on raw images of the test jets; None where it cannot judge those.
    verdict : Verdict or None
        What the registry made of it; None where the experiment names no registered model.
    """
    experiment, parent = shared.experiment, shared.parent
    if best.network is None or served_settings(experiment).inputs.need_charge:
        # raw images carry no charges: such a tagger is measured, and not served
        return None, None
    sample = _test_sample(experiment, shared.jets.test)
    offline = _offline(best.network, sample, served_settings(experiment))
    served = evaluated(experiment, offline, sample.label, part="served")
    parent.metrics(served.metrics())
    parent.result("served_evaluation", served.to_dict())
    card = _model_card(shared, best, best.network, served, inspected).markdown
    for run_id in (parent.run_id, best.run_id):
        delivered(parent.client.log_text, run_id, card, MODEL_CARD)
    name = experiment.registered_model
    if name is None:
        return served, None
    tags = _version_tags(experiment, best.test.metrics() | served.metrics())
    version = _entered(shared, name, best, tags, summary_of(card))
    if version is None:
        return served, None
    against = champion_of(parent.client, name)
    logger.info(
        "judging version %s of %s%s",
        version,
        name,
        "" if against is None else f" against the champion, version {against.version}",
    )
    verdict = judge(
        parent.client,
        name,
        version,
        sample,
        experiment.gate,
        offline=offline,
        new_test_sample=new_test_sample,
    )
    parent.result("gate", verdict.to_dict())
    parent.tags(
        {
            "registered_model": name,
            "registered_version": version,
            "gate": verdict.decision.outcome,
            "gate_reason": verdict.decision.reason,
        }
    )
    return served, verdict


def _entered(shared: TaggerFits, name: str, best: FinalFit, tags: dict[str, str], summary: str) -> str | None:
    """Enter the best into the registry; None if this was done, and judged, before an interruption."""
    client, parent = shared.parent.client, shared.parent
    version = version_of_run(client, name, best.run_id)
    if version is None:
        description = shared.experiment.description
        return register(
            client,
            name,
            best.model_uri,
            run_id=best.run_id,
            tags=tags,
            description=description,
            summary=summary,
        )
    settle(client, name)
    told = client.get_model_version(name, version.version).tags
    if "gate" not in told:
        return str(version.version)
    number = str(version.version)
    logger.info("version %s of %s was judged before the interruption: %s", number, name, told["gate"])
    parent.tags(
        {
            "registered_model": name,
            "registered_version": number,
            **{key: told[key] for key in ("gate", "gate_reason") if key in told},
        }
    )
    return None


def promote_run(
    experiment: Experiment,
    run_name: str,
    *,
    jets_folder: Path,
    new_test_sample: bool = False,
    dry_run: bool = False,
) -> Verdict:
    """Register the model of a run, and judge it against the champion.

    Parameters
    ----------
    experiment : Experiment
        Names the registered model, the test jets and the gate.
    run_name : str
        The run's id or name; for the parent run of an execution, its best final fit.
    jets_folder : Path
        Where generated jets are kept.
    new_test_sample : bool
        Let the registered model take the test jets as its own.
    dry_run : bool
        Decide, and change nothing: no version, no alias, no record.

    Returns
    -------
    Verdict
        What the registry made of it, or would make.

    Raises
    ------
    JetexpError
        If there is no such run or model, or the experiment names no registered model.
    """
    if experiment.registered_model is None:
        raise ModelError(
            f"Experiment {experiment.name} names no registered_model, so nothing can be promoted."
        )
    client = connect()
    named = find_run(client, run_name)
    run_id = named.data.tags.get("best_run", named.info.run_id)
    run = client.get_run(run_id)
    uri = model_of_run(client, run_id)
    network, served = load_tagger(uri)
    if (served.classes, served.signal) != (tuple(experiment.classes), experiment.signal):
        raise ModelError(
            f"The model of run {run_name} tells apart {', '.join(served.classes)} (signal {served.signal}), "
            f"experiment {experiment.name} {', '.join(experiment.classes)} (signal {experiment.signal}): "
            "give the run's own experiment file."
        )
    sample = _test_sample(experiment, load_test_jets(experiment, jets_folder))
    offline = _offline(network, sample, served)
    name, gate = experiment.registered_model, experiment.gate
    if dry_run:
        return preview(client, name, uri, sample, gate, offline=offline, new_test_sample=new_test_sample)
    metrics = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
    version = register(
        client,
        name,
        uri,
        run_id=run_id,
        tags=_version_tags(experiment, metrics),
        description=experiment.description,
        summary=summary_of(_card_of_run(client, run_id)),
    )
    verdict = judge(client, name, version, sample, gate, offline=offline, new_test_sample=new_test_sample)
    with temporary_outbox(client) as outbox:
        info = run.info
        recorder = MlflowRecorder(outbox, info.run_id, info.experiment_id, info.run_name or "")
        recorder.result("gate", verdict.to_dict())
        outbox.flush()
    return verdict


def _model_card(
    shared: TaggerFits,
    best: FinalFit,
    network: keras.Model,
    served: Evaluation,
    inspected: tuple[RejectionAgainstPt, MassSculpting],
) -> ModelCard:
    jets = {"training": shared.jets.train, "validation": shared.jets.validation, "test": shared.jets.test}
    against_pt, sculpting = inspected
    return ModelCard(
        experiment=shared.experiment,
        fit=best.name,
        run_id=best.run_id,
        experiment_run_id=shared.parent.run_id,
        parameters=network.count_params(),
        raw_images=served_settings(shared.experiment).raw_images,
        parts={name: PartOfJets.of(part) for name, part in jets.items()},
        provenance=shared.jets.train.provenance,
        measured={"constituents": best.test.measurements(), "raw images, as served": served.measurements()},
        against_pt=against_pt,
        sculpting=sculpting,
        versions={"jetexp": __version__} | {name: version(name) for name in ("keras", "tensorflow", "numpy")},
    )


def _card_of_run(client: MlflowClient, run_id: str) -> str:
    """Read the model card that a run kept; empty where it kept none."""
    if MODEL_CARD not in {item.path for item in client.list_artifacts(run_id)}:
        return ""
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, MODEL_CARD, folder)).read_text(encoding="utf-8")


def _test_sample(experiment: Experiment, test: Jets) -> TestSample:
    return TestSample(
        images=raw_images(test, served_settings(experiment)),
        label=test.label,
        classes=experiment.classes,
        signal=experiment.signal,
        fingerprint=test.fingerprint,
    )


def _offline(network: keras.Model, sample: TestSample, served: ServedSettings) -> Float:
    """Score raw images in this process, some at a time."""
    forward = compiled(network)
    starts = range(0, len(sample.label), JETS_PER_BLOCK)
    return np.concatenate(
        [probabilities(forward, sample.images[start : start + JETS_PER_BLOCK], served) for start in starts]
    )


def _version_tags(experiment: Experiment, metrics: dict[str, float]) -> dict[str, str]:
    # those of pairs of classes, which may be hundreds, stand in the run
    numbers = {name: f"{value:.5g}" for name, value in metrics.items() if not is_of_separation(name)}
    return {"experiment": experiment.name, **numbers, **git_tags()}
