"""Scores of test jets as a run keeps them, so that runs can be compared jet by jet later on."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import ModelError
from jetexp.evaluation.rejection import RejectionCurve, rejection_curve
from jetexp.evaluation.report import discriminant
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.seeds import SeedComparison, compare_over_seeds
from jetexp.jets.sample import Jets

__all__ = ["TEST_SCORES", "TestScores", "scores_to_keep"]

# what damaged archives and headers of arrays end in
DAMAGES = (
    OSError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    TokenError,
    EOFError,
    MemoryError,
)

Float = npt.NDArray[np.float32]

# name of the file, without its ending
TEST_SCORES = "test_scores"
NAMES = frozenset({"scores", "label", "classes", "signal", "fingerprint"})
# unpacked; a hundred million jets of ten classes
MAXIMUM_SIZE = 4_000_000_000


@dataclass(frozen=True, eq=False)
class TestScores:
    """What one tagger, trained from one or more seeds, says of the test jets.

    Attributes
    ----------
    scores : ndarray of float32, shape (S, N, classes)
        Class probabilities, a block a seed.
    label : ndarray of int16, shape (N,)
        True classes.
    classes : tuple of str
        Names of the classes.
    signal : str
        The class that is signal.
    fingerprint : str
        Of the test jets.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    scores: Float
    label: npt.NDArray[np.int16]
    classes: tuple[str, ...]
    signal: str
    fingerprint: str

    def are_of_the_same_jets(self, other: TestScores) -> bool:
        """Say whether another tagger was tested on the same jets, to tell the same classes apart.

        Parameters
        ----------
        other : TestScores
            Of the other tagger.

        Returns
        -------
        bool
            Whether the two can be compared jet by jet.
        """
        mine, others = ((one.fingerprint, one.classes, one.signal, len(one.label)) for one in (self, other))
        return mine == others and np.array_equal(self.label, other.label)

    def compared_with(self, other: TestScores) -> SeedComparison:
        """Compare with another tagger on the same jets.

        Parameters
        ----------
        other : TestScores
            Of the other tagger.

        Returns
        -------
        SeedComparison
            Above zero where this one is better.
        """
        mine, others = (
            np.stack([discriminant(scores, one.classes, one.signal) for scores in one.scores])
            for one in (self, other)
        )
        return compare_over_seeds(self.label, mine, others, signal_index=self.classes.index(self.signal))

    def curve_of(self, seed: int) -> RejectionCurve:
        """Compute the rejection curve of one seed, with its statistical error.

        Parameters
        ----------
        seed : int
            Which of the S seeds.

        Returns
        -------
        RejectionCurve
            Background rejection against signal efficiency.
        """
        values = discriminant(self.scores[seed], self.classes, self.signal)
        curve = roc_curve(values, self.label == self.classes.index(self.signal))
        return rejection_curve(curve, rng=np.random.default_rng(0))

    @classmethod
    def read(cls, path: Path) -> TestScores:
        """Read what :func:`scores_to_keep` gave from a file; nothing in it is unpickled.

        Parameters
        ----------
        path : Path
            An ``.npz`` file.

        Returns
        -------
        TestScores
            As it was kept.

        Raises
        ------
        ModelError
            If the file is no such file.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > MAXIMUM_SIZE:
                raise ModelError(f"{path.name} would take {size / 1e9:.1f} GB of memory.")
            with np.load(path, allow_pickle=False) as content:
                if set(content) != NAMES:
                    raise ModelError(f"{path.name} holds {sorted(content)}, not {sorted(NAMES)}.")
                arrays = {name: content[name] for name in NAMES}
            return cls._checked(path.name, arrays)
        except DAMAGES as error:
            raise ModelError(f"{path.name} holds no scores: {error}.") from error

    @classmethod
    def _checked(cls, name: str, arrays: dict[str, npt.NDArray[Any]]) -> TestScores:
        scores, label, classes = arrays["scores"], arrays["label"], arrays["classes"]
        wanted = (
            scores.dtype.kind == "f"
            and label.dtype.kind == "i"
            and all(arrays[key].dtype.kind == "U" for key in ("classes", "signal", "fingerprint"))
            and scores.ndim == 3
            and scores.shape[1:] == (*label.shape, *classes.shape)
            and math.prod(scores.shape) > 0
            and bool(np.isfinite(scores).all())
            and arrays["signal"].ndim == arrays["fingerprint"].ndim == 0
            and str(arrays["signal"]) in classes
            and 0 <= label.min() <= label.max() < len(classes)
        )
        if not wanted:
            raise ModelError(f"{name} holds no scores of the shape (seeds, jets, classes) with their labels.")
        return cls(
            scores.astype(np.float32),
            label.astype(np.int16),
            tuple(map(str, classes)),
            str(arrays["signal"]),
            str(arrays["fingerprint"]),
        )


def scores_to_keep(scores: Sequence[Float], test: Jets, signal: str) -> dict[str, npt.NDArray[Any]]:
    """Give the arrays that a run keeps.

    Parameters
    ----------
    scores : sequence of ndarray of float32, shape (N, classes)
        Class probabilities, one array a seed.
    test : Jets
        The test jets.
    signal : str
        The class that is signal.

    Returns
    -------
    dict of str to ndarray
        By name.
    """
    return {
        "scores": np.stack(scores).astype(np.float32),
        "label": test.label.astype(np.int16),
        "classes": np.array(test.classes),
        "signal": np.array(signal),
        "fingerprint": np.array(test.fingerprint),
    }
