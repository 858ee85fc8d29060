"""Labels of jets in files, brought to the names of the classes that they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.momenta import double

__all__ = ["MAXIMUM_CLASSES", "counted", "labels_of", "one_hot", "whole_numbers"]

MAXIMUM_CLASSES = 1_000
# up to here floating numbers hold every whole one
LARGEST_LABEL = 2**53


def whole_numbers(values: npt.NDArray[Any], where: str, first: int = 0) -> list[str]:
    """Give labels that are whole numbers, of whatever type, as text.

    Parameters
    ----------
    values : ndarray of int, bool or float, shape (N,)
        As they stand in the file.
    where : str
        File and array, for messages.
    first : int
        Place of the first of them in the file, for messages.

    Returns
    -------
    list of str
        N names.

    Raises
    ------
    JetFileError
        If one is no whole number.

    Examples
    --------
    >>> whole_numbers(np.array([1.0, 0.0]), "file, y")
    ['1', '0']
    """
    numbers = double(values)
    bad = ~((np.abs(numbers) < LARGEST_LABEL) & (numbers == np.trunc(numbers)))
    if bad.any():
        jet = int(np.argmax(bad))
        raise JetFileError(f"{where}, jet {first + jet}, is {numbers[jet]:g}; labels are whole numbers.")
    return [str(number) for number in numbers.astype(np.int64).tolist()]


def one_hot(values: npt.NDArray[Any], names: Sequence[str], where: str, first: int = 0) -> list[str]:
    """Give the names of labels that are rows of one 1 among zeros.

    Parameters
    ----------
    values : ndarray of int, bool or float, shape (N, K)
        As they stand in the file.
    names : sequence of str
        Of the K columns.
    where : str
        File and array, for messages.
    first : int
        Place of the first of them in the file, for messages.

    Returns
    -------
    list of str
        N names.

    Raises
    ------
    JetFileError
        If a row is another one.

    Examples
    --------
    >>> one_hot(np.array([[0, 1], [1, 0]]), ["QCD", "W"], "file, y")
    ['W', 'QCD']
    """
    ones = values == 1
    bad = (ones.sum(axis=1) != 1) | ~(ones | (values == 0)).all(axis=1)
    if bad.any():
        jet = int(np.argmax(bad))
        raise JetFileError(f"{where}, jet {first + jet}, is of no class; one 1 among zeros would be right.")
    return [names[place] for place in ones.argmax(axis=1).tolist()]


def counted(batches: Iterable[Sequence[str]], where: str) -> dict[str, int]:
    """Count the jets of each class.

    Parameters
    ----------
    batches : iterable of sequence of str
        Names of the jets' classes.
    where : str
        File and array, for messages.

    Returns
    -------
    dict of str to int
        By name, in the order of the names.

    Raises
    ------
    JetFileError
        If there are more classes than labels can mean.
    """
    counts: Counter[str] = Counter()
    for names in batches:
        counts.update(names)
        if len(counts) > MAXIMUM_CLASSES:
            raise JetFileError(
                f"{where} holds over {MAXIMUM_CLASSES} different values, so these are no labels of classes."
            )
    return dict(sorted(counts.items(), key=lambda item: (len(item[0]), item[0])))


def labels_of(names: Sequence[str], labels: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Give the labels of jets by the names of their classes.

    Parameters
    ----------
    names : sequence of str
        As the file has them, of N jets.
    labels : mapping of str to int
        Of the classes that are wanted.

    Returns
    -------
    ndarray of int64, shape (N,)
        -1 where a class is not wanted.
    """
    return np.array([labels.get(name, -1) for name in names], dtype=np.int64)
