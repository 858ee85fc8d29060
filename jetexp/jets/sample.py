"""Jets: the one form that every source of jets is brought to."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Jets", "concatenate", "jet_hash", "split_fraction"]

Float = npt.NDArray[np.float32]
Integer = npt.NDArray[np.int64]

# of one array, where all of it is gone through and may lie in a file
ENTRIES_AT_ONCE = 4_000_000
# what is known of each jet of some samples
OF_SOME = ("weight", "source", "row")
JETS_AT_ONCE = 50_000


@dataclass(frozen=True, eq=False)
class Jets:
    """N jets with their constituents, labels and provenance.

    The constituents of jet ``i`` are the entries ``offsets[i]:offsets[i + 1]`` of the flat
    constituent arrays.

    Attributes
    ----------
    offsets : ndarray of int64, shape (N + 1,)
        Where the constituents of each jet begin; the last entry is their total number M.
    constituent_eta, constituent_phi : ndarray of float32, shape (M,)
        Position relative to the jet axis; phi in [-pi, pi), in radians.
    constituent_pt : ndarray of float32, shape (M,)
        Transverse momentum in GeV, not negative.
    label : ndarray of int64, shape (N,)
        Index into ``classes``.
    pt, eta, mass : ndarray of float32, shape (N,)
        The jet's transverse momentum and mass in GeV, and its pseudorapidity.
    classes : tuple of str
        Names of the classes.
    constituent_charge : ndarray of int8, shape (M,), optional
        Electric charge in units of e, where the source has it.
    weight : ndarray of float64, shape (N,), optional
        The generator's event weight, where the source has it.
    source : ndarray of str objects, shape (N,), optional
        Where each jet was read from, of jets that were: the file, and the array if each class has one.
    row : ndarray of int64, shape (N,), optional
        Its place there, from 0.
    provenance : dict
        Source, settings, seed and software versions, JSON-serialisable.
    """

    offsets: Integer
    constituent_eta: Float
    constituent_phi: Float
    constituent_pt: Float
    label: Integer
    pt: Float
    eta: Float
    mass: Float
    classes: tuple[str, ...]
    constituent_charge: npt.NDArray[np.int8] | None = None
    weight: npt.NDArray[np.float64] | None = None
    source: npt.NDArray[np.object_] | None = None
    row: Integer | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number, total = len(self.label), len(self.constituent_pt)
        if len(self.offsets) != number + 1 or self.offsets[0] != 0 or self.offsets[-1] != total:
            raise ValueError(f"offsets do not describe {number} jets of {total} constituents")
        for name in ("constituent_eta", "constituent_phi", "constituent_charge"):
            values = getattr(self, name)
            if values is not None and len(values) != total:
                raise ValueError(f"{name} has {len(values)} entries, constituent_pt has {total}")
        for name in ("pt", "eta", "mass", *OF_SOME):
            values = getattr(self, name)
            if values is not None and len(values) != number:
                raise ValueError(f"{name} has {len(values)} entries, label has {number}")

    def __len__(self) -> int:
        return len(self.label)

    @property
    def counts(self) -> Integer:
        """Number of constituents of each jet, shape (N,)."""
        return np.diff(self.offsets)

    @property
    def jet_index(self) -> Integer:
        """Index of the jet that each constituent belongs to, shape (M,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of jets of each class."""
        counts = np.bincount(self.label, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content (constituents, kinematics, labels, classes), in hexadecimal."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for values, form in (
            (self.offsets, "<i8"),
            (self.constituent_eta, "<f4"),
            (self.constituent_phi, "<f4"),
            (self.constituent_pt, "<f4"),
            (self.constituent_charge, "<i1"),
            (self.label, "<i8"),
            (self.pt, "<f4"),
            (self.eta, "<f4"),
            (self.mass, "<f4"),
        ):
            digest.update(b"|")
            if values is None:
                continue
            for start in range(0, len(values), ENTRIES_AT_ONCE):
                some = np.ascontiguousarray(values[start : start + ENTRIES_AT_ONCE], dtype=form)
                digest.update(some.data)
                self.release()
        return digest.hexdigest()

    def release(self) -> None:
        """Give back the memory of constituents that lie in mapped files, until they are needed again."""
        for values in (
            self.constituent_eta,
            self.constituent_phi,
            self.constituent_pt,
            self.constituent_charge,
        ):
            base: Any = values
            while isinstance(base, np.ndarray):
                base = base.base
            # not every system can
            if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
                base.madvise(mmap.MADV_DONTNEED)

    def between(self, start: int, stop: int) -> Jets:
        """Give consecutive jets, as views of these.

        Parameters
        ----------
        start, stop : int
            The first of them, and the first after them, with 0 <= start <= stop <= N.

        Returns
        -------
        Jets
            With the same classes and provenance.
        """
        flat = slice(self.offsets[start], self.offsets[stop])
        some = slice(start, stop)
        charge = self.constituent_charge
        return replace(
            self,
            offsets=self.offsets[start : stop + 1] - self.offsets[start],
            constituent_eta=self.constituent_eta[flat],
            constituent_phi=self.constituent_phi[flat],
            constituent_pt=self.constituent_pt[flat],
            constituent_charge=None if charge is None else charge[flat],
            label=self.label[some],
            pt=self.pt[some],
            eta=self.eta[some],
            mass=self.mass[some],
            **self._of_some(some),
        )

    def take(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> Jets:
        """Select jets by index, mask or slice.

        Parameters
        ----------
        which : ndarray of int64 or bool, or slice
            The jets to keep, in this order.

        Returns
        -------
        Jets
            With the same classes and provenance.
        """
        index = np.arange(len(self))[which]
        counts = self.counts[index]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        flat = np.repeat(self.offsets[:-1][index], counts) + within
        charge = self.constituent_charge
        return replace(
            self,
            offsets=offsets,
            constituent_eta=self.constituent_eta[flat],
            constituent_phi=self.constituent_phi[flat],
            constituent_pt=self.constituent_pt[flat],
            constituent_charge=None if charge is None else charge[flat],
            label=self.label[index],
            pt=self.pt[index],
            eta=self.eta[index],
            mass=self.mass[index],
            **self._of_some(index),
        )

    def _of_some(self, which: Any) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in OF_SOME}
        return {name: None if value is None else value[which] for name, value in values.items()}

    def with_classes(self, classes: Sequence[str]) -> Jets:
        """Keep the jets of the named classes only, labelled in the order given.

        Parameters
        ----------
        classes : sequence of str
            Names among ``self.classes``.

        Returns
        -------
        Jets
            With ``classes`` as its classes.

        Raises
        ------
        ValueError
            If a name is not among ``self.classes``.
        """
        label = np.full(len(self.classes), -1)
        for index, name in enumerate(classes):
            if name not in self.classes:
                raise ValueError(f"there is no class {name!r} among {list(self.classes)}")
            label[self.classes.index(name)] = index
        chosen = self.take(label[self.label] >= 0)
        return replace(chosen, label=label[chosen.label], classes=tuple(classes))


def concatenate(parts: Sequence[Jets], provenance: dict[str, Any] | None = None) -> Jets:
    """Join samples of the same classes one behind the other.

    Parameters
    ----------
    parts : sequence of Jets
        At least one. Charges, weights, sources and rows are kept only if every part has them.
    provenance : dict, optional
        The provenance of the whole; by default that of the first part.

    Returns
    -------
    Jets
        All jets, in the order of the parts.

    Raises
    ------
    ValueError
        If there is no part, or the classes differ.
    """
    if not parts:
        raise ValueError("there are no jets to join")
    if len({part.classes for part in parts}) > 1:
        raise ValueError("the parts to join have different classes")

    def joined(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    counts = np.concatenate([part.counts for part in parts])
    return Jets(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        constituent_eta=joined("constituent_eta"),
        constituent_phi=joined("constituent_phi"),
        constituent_pt=joined("constituent_pt"),
        label=joined("label"),
        pt=joined("pt"),
        eta=joined("eta"),
        mass=joined("mass"),
        classes=parts[0].classes,
        constituent_charge=joined("constituent_charge"),
        **{name: joined(name) for name in OF_SOME},
        provenance=parts[0].provenance if provenance is None else provenance,
    )


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def jet_hash(jets: Jets) -> npt.NDArray[np.uint64]:
    """Hash the content of each jet (its constituents, in any order), not its place in the sample.

    Parameters
    ----------
    jets : Jets
        N jets.

    Returns
    -------
    ndarray of uint64, shape (N,)
        Equal for jets with equal constituents.
    """
    found = np.zeros(len(jets), dtype=np.uint64)
    for start in range(0, len(jets), JETS_AT_ONCE):
        stop = min(start + JETS_AT_ONCE, len(jets))
        found[start:stop] = _hash_of(jets.between(start, stop))
        jets.release()
    return found


def _hash_of(jets: Jets) -> npt.NDArray[np.uint64]:
    content = np.zeros(len(jets.constituent_pt), dtype=np.uint64)
    for values in (jets.constituent_eta, jets.constituent_phi, jets.constituent_pt):
        # adding 0 turns -0.0 into 0.0, which is the same position
        bits = np.ascontiguousarray(values + np.float32(0), dtype="<f4").view("<u4")
        content = _mix(content ^ bits.astype(np.uint64))
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(content, dtype=np.uint64)])
    with np.errstate(over="ignore"):
        return _mix(total[jets.offsets[1:]] - total[jets.offsets[:-1]])


def split_fraction(jets: Jets, seed: int) -> npt.NDArray[np.float64]:
    """Give each jet a number in [0, 1) that depends on its content and the split seed alone.

    A jet belongs to the part of the sample whose interval holds its number; so adding jets
    never moves a jet from one part to another, and equal jets never stand in two parts.

    Parameters
    ----------
    jets : Jets
        N jets.
    seed : int
        The split seed.

    Returns
    -------
    ndarray of float64, shape (N,)
        Uniformly distributed over jets.
    """
    salt = _mix(np.array([seed], dtype=np.int64).view(np.uint64))
    return (_mix(jet_hash(jets) ^ salt) >> np.uint64(11)).astype(np.float64) / 2.0**53
