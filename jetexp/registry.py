"""The model registry: register a candidate, judge it, move aliases."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import mlflow
import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from jetexp.apart import SCORING_TIME, score_apart
from jetexp.errors import ModelError
from jetexp.evaluation.report import PairedComparison, compare_paired, discriminant
from jetexp.experiment import GateSettings
from jetexp.gate import Decision, decide
from jetexp.inputs import LazyArray
from jetexp.mlflow_store import StoreError, delivered, masked

__all__ = ["TestSample", "Verdict", "champion_of", "judge", "model_of_run", "register"]

Float = npt.NDArray[np.float32]

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
# names of tags
TEST_SAMPLE, CLASSES, SIGNAL = "test_sample", "classes", "signal"
# the largest difference between scores of one model that rounding can explain
TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class TestSample:
    """Test jets in the form that served models take.

    Attributes
    ----------
    images : ndarray of float32 or LazyArray, shape (N, pixels, pixels)
        Raw images, GeV.
    label : ndarray of int64, shape (N,)
        True classes.
    classes : tuple of str
        Names of the classes.
    signal : str
        The class that is signal.
    fingerprint : str
        Of the jets that the images were made from.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    images: Float | LazyArray
    label: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    signal: str
    fingerprint: str

    @property
    def per_class(self) -> dict[str, int]:
        """Number of jets of each class."""
        counts = np.bincount(self.label, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of a candidate in the registry.

    Attributes
    ----------
    name : str
        The registered model.
    version : str
        The candidate's version.
    champion : str or None
        The version that was champion before; None if there was none.
    decision : Decision
        Outcome, reason and numbers, from the scores of the served models (raw images).
    fingerprint : str
        Of the test jets.
    largest_difference : float
        Between the candidate's scores here and by the registered version.
    """

    name: str
    version: str
    champion: str | None
    decision: Decision
    fingerprint: str
    largest_difference: float

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict in a form that JSON can hold.

        Returns
        -------
        dict
            For ``results/gate.json``.
        """
        return {
            "registered_model": self.name,
            "version": self.version,
            "champion_before": self.champion,
            "test_sample": self.fingerprint,
            "scored_form": "raw images, through the served models",
            "largest_score_difference_after_reload": self.largest_difference,
            **self.decision.to_dict(),
        }


def model_of_run(client: MlflowClient, run_id: str) -> str:
    """Find the model that a run logged last.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    run_id : str
        The run.

    Returns
    -------
    str
        Its address, ``models:/<model id>``.

    Raises
    ------
    ModelError
        If there is no such run, or it logged no model.
    """
    try:
        outputs = client.get_run(run_id).outputs
    except MlflowException as error:
        raise ModelError(f"There is no run {run_id}: {masked(error.message)}") from error
    models = outputs.model_outputs if outputs is not None else []
    if not models:
        raise ModelError(f"Run {run_id} logged no model.")
    return f"models:/{models[-1].model_id}"


def register(
    client: MlflowClient,
    name: str,
    model_uri: str,
    *,
    run_id: str,
    tags: Mapping[str, str],
    description: str = "",
) -> str:
    """Enter a logged model into the registry as a new version; made anew if it is the first.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.
    model_uri : str
        Address of the logged model, ``models:/<model id>``.
    run_id : str
        The run that logged it.
    tags : mapping
        Of the version: experiment, test metrics, commit.
    description : str
        Of the registered model, where it is new.

    Returns
    -------
    str
        The version.
    """
    try:
        delivered(client.create_registered_model, name, description=description or None)
    except StoreError as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = delivered(
        client.create_model_version,
        name,
        source=model_uri,
        run_id=run_id,
        tags={key: str(value) for key, value in tags.items()},
        model_id=model_uri.removeprefix("models:/"),
    )
    return str(created.version)


def champion_of(client: MlflowClient, name: str) -> ModelVersion | None:
    """Find the champion of a registered model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.

    Returns
    -------
    mlflow.entities.model_registry.ModelVersion or None
        None if it has no champion, or is not registered at all.
    """
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    version = model.aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, str(version))


