"""Arrays of a file that belong together, read side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import Array
from jetexp.jets.formats.labels import whole_numbers

__all__ = ["class_names", "in_step"]


def in_step(arrays: Sequence[Array], number: int) -> Iterator[tuple[int, list[npt.NDArray[Any]]]]:
    """Read arrays side by side.

    Parameters
    ----------
    arrays : sequence of Array
        With first axes of one length.
    number : int
        Entries of the first axis at a time.

    Yields
    ------
    int
        Place of the first of these entries.
    list of ndarray
        The same entries of each array.

    Raises
    ------
    JetFileError
        If the arrays are of different lengths, or the file is damaged.
    """
    for array in arrays:
        if array.shape[0] != arrays[0].shape[0]:
            raise JetFileError(
                f"{arrays[0].where} holds {arrays[0].shape[0]} jets, but {array.where} {array.shape[0]}."
            )
    first = 0
    for blocks in zip(*(array.rows(number) for array in arrays), strict=True):
        yield first, list(blocks)
        first += len(blocks[0])


def class_names(values: npt.NDArray[Any], names: Mapping[str, str], where: str, first: int = 0) -> list[str]:
    """Give the names of the classes that numbers stand for.

    Parameters
    ----------
    values : ndarray of int, bool or float, shape (N,)
        As they stand in the file.
    names : mapping of str to str
        Names of the classes by number.
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
        If a number stands for no class.

    Examples
    --------
    >>> import numpy as np
    >>> class_names(np.array([1.0, 0.0]), {"0": "QCD", "1": "W"}, "file, signal")
    ['W', 'QCD']
    """
    numbers = whole_numbers(values, where, first)
    for jet, number in enumerate(numbers):
        if number not in names:
            right = " or ".join(f"{number} ({name})" for number, name in names.items())
            raise JetFileError(f"{where}, jet {first + jet}, is {number}; {right} would be right.")
    return [names[number] for number in numbers]
