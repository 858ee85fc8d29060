"""JetClass: ROOT files of a tree of jets with lists of particles (Zenodo 6619768).

As described by Qu, Li and Qian (arXiv:2202.03772): the tree ``tree`` holds the particles' four-momenta in
GeV as lists ``part_px``, ``part_py``, ``part_pz`` and ``part_energy``, their ``part_charge``, and one column
``label_*`` for each class, 1 for the jets of the class and 0 for all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.batches import CONSTITUENTS_PER_BATCH, kept, whole_charges
from jetexp.jets.formats.form import JETS_PER_BATCH, Content, Drops, Wanted
from jetexp.jets.formats.labels import MAXIMUM_CLASSES, counted, labels_of, one_hot
from jetexp.jets.formats.root_tree import Tree, is_root, root_tree
from jetexp.jets.momenta import jets_from_four_momenta
from jetexp.jets.sample import Jets

__all__ = ["KEY", "NAME", "content", "read", "sniff"]

KEY = "jetclass"
NAME = "JetClass"
TREE = "tree"
MOMENTUM = ("part_px", "part_py", "part_pz", "part_energy")
CHARGE = "part_charge"
_LABEL = "label_"


def sniff(path: Path) -> bool:
    """Tell from its content whether a file is of this form.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
        True for every ROOT file: there is no other form of it.
    """
    return is_root(path)


def content(path: Path, wanted: Wanted) -> Content:
    """Say what the file holds.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Nothing of it matters here.

    Returns
    -------
    Content
        The number of jets of each class, called as the columns are without ``label_``.

    Raises
    ------
    JetFileError
        If the file is damaged, has no such tree, or a jet is not of one class.
    """
    with root_tree(path, TREE) as tree:
        if tree.entries < 1:
            raise JetFileError(f"{path}, {TREE}, holds no jets.")
        labels = _Labels(tree, path)
        if not labels.names:
            return Content({}, tree.entries)
        counts = counted(labels.batches(tree.entries), f"{path}, {TREE}")
    return Content({name: counts.get(name, 0) for name in labels.names}, tree.entries)


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the jets in order.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which jets.
    drops : Drops
        Counts the jets without particles, which are left out.

    Yields
    ------
    Jets
        In batches, with charges where there are some.

    Raises
    ------
    JetFileError
        If the file is damaged, has no such tree or lacks a branch or a class, or holds values that no
        particle has.
    """
    held = content(path, wanted)
    chosen = wanted.labels(held, str(path)) if held.classes else {}
    only = -1 if held.classes else wanted.only_label(str(path))
    with root_tree(path, TREE) as tree:
        labels = _Labels(tree, path)
        names = (*MOMENTUM, *((CHARGE,) if CHARGE in tree.names else ()))
        columns = [tree.column(name, lists=True) for name in names]
        first = 0
        while number := columns[0].fitting(JETS_PER_BATCH, CONSTITUENTS_PER_BATCH):
            counts, *momentum = columns[0].take(number)
            for column in columns[1:]:
                others, values = column.take(number)
                if not np.array_equal(others, counts):
                    raise JetFileError(f"{column.where} differs in length from {MOMENTUM[0]}.")
                momentum.append(values)
            label = np.full(number, only, dtype=np.int64)
            if held.classes:
                label = labels_of(labels.take(number), chosen)
            jets = jets_from_four_momenta(
                np.concatenate([[0], np.cumsum(counts)]),
                *momentum[: len(MOMENTUM)],
                label=label,
                classes=wanted.classes,
                where=str(path),
                first=first,
                charge=None
                if len(names) == len(MOMENTUM)
                else whole_charges(momentum[-1], columns[-1].where),
            )
            sound = kept(jets, drops, str(path), first)
            first += number
            if len(sound):
                yield sound


class _Labels:
    """The columns of labels, gone through once."""

    def __init__(self, tree: Tree, path: Path) -> None:
        branches = [name for name in tree.names if name.startswith(_LABEL)]
        if len(branches) > MAXIMUM_CLASSES:
            raise JetFileError(f"{path} has {len(branches)} columns {_LABEL}*; {MAXIMUM_CLASSES} are read.")
        self.names = [name.removeprefix(_LABEL) for name in branches]
        self._columns = [tree.column(name, lists=False) for name in branches]
        self._where, self._first = f"{path}, {_LABEL}*", 0

    def take(self, number: int) -> list[str]:
        """Give the names of the classes of the next jets."""
        values: npt.NDArray[Any] = np.stack([column.take(number)[1] for column in self._columns], axis=1)
        names = one_hot(values, self.names, self._where, self._first)
        self._first += number
        return names

    def batches(self, jets: int) -> Iterator[list[str]]:
        """Give all of them."""
        for start in range(0, jets, JETS_PER_BATCH):
            yield self.take(min(JETS_PER_BATCH, jets - start))
