"""A candidate judged against the champion, on the jets that the registered model owns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from jetexp.apart import score_apart, stop_scoring
from jetexp.champion import change_champion, one_at_a_time
from jetexp.errors import ModelError
from jetexp.evaluation.report import PairedComparison, compare_paired, discriminant
from jetexp.experiment import GateSettings
from jetexp.gate import Decision, Performance, decide
from jetexp.history import Event, aliases_of
from jetexp.inputs import LazyArray
from jetexp.mlflow_store import delivered
from jetexp.registry import (
    CHALLENGER,
    PREVIOUS,
    TEST_SAMPLE,
    champion_of,
    gate_tags,
    registered_model,
)

__all__ = ["TestSample", "Verdict", "judge", "preview"]

Float = npt.NDArray[np.float32]
# scores raw images with the model at an address
Scorer = Callable[[str, Float | LazyArray], Float]

# names of tags
CLASSES, SIGNAL = "classes", "signal"
# the largest difference between scores of one model that rounding can explain
TOLERANCE = 1e-5
# how often a candidate is judged anew because the champion changed meanwhile
ATTEMPTS = 10


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
    version : str or None
        The candidate's version; None where it was judged only to see what would be.
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
    version: str | None
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


def judge(
    client: MlflowClient,
    name: str,
    version: str,
    sample: TestSample,
    gate: GateSettings,
    *,
    offline: Float,
    new_test_sample: bool = False,
    score: Scorer = score_apart,
) -> Verdict:
    """Judge a registered version against the champion, and move the aliases accordingly.

    Candidate and champion are both scored here and now, on raw images of the test jets, each in
    a fresh process by the code that was registered with it. Should another model become champion
    meanwhile, the candidate is judged anew, against that one.

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
    score : callable
        Scores images with the model at an address.

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
    bench = _Bench(client, name, sample, gate, new_test_sample, score)
    for _ in range(ATTEMPTS):
        champion = champion_of(client, name)
        if champion is not None and str(champion.version) == str(version):
            raise ModelError(f"Version {version} of {name} is the champion already.")
        owned = _owned_sample(client, name)
        verdict = bench.verdict(f"models:/{name}/{version}", champion, owned, offline)
        verdict = replace(verdict, version=str(version))
        with one_at_a_time(name):
            if _carried_out(client, verdict, sample, owned):
                return verdict
    raise ModelError(
        f"Version {version} of {name} was not judged: its champion changed {ATTEMPTS} times meanwhile; "
        "try again."
    )


def preview(
    client: MlflowClient,
    name: str,
    model_uri: str,
    sample: TestSample,
    gate: GateSettings,
    *,
    offline: Float,
    new_test_sample: bool = False,
    score: Scorer = score_apart,
) -> Verdict:
    """Judge a logged model as :func:`judge` would, and change nothing.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model; it need not exist.
    model_uri : str
        Address of the logged model, ``models:/<model id>``.
    sample : TestSample
        Test jets.
    gate : GateSettings
        The thresholds.
    offline : ndarray of float32, shape (N, classes)
        The candidate's scores of the sample, by :func:`jetexp.serving.probabilities` here.
    new_test_sample : bool
        Judge as if the registered model took these test jets as its own.
    score : callable
        Scores images with the model at an address.

    Returns
    -------
    Verdict
        Without a version.

    Raises
    ------
    ModelError
        If the model gives other scores when it is loaded back, or the champion cannot be scored.
    """
    bench = _Bench(client, name, sample, gate, new_test_sample, score)
    return bench.verdict(model_uri, champion_of(client, name), _owned_sample(client, name), offline)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What candidates are judged by; a model is scored once."""

    client: MlflowClient
    name: str
    sample: TestSample
    gate: GateSettings
    new_test_sample: bool
    score: Scorer
    scores: dict[str, Float] = field(default_factory=dict)

    def verdict(
        self, candidate: str, champion: ModelVersion | None, owned: str | None, offline: Float
    ) -> Verdict:
        """Score what is not scored yet, and decide; nothing is changed."""
        self._check_task(champion)
        before = None if champion is None else str(champion.version)
        scores, theirs = self._scored(candidate, before and f"models:/{self.name}/{before}")
        difference = _largest_difference(scores, offline)
        if difference > TOLERANCE:
            raise ModelError(
                f"{candidate} of {self.name}, loaded back from where it is kept, gives scores that differ by "
                f"{difference:.2g} from those before (allowed: {TOLERANCE:g}); it takes no alias."
            )
        decision = decide(
            self.gate,
            per_class=self.sample.per_class,
            fingerprint=self.sample.fingerprint,
            owned_fingerprint=owned,
            performance=self._performance(scores),
            comparison=None if theirs is None else self._compared(scores, theirs),
            new_test_sample=self.new_test_sample,
        )
        return Verdict(self.name, None, before, decision, self.sample.fingerprint, difference)

    def _check_task(self, champion: ModelVersion | None) -> None:
        """Refuse to compare models that tell other classes apart."""
        if champion is None:
            return
        theirs = (champion.tags.get(CLASSES), champion.tags.get(SIGNAL))
        if theirs != (",".join(self.sample.classes), self.sample.signal):
            raise ModelError(
                f"The champion of {self.name} tells apart {theirs[0]} (signal {theirs[1]}), not "
                f"{','.join(self.sample.classes)} (signal {self.sample.signal}); give the experiment another "
                "registered_model."
            )

    def _scored(self, candidate: str, champion: str | None) -> tuple[Float, Float | None]:
        """Score the images with candidate and champion, at once: most of the time goes into starting."""
        missing = [one for one in (candidate, champion) if one is not None and one not in self.scores]
        with ThreadPoolExecutor(2) as pool:
            try:
                begun = {address: pool.submit(self.score, address, self.sample.images) for address in missing}
                wait(begun.values())
            except BaseException:
                # or leaving the block would wait until all is scored
                stop_scoring()
                raise
        for address, scored in begun.items():
            try:
                self.scores[address] = scored.result()
            except ModelError as error:
                if address == candidate:
                    raise
                raise ModelError(
                    f"The champion cannot be judged, so nothing is promoted: {str(error).rstrip('.')}; "
                    f"if it is beyond repair, delete the alias champion of {self.name}."
                ) from error
        return self.scores[candidate], None if champion is None else self.scores[champion]

    def _discriminant(self, scores: Float) -> npt.NDArray[np.float64]:
        return discriminant(scores, self.sample.classes, self.sample.signal)

    def _performance(self, scores: Float) -> Performance:
        """Give a model's own numbers."""
        is_signal = self.sample.label == self.sample.classes.index(self.sample.signal)
        return Performance.measured(self._discriminant(scores), is_signal, self.gate.signal_efficiency)

    def _compared(self, scores: Float, theirs: Float) -> PairedComparison:
        """Compare the candidate's scores with the champion's."""
        return compare_paired(
            self.sample.label,
            self._discriminant(scores),
            self._discriminant(theirs),
            signal_index=self.sample.classes.index(self.sample.signal),
            signal_efficiency=self.gate.signal_efficiency,
            confidence=self.gate.confidence,
            minimum_gain=self.gate.minimum_gain if self.gate.metric == "rejection" else 0.0,
        )


