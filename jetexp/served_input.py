"""What clients send to a served tagger: brought to one form, or refused with every reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError
from jetexp.jets.momenta import jets_from_constituents
from jetexp.jets.sample import Jets

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RefusedJetsError", "check_images", "jets_from_table"]

Float = npt.NDArray[np.float32]

# GeV; nothing at the LHC has more transverse energy
MAXIMUM_PT = 13_000.0
MAXIMUM_ETA = 10.0
MAXIMUM_PHI = 2 * np.pi
MAXIMUM_CONSTITUENTS = 4_096
COLUMNS = ("pt", "eta", "phi")
# reasons that are written out; of the others their number is told
REASONS_SHOWN = 20


class RefusedJetsError(JetexpError):
    """Jets that no tagger can judge."""


def check_images(images: Any, pixels: int = 40) -> Float:
    """Bring raw images to one form, or say what is wrong with them.

    Parameters
    ----------
    images : array-like of numbers, shape (N, pixels, pixels) or (N, pixels, pixels, 1)
        Transverse energy of each pixel, GeV; first axis eta, second phi.
    pixels : int
        Pixels a side.

    Returns
    -------
    ndarray of float32, shape (N, pixels, pixels)
        The same.

    Raises
    ------
    RefusedJetsError
        If there is no image, the shape is another, or a pixel is not a number, negative or
        beyond the LHC; also if an image has no energy at all. Every such image is named.

    Examples
    --------
    >>> check_images(np.ones((2, 40, 40, 1))).shape
    (2, 40, 40)
    """
    wanted = f"(N, {pixels}, {pixels}) or (N, {pixels}, {pixels}, 1)"
    if not isinstance(images, np.ndarray | list | tuple):
        raise RefusedJetsError(f"Give raw images as an array of the shape {wanted}.")
    try:
        values = np.asarray(images)
    except ValueError:
        values = None
    if values is None:
        raise RefusedJetsError(f"Images must have the shape {wanted}; these differ among themselves.")
    if values.size == 0:
        raise RefusedJetsError(f"There is no image: give at least one, as an array of the shape {wanted}.")
    if values.dtype.kind not in "iuf":
        raise RefusedJetsError(f"Pixels must be numbers (transverse energy in GeV), not {values.dtype}.")
    if values.shape[1:] not in ((pixels, pixels), (pixels, pixels, 1)):
        raise RefusedJetsError(f"Images must have the shape {wanted}, not {values.shape}.")
    values = values.reshape(len(values), pixels, pixels)
    reasons: dict[int, str] = {}
    for problem, wrong in (
        ("is not a finite number", ~np.isfinite(values)),
        ("is negative", values < 0),
        (f"is above {MAXIMUM_PT:.0f} GeV", values > MAXIMUM_PT),
    ):
        for image in np.flatnonzero(wrong.any(axis=(1, 2))):
            row, column = np.argwhere(wrong[image])[0]
            reasons.setdefault(int(image), f"Pixel ({row}, {column}) of image {image} {problem}.")
    # as the tagger sees them: what is next to nothing is nothing there
    with np.errstate(over="ignore", under="ignore"):
        images = values.astype(np.float32)
    for image in np.flatnonzero(~images.any(axis=(1, 2))):
        reasons[int(image)] = f"Image {image} has no energy: all its pixels are zero."
    _refuse(reasons)
    return images


def jets_from_table(table: pd.DataFrame) -> Jets:
    """Make jets of constituents as a client sends them, or say what is wrong with them.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a jet; the columns ``pt`` (GeV), ``eta`` and ``phi`` (radians) hold a list of numbers each,
        constituents in any order. Those of pT 0 (padding) are left out. Where the jet lies in the detector
        does not matter.

    Returns
    -------
    Jets
        About their own axis.

    Raises
    ------
    RefusedJetsError
        If there is no jet, a column is missing or unknown, or a jet's lists are no lists of numbers, differ
        in length, are empty or longer than 4 096, or hold what no constituent can have. Every such jet is
        named.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"pt": [[500.0, 300.0]], "eta": [[1.0, 1.1]], "phi": [[3.1, -3.1]]})
    >>> jets_from_table(table).counts.tolist()
    [2]
    """
    named = [str(name) for name in table.columns]
    if sorted(named) != sorted(COLUMNS):
        raise RefusedJetsError(
            f"Jets are given by the columns {', '.join(COLUMNS)}, each a list of numbers a jet; "
            f"not by {', '.join(named) or 'none'}."
        )
    if not len(table):
        raise RefusedJetsError(f"There is no jet: give at least one row of {', '.join(COLUMNS)}.")
    reasons: dict[int, str] = {}
    lists = {name: _lists(name, table[name].to_list(), reasons) for name in COLUMNS}
    for jet, sizes in enumerate(zip(*([len(one) for one in lists[name]] for name in COLUMNS), strict=True)):
        if jet in reasons:
            continue
        if len(set(sizes)) > 1:
            told = ", ".join(f"{size} {name}" for size, name in zip(sizes, COLUMNS, strict=True))
            reasons[jet] = f"Jet {jet} has {told}: there must be one of each for every constituent."
        elif sizes[0] > MAXIMUM_CONSTITUENTS:
            reasons[jet] = f"Jet {jet} has {sizes[0]} constituents, more than {MAXIMUM_CONSTITUENTS}."
    _refuse(reasons)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists["pt"]])]).astype(np.int64)
    values = {name: np.concatenate(lists[name]) for name in COLUMNS}
    _check_values(values, offsets, reasons)
    jet_of = np.repeat(np.arange(len(table)), np.diff(offsets))
    with np.errstate(over="ignore", under="ignore"):
        energy = np.bincount(jet_of, values["pt"].astype(np.float32), len(table))
    for empty in np.flatnonzero(energy == 0).tolist():
        reasons.setdefault(empty, f"Jet {empty} has no constituent with a pT above 0.")
    _refuse(reasons)
    return jets_from_constituents(
        offsets,
        values["pt"],
        values["eta"],
        values["phi"],
        label=np.zeros(len(table), np.int64),
        classes=("unlabelled",),
        where="the request",
    )


def _lists(name: str, cells: Sequence[Any], reasons: dict[int, str]) -> list[npt.NDArray[np.float64]]:
    """Turn cells into arrays; one that is no list of numbers is a reason, and empty."""
    found = []
    for jet, cell in enumerate(cells):
        try:
            values = np.asarray(cell) if isinstance(cell, list | tuple | np.ndarray) else None
        except ValueError:
            values = None
        if values is not None and values.ndim == 1 and (values.dtype.kind in "iuf" or not values.size):
            found.append(values.astype(np.float64))
        else:
            found.append(np.empty(0))
            reasons.setdefault(jet, f"{name} of jet {jet} is no list of numbers.")
    return found


def _check_values(
    values: Mapping[str, npt.NDArray[np.float64]], offsets: npt.NDArray[np.int64], reasons: dict[int, str]
) -> None:
    """Find what no constituent can have."""
    problems: tuple[tuple[str, str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]], ...] = (
        ("pt", "is not a finite number", lambda pt: ~np.isfinite(pt)),
        ("pt", "is negative", lambda pt: pt < 0),
        ("pt", f"is above {MAXIMUM_PT:.0f} GeV", lambda pt: pt > MAXIMUM_PT),
        ("eta", f"is not a number within {MAXIMUM_ETA:g} of 0", lambda eta: ~(np.abs(eta) <= MAXIMUM_ETA)),
        ("phi", "is not a number of radians within 2 pi of 0", lambda phi: ~(np.abs(phi) <= MAXIMUM_PHI)),
    )
    for name, problem, is_wrong in problems:
        for entry in np.flatnonzero(is_wrong(values[name])):
            jet = int(np.searchsorted(offsets, entry, side="right")) - 1
            place = int(entry) - int(offsets[jet])
            reasons.setdefault(jet, f"{name} of constituent {place} of jet {jet} {problem}.")


def _refuse(reasons: Mapping[int, str]) -> None:
    """Raise, if there is a reason."""
    if not reasons:
        return
    told = [reasons[row] for row in sorted(reasons)]
    if len(told) > REASONS_SHOWN:
        told = [*told[:REASONS_SHOWN], f"So are {len(told) - REASONS_SHOWN} more."]
    raise RefusedJetsError(" ".join(told))
