"""Padded four-momenta: one array of px, py, pz and E of each constituent, and one of labels.

The array, of shape (N, M, 4) or (N, 4, M), is in an .npz, .npy or HDF5 file, whatever its name. Which axis
holds the components, and whether the energy comes last or first, is found from the numbers: the energy of
a particle is never smaller than its momentum. Labels are whole numbers, of shape (N,), or one-hot, of shape
(N, K); without labels, a file is of one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import Array, checked
from jetexp.jets.formats.batches import jets_per_batch, kept, scale_told
from jetexp.jets.formats.containers import is_container, named_arrays, readable
from jetexp.jets.formats.form import JETS_PER_BATCH, Content, Drops, Wanted
from jetexp.jets.formats.in_step import in_step
from jetexp.jets.formats.labels import MAXIMUM_CLASSES, counted, labels_of, one_hot, whole_numbers
from jetexp.jets.momenta import double, jets_from_four_momenta
from jetexp.jets.sample import Jets

__all__ = ["KEY", "NAME", "content", "read", "sniff"]

KEY = "four_momenta"
NAME = "padded four-momenta"

# share of the constituents that must be physical if components are read in the right order
PHYSICAL = 0.99
# of their energy: constituents are particles, towers or small clusters
LARGEST_MEDIAN_MASS = 0.5
_ORDERS = {"px, py, pz, E": (0, 1, 2, 3), "E, px, py, pz": (1, 2, 3, 0)}


@dataclass(frozen=True)
class _Layout:
    """Which axis holds the components, and where px, py, pz and E are on it."""

    axis: int
    order: str

    def components(self, block: npt.NDArray[Any]) -> list[npt.NDArray[np.float64]]:
        """Give px, py, pz and E, of shape (n, M) each."""
        return [double(np.take(block, place, axis=self.axis)) for place in _ORDERS[self.order]]


def sniff(path: Path) -> bool:
    """Tell from its content whether a file is of this form: whether an array has the shape.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool

    Raises
    ------
    JetFileError
        If it is a file of arrays, but damaged.
    """
    if not is_container(path):
        return False
    with named_arrays(path) as arrays:
        return bool(_candidates(readable(arrays)))


def content(path: Path, wanted: Wanted) -> Content:
    """Say what the file holds.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Its ``unit`` matters.

    Returns
    -------
    Content
        The number of jets of each class, which are called as their labels are, in text.

    Raises
    ------
    JetFileError
        If it is not clear which array is which, or how the components stand in it.
    """
    with named_arrays(path) as arrays:
        found = readable(arrays)
        momenta = _momenta(found, path)
        labels = _labels(found, momenta, path)
        layout, pt = _layout_of(momenta)
        told = (
            f"Components are read as {layout.order} on axis {layout.axis}, as the numbers have it.",
            *scale_told(pt * wanted.unit, wanted.unit, "momentum"),
        )
        if labels is None:
            return Content({}, momenta.shape[0], told)
        where, steps = labels.where, in_step([labels], JETS_PER_BATCH)
        counts = counted((_names(values, where, first) for first, (values,) in steps), where)
        return Content(counts, momenta.shape[0], (*told, f"Labels are taken from {_name_of(labels, found)}."))


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the jets in order.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which jets.
    drops : Drops
        Counts the jets without constituents, which are left out.

    Yields
    ------
    Jets
        In batches.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong shape or type, lacks a class, is unclear, or holds values that
        no constituent has.
    """
    held = content(path, wanted)
    with named_arrays(path) as arrays:
        found = readable(arrays)
        momenta = _momenta(found, path)
        labels = _labels(found, momenta, path)
        layout, _ = _layout_of(momenta)
        chosen = {} if labels is None else wanted.labels(held, str(path))
        only = wanted.only_label(str(path)) if labels is None else -1
        together = [momenta] if labels is None else [momenta, labels]
        for first, (block, *given) in in_step(together, _jets_at_once(momenta)):
            label = np.full(len(block), only, dtype=np.int64)
            if labels is not None:
                label = labels_of(_names(given[0], labels.where, first), chosen)
            with np.errstate(over="ignore"):
                px, py, pz, energy = (
                    (values * wanted.unit).reshape(-1) for values in layout.components(block)
                )
            jets = jets_from_four_momenta(
                np.arange(len(block) + 1) * (len(px) // len(block)),
                px,
                py,
                pz,
                energy,
                label=label,
                classes=wanted.classes,
                where=momenta.where,
                first=first,
            )
            sound = kept(jets, drops, str(path), first)
            if len(sound):
                yield sound


def _candidates(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name: array
        for name, array in arrays.items()
        if len(array.shape) == 3 and 4 in array.shape[1:] and array.dtype.kind == "f"
    }


def _momenta(arrays: Mapping[str, Array], path: Path) -> Array:
    found = _candidates(arrays)
    if len(found) != 1:
        raise JetFileError(
            f"{path} has {len(found)} arrays that could be four-momenta ({', '.join(found) or 'none'}); "
            "one, of shape (N, M, 4) or (N, 4, M), would be right."
        )
    (momenta,) = found.values()
    checked(momenta, (None, None, None))
    return momenta


def _labels(arrays: Mapping[str, Array], momenta: Array, path: Path) -> Array | None:
    """Find the labels: whole numbers of as many jets, or else floating ones."""
    for kinds in ("iub", "f"):
        found = {
            name: array
            for name, array in arrays.items()
            if array is not momenta
            and len(array.shape) in (1, 2)
            and array.shape[0] == momenta.shape[0]
            and array.dtype.kind in kinds
        }
        if len(found) > 1:
            raise JetFileError(
                f"{path} has {len(found)} arrays that could be the labels ({', '.join(found)}); one would be "
                "right."
            )
        for array in found.values():
            checked(array, array.shape, kinds, of="whole numbers")
            if array.shape[1:] > (MAXIMUM_CLASSES,):
                raise JetFileError(
                    f"{array.where} is of shape {array.shape}: labels of over {MAXIMUM_CLASSES} classes."
                )
            return array
    return None


def _name_of(array: Array, arrays: Mapping[str, Array]) -> str:
    return next(name for name, other in arrays.items() if other is array)


def _names(values: npt.NDArray[Any], where: str, first: int) -> list[str]:
    """Give the names of the jets' classes."""
    if values.ndim == 1 or values.shape[1] == 1:
        return whole_numbers(values.reshape(-1), where, first)
    return one_hot(values, [str(place) for place in range(values.shape[1])], where, first)


def _jets_at_once(momenta: Array) -> int:
    # where both axes may hold the components, either is as long
    axis = 1 if momenta.shape[2] == 4 else 2
    return jets_per_batch(momenta.shape[axis], momenta.where)


def _layout_of(momenta: Array) -> tuple[_Layout, float]:
    """Find how components stand in the array, and the median pT of the first jets that are not empty."""
    tried = [_Layout(axis, order) for axis in (1, 2) if momenta.shape[axis] == 4 for order in _ORDERS]
    for first, (block,) in in_step([momenta], _jets_at_once(momenta)):
        if not np.isfinite(block).all():
            jet, *place = (int(index) for index in np.argwhere(~np.isfinite(block))[0])
            raise JetFileError(
                f"{momenta.where}, jet {first + jet}, entry {tuple(place)}, is {block[jet, *place]}; a "
                "finite number would be right."
            )
        if not block.any():
            continue
        rounding = max(1e-5, 4 * float(np.finfo(block.dtype).eps))
        shares = {layout: _physical(layout.components(block), rounding) for layout in tried}
        fitting = [layout for layout, share in shares.items() if share >= PHYSICAL]
        if len(fitting) == 1:
            px, py, _, _ = fitting[0].components(block)
            return fitting[0], float(np.median(np.hypot(px.sum(axis=1), py.sum(axis=1))))
        told = "; ".join(
            f"read as {layout.order} on axis {layout.axis}, {share:.0%} of the constituents are physical"
            for layout, share in shares.items()
        )
        wanted = "fits no order" if not fitting else "fits several orders"
        raise JetFileError(
            f"{momenta.where} {wanted} of the components of four-momenta ({told}); constituents with "
            "px, py, pz and E on the last axis, and E no smaller than the momentum, would be right."
        )
    raise JetFileError(f"{momenta.where} holds nothing but zeros.")


def _physical(components: list[npt.NDArray[np.float64]], rounding: float) -> float:
    """Give the share of constituents that are on a mass shell; 0 if most are heavy for their energy."""
    px, py, pz, energy = components
    # numbers beyond reach are refused when they are read
    with np.errstate(over="ignore", invalid="ignore"):
        momentum = np.sqrt(px**2 + py**2 + pz**2)
        there = (momentum > 0) | (energy != 0)
        momentum, energy = momentum[there], energy[there]
        physical = energy >= momentum * (1 - rounding)
        mass = np.sqrt(np.maximum(1 - (momentum[physical] / energy[physical]) ** 2, 0))
    if not len(mass) or np.median(mass) > LARGEST_MEDIAN_MASS:
        return 0.0
    return float(physical.mean())