def _largest_difference(scores: Float, offline: Float) -> float:
    if scores.shape != offline.shape:
        return float("inf")
    return float(np.abs(scores - offline).max())


def _owned_sample(client: MlflowClient, name: str) -> str | None:
    registered = registered_model(client, name)
    return None if registered is None else registered.tags.get(TEST_SAMPLE)


def _carried_out(client: MlflowClient, verdict: Verdict, sample: TestSample, owned: str | None) -> bool:
    """Move the aliases and write the version's tags; False if what was judged by is another by now."""
    name, version, decision = verdict.name, str(verdict.version), verdict.decision
    if _owned_sample(client, name) != owned:
        # another gate has given it other test jets meanwhile
        return False
    # the next candidate is compared by these, whatever happens here
    known = {
        TEST_SAMPLE: verdict.fingerprint,
        CLASSES: ",".join(sample.classes),
        SIGNAL: sample.signal,
    }
    _tag_version(client, name, version, known)
    numbers = _numbers(decision)
    adopted = verdict.fingerprint if decision.adopt_test_sample else None
    if decision.promoted:
        event = Event(
            kind="promotion",
            version=version,
            champion_before=verdict.champion,
            # without a champion, one that was before may still be gone back to
            previous=verdict.champion or aliases_of(client, name).get(PREVIOUS),
            reason=decision.reason,
            numbers=numbers,
            test_sample=adopted,
        )
        return change_champion(client, name, event) is not None
    champion = champion_of(client, name)
    if (None if champion is None else str(champion.version)) != verdict.champion:
        return False
    delivered(client.set_registered_model_alias, name, CHALLENGER, version)
    if adopted is not None:
        delivered(client.set_registered_model_tag, name, TEST_SAMPLE, adopted)
    told = gate_tags(decision.outcome, decision.reason, numbers, verdict.champion)
    _tag_version(client, name, version, told)
    return True


def _tag_version(client: MlflowClient, name: str, version: str, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        delivered(client.set_model_version_tag, name, version, key, value)


def _numbers(decision: Decision) -> dict[str, float]:
    """Give what a decision rested on, for tags and history."""
    numbers = {"auc": decision.performance.auc, "rejection": decision.performance.rejection}
    comparison = decision.comparison
    if comparison is not None:
        by_auc = decision.settings.metric == "auc"
        p_value = comparison.auc_p_value(decision.settings.minimum_gain) if by_auc else comparison.p_value
        numbers |= {
            "rejection_ratio": comparison.ratio,
            "auc_difference": comparison.auc_difference,
            "p_value": p_value,
        }
    return numbers
