"""What every format of jet files offers, and what is asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jetexp.errors import JetFileError
from jetexp.jets.sample import Jets

__all__ = ["JETS_PER_BATCH", "Content", "Drops", "Format", "Wanted"]

# jets that a format gives at once, at most: some ten megabytes of constituents
JETS_PER_BATCH = 5_000

# jets left out, by the reason in words
Drops = Counter[str]


@dataclass(frozen=True)
class Content:
    """What a file says about itself, before its jets are read.

    Attributes
    ----------
    classes : dict of str to int
        Number of jets by the names that the file has for its classes; empty where it names none.
    jets : int
        Number of jets in all.
    assumptions : tuple of str
        What the file does not say and had to be assumed, a sentence each.
    """

    classes: Mapping[str, int]
    jets: int
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which jets are asked of a file, and what it does not say itself.

    Attributes
    ----------
    classes : tuple of str
        The classes wanted, in the order of the labels.
    names : mapping of str to str
        What the file calls a class, where that is not its own name.
    of_class : str, optional
        The only one of ``classes`` that the file was given for.
    per_class : int, optional
        No more than so many jets of each class will be used: where classes stand one behind the other
        in the file, the rest need not be read.
    maximum_pixel : float
        Images with a pixel above this transverse energy, in GeV, are dropped as corrupt.
    half_width : float, optional
        Half the side of images in eta and phi, where the file does not say it.
    unit : float
        What a pixel or momentum of 1 in the file is in GeV, where the file does not say it.
    several : bool
        Whether there are other files, where classes may be that this one lacks.
    """

    classes: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    of_class: str | None = None
    per_class: int | None = None
    maximum_pixel: float = 13_000.0
    half_width: float | None = None
    unit: float = 1.0
    several: bool = False

    def labels(self, content: Content, where: str) -> dict[str, int]:
        """Give the label of each of the file's classes that is wanted.

        Parameters
        ----------
        content : Content
            Of the file; it names classes.
        where : str
            The file, for messages.

        Returns
        -------
        dict of str to int
            By the names that the file has for them; those that it lacks are left out if there are others.

        Raises
        ------
        JetFileError
            If the file lacks one of them, and is the only one.
        """
        asked = self.classes if self.of_class is None else (self.of_class,)
        labels: dict[str, int] = {}
        for name in asked:
            called = self.names.get(name, name)
            if not content.classes.get(called):
                if self.several and self.of_class is None:
                    continue
                held = ", ".join(key for key, count in content.classes.items() if count) or "none"
                raise JetFileError(
                    f"{where} has no jets of class {name!r}"
                    f"{'' if called == name else f' (names: {called!r})'}; it has {held}."
                )
            labels[called] = self.classes.index(name)
        return labels

    def only_label(self, where: str) -> int:
        """Give the label of all jets of a file that names no classes.

        Parameters
        ----------
        where : str
            The file, for messages.

        Returns
        -------
        int

        Raises
        ------
        JetFileError
            If the file was not given for one class.
        """
        if self.of_class is None:
            raise JetFileError(
                f"{where} does not say of which class its jets are: give the path class by class, "
                f"such as path: {{{self.classes[0]}: {Path(where).name}}}."
            )
        return self.classes.index(self.of_class)


class Format(Protocol):
    """A module of ``jetexp.jets.formats``."""

    KEY: str
    """In provenances."""

    NAME: str
    """In a few words, for people."""

    def sniff(self, path: Path) -> bool:
        """Tell from its content whether an existing file is of this form; damaged ones raise JetFileError."""

    def content(self, path: Path, wanted: Wanted) -> Content:
        """Say what the file holds, or raise JetFileError."""

    def read(self, path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
        """Yield the wanted jets in order, in batches of at most JETS_PER_BATCH, or raise JetFileError."""