def judge(
    client: MlflowClient,
    name: str,
    version: str,
    sample: TestSample,
    gate: GateSettings,
    *,
    offline: Float,
    new_test_sample: bool = False,
) -> Verdict:
    """Judge a registered version against the champion, and move the aliases accordingly.

    Candidate and champion are both scored here and now, on raw images of the test jets, each in
    a fresh process by the code that was registered with it.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.
    version : str
        The candidate.
    sample : TestSample
        Test jets.
    gate : GateSettings
        The thresholds.
    offline : ndarray of float32, shape (N, classes)
        The candidate's scores of the sample, by :func:`jetexp.serving.probabilities` here.
    new_test_sample : bool
        Let the registered model take these test jets as its own.

    Returns
    -------
    Verdict
        What was decided and done; the numbers also stand in the version's tags.

    Raises
    ------
    ModelError
        If the version is the champion already, it gives other scores when it is loaded back from
        the registry, or the champion cannot be scored. No alias has moved then.
    """
    with _one_gate_at_a_time(name):
        model = client.get_registered_model(name)
        champion = champion_of(client, name)
        if champion is not None and str(champion.version) == str(version):
            raise ModelError(f"Version {version} of {name} is the champion already.")
        _same_task(name, champion, sample)
        before = None if champion is None else str(champion.version)
        scores, theirs = _scored(name, str(version), before, sample.images)
        difference = _largest_difference(scores, offline)
        if difference > TOLERANCE:
            raise ModelError(
                f"Version {version} of {name}, loaded back from the registry, gives scores that differ by "
                f"{difference:.2g} from those before (allowed: {TOLERANCE:g}); it takes no alias."
            )
        comparison = None if theirs is None else _compared(scores, theirs, sample, gate)
        decision = decide(
            gate,
            per_class=sample.per_class,
            fingerprint=sample.fingerprint,
            owned_fingerprint=model.tags.get(TEST_SAMPLE),
            comparison=comparison,
            new_test_sample=new_test_sample,
        )
        verdict = Verdict(name, str(version), before, decision, sample.fingerprint, difference)
        _carry_out(client, verdict, sample)
    return verdict


def _largest_difference(scores: Float, offline: Float) -> float:
    if scores.shape != offline.shape:
        return float("inf")
    return float(np.abs(scores - offline).max())


def _same_task(name: str, champion: ModelVersion | None, sample: TestSample) -> None:
    """Refuse to compare models that tell other classes apart."""
    if champion is None:
        return
    theirs = (champion.tags.get(CLASSES), champion.tags.get(SIGNAL))
    if theirs != (",".join(sample.classes), sample.signal):
        raise ModelError(
            f"The champion of {name} tells apart {theirs[0]} (signal {theirs[1]}), not "
            f"{','.join(sample.classes)} (signal {sample.signal}); give the experiment another "
            "registered_model."
        )


def _scored(
    name: str, candidate: str, champion: str | None, images: Float | LazyArray
) -> tuple[Float, Float | None]:
    """Score the images with candidate and champion, at once: most of the time goes into starting."""
    with ThreadPoolExecutor(2) as pool:
        ours = pool.submit(score_apart, f"models:/{name}/{candidate}", images)
        if champion is None:
            return ours.result(), None
        theirs = pool.submit(score_apart, f"models:/{name}/{champion}", images)
        scores = ours.result()
        try:
            return scores, theirs.result()
        except ModelError as error:
            raise ModelError(
                f"The champion cannot be judged, so nothing is promoted: {str(error).rstrip('.')}; if it "
                f"is beyond repair, delete the alias champion of {name}."
            ) from error


def _compared(scores: Float, theirs: Float, sample: TestSample, gate: GateSettings) -> PairedComparison:
    """Compare the candidate's scores with the champion's."""
    ours, others = (discriminant(values, sample.classes, sample.signal) for values in (scores, theirs))
    return compare_paired(
        sample.label,
        ours,
        others,
        signal_index=sample.classes.index(sample.signal),
        signal_efficiency=gate.signal_efficiency,
        confidence=gate.confidence,
    )


def _carry_out(client: MlflowClient, verdict: Verdict, sample: TestSample) -> None:
    """Write the tags of the version, then move the aliases; `previous` first, lest a champion be lost."""
    name, version, decision = verdict.name, verdict.version, verdict.decision
    tags = {
        TEST_SAMPLE: verdict.fingerprint,
        CLASSES: ",".join(sample.classes),
        SIGNAL: sample.signal,
        "gate": decision.outcome,
        "gate_reason": decision.reason,
    }
    if decision.comparison is not None:
        tags["gate_champion_before"] = str(verdict.champion)
        tags["gate_rejection_ratio"] = f"{decision.comparison.ratio:.4f}"
        tags["gate_p_value"] = f"{decision.comparison.p_value:.3g}"
    for key, value in tags.items():
        delivered(client.set_model_version_tag, name, version, key, value)
    if decision.adopt_test_sample:
        delivered(client.set_registered_model_tag, name, TEST_SAMPLE, verdict.fingerprint)
    if not decision.promoted:
        delivered(client.set_registered_model_alias, name, CHALLENGER, version)
        return
    if verdict.champion is not None:
        delivered(client.set_registered_model_alias, name, PREVIOUS, str(verdict.champion))
    delivered(client.set_registered_model_alias, name, CHAMPION, version)
    if str(client.get_registered_model(name).aliases.get(CHALLENGER)) == version:
        delivered(client.delete_registered_model_alias, name, CHALLENGER)


@contextmanager
def _one_gate_at_a_time(name: str) -> Iterator[None]:
    """Keep two gates of one model on this machine from moving its aliases at once."""
    key = hashlib.sha256(f"{mlflow.get_tracking_uri()}\0{Path.cwd()}\0{name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"jetexp-gate-{os.getuid()}-{key}.lock"
    try:
        with filelock.FileLock(path, timeout=2 * SCORING_TIME):
            yield
    except filelock.Timeout:
        raise ModelError(f"Another gate of {name} on this machine does not end; see {path}.") from None
