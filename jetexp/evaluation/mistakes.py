"""What misidentified jets look like: their sum images, and how like the classes' these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.uncertainty import binomial_error

__all__ = [
    "ImageSource",
    "MisidentifiedJets",
    "Mistakes",
    "confusion_fractions",
    "confusion_matrix",
    "find_mistakes",
    "similarity",
]

DIGITS = 6
IMAGES_AT_ONCE = 4096
# all pairs of four classes; of ten there would be ninety
MAXIMUM_KINDS = 12


@dataclass(frozen=True, eq=False)
class MisidentifiedJets(Record):
    """The jets of one class that were taken for another.

    Attributes
    ----------
    true, predicted : int
        Index of the class they are of, and of the one they were taken for.
    count : int
        Number of these jets.
    sum_image : ndarray of float64, shape (H, W)
        Sum of their images.
    ssim : tuple of (float or None)
        Structural similarity of ``sum_image`` to the sum image of each class, each divided by its
        maximum; None where an image is empty.
    """

    true: int
    predicted: int
    count: int
    sum_image: Float
    ssim: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class Mistakes(Record):
    """Images of the classes and of the misidentified jets, first axis eta, second phi.

    Attributes
    ----------
    half_width : float
        Half the side of the images, in eta and phi.
    examples : ndarray of float64, shape (C, H, W)
        The first jet of each class.
    class_sums : ndarray of float64, shape (C, H, W)
        Sum image of each class.
    kinds : tuple of MisidentifiedJets
        One for each ordered pair of different classes; of many classes the most frequent twelve.
    """

    half_width: float
    examples: Float
    class_sums: Float
    kinds: tuple[MisidentifiedJets, ...]


def confusion_matrix(label: Integer, predicted: Integer, classes: int) -> Integer:
    """Count jets by true (first axis) and predicted class.

    Parameters
    ----------
    label, predicted : ndarray of int64, shape (N,)
        Class indices.
    classes : int
        Number of classes, C.

    Returns
    -------
    ndarray of int64, shape (C, C)
        The diagonal holds the jets identified rightly.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    counts = np.bincount(label * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def confusion_fractions(confusion: Integer) -> tuple[Float, Float]:
    """Say which fractions of each true class are identified as which.

    Parameters
    ----------
    confusion : ndarray of int64, shape (C, C)
        Jets by true (first axis) and predicted class; at least one of each true class.

    Returns
    -------
    fractions, errors : ndarray of float64, shape (C, C)
        Errors are binomial.

    Examples
    --------
    >>> fractions, errors = confusion_fractions(np.array([[75, 25], [0, 50]]))
    >>> fractions.tolist(), errors.round(3).tolist()
    ([[0.75, 0.25], [0.0, 1.0]], [[0.043, 0.043], [0.014, 0.014]])
    """
    fractions = confusion / confusion.sum(axis=1, keepdims=True)
    errors = [[binomial_error(passing, int(row.sum())) for passing in row] for row in confusion]
    return fractions, np.array(errors)


def similarity(first: Float, second: Float) -> float | None:
    """Return the structural similarity (SSIM) of two images, each divided by its maximum.

    Wang et al., IEEE Transactions on Image Processing 13 (2004) 600, as scikit-image has it.

    Parameters
    ----------
    first, second : ndarray of float64, shape (H, W)
        Images without negative pixels, three pixels a side or more.

    Returns
    -------
    float or None
        1 for equal images; None where an image is empty.

    Examples
    --------
    >>> similarity(np.eye(8), 2 * np.eye(8))
    1.0
    """
    from skimage.metrics import structural_similarity

    if first.max() <= 0 or second.max() <= 0:
        return None
    # the window is 7 pixels wide, or the largest odd number that fits
    window = min(7, min(first.shape) - 1 + min(first.shape) % 2)
    return float(
        structural_similarity(first / first.max(), second / second.max(), data_range=1.0, win_size=window)
    )


class ImageSource(Protocol):
    """An array of images, or what gives some of them when it is asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W)."""

    def __getitem__(self, which: Any, /) -> npt.NDArray[np.floating]:
        """Give the images of a slice or of a list of indices."""


def find_mistakes(
    images: ImageSource, label: Integer, predicted: Integer, classes: int, half_width: float
) -> Mistakes:
    """Sum the images of the classes and of the misidentified jets.

    Parameters
    ----------
    images : ndarray of float, shape (N, H, W), or what gives some of them when it is asked
        First axis eta, second phi, in GeV.
    label, predicted : ndarray of int64, shape (N,)
        Class indices; every class has at least one jet.
    classes : int
        Number of classes.
    half_width : float
        Half the side of the images, in eta and phi.

    Returns
    -------
    Mistakes
        Sum images and their similarities, to six digits.
    """
    sums = np.zeros((classes, classes, *images.shape[1:]))
    for start in range(0, len(label), IMAGES_AT_ONCE):
        block = slice(start, min(start + IMAGES_AT_ONCE, len(label)))
        some = images[block]
        for true in range(classes):
            for guess in range(classes):
                chosen = some[(label[block] == true) & (predicted[block] == guess)]
                sums[true, guess] += chosen.sum(axis=0, dtype=np.float64)
    class_sums = sums.sum(axis=1)
    pairs = [(true, guess) for true in range(classes) for guess in range(classes) if true != guess]
    counts = confusion_matrix(label, predicted, classes)
    often = set(sorted(pairs, key=lambda pair: -counts[pair])[:MAXIMUM_KINDS])
    kinds = tuple(
        MisidentifiedJets(
            true=true,
            predicted=guess,
            count=int(counts[true, guess]),
            sum_image=_rounded(sums[true, guess]),
            ssim=tuple(similarity(sums[true, guess], class_sum) for class_sum in class_sums),
        )
        for true, guess in pairs
        if (true, guess) in often
    )
    first = [int(np.argmax(label == index)) for index in range(classes)]
    return Mistakes(
        half_width=float(half_width),
        examples=_rounded(images[first].astype(np.float64)),
        class_sums=_rounded(class_sums),
        kinds=kinds,
    )


def _rounded(images: Float) -> Float:
    """Keep six significant digits of the brightest pixel, which keeps stored results small."""
    largest = images.max(initial=0.0)
    if largest <= 0:
        return images
    return images.round(DIGITS - 1 - int(np.floor(np.log10(largest))))
