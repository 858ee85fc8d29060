"""Columns of trees in ROOT files, read some entries at a time and never trusted.

uproot reads what the file says of its trees, branches and baskets. It trusts a file in two ways, which are
closed here: it makes Python code of the descriptions of classes that stand in the file, and it unfolds
whatever a compressed block unfolds to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import uproot  # type: ignore[import-untyped]

from jetexp.errors import JetFileError
from jetexp.jets.formats.root_blocks import check_blocks
from jetexp.jets.formats.root_column import Column, telling

__all__ = ["Tree", "is_root", "root_tree"]

# bytes of what describes a tree, when it is unfolded
LARGEST_TREE = 8 * 2**20

_MAGIC = b"root"


def is_root(path: Path) -> bool:
    """Tell whether a file is meant to be a ROOT file, damaged or not.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
    """
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class _File(uproot.ReadOnlyFile):
    """A file whose descriptions of classes are not turned into code."""

    @property
    def streamers(self) -> dict[str, Any]:
        """None: uproot itself knows all classes that trees are made of."""
        return {}


class Tree:
    """A tree, its description read.

    Parameters
    ----------
    tree : uproot.TTree
        The tree.
    path : Path
        The file.
    """

    def __init__(self, tree: Any, path: Path) -> None:
        self._path = path
        self._branches: dict[str, Any] = {branch.name: branch for branch in tree.branches}
        self.entries = int(tree.num_entries)

    @property
    def names(self) -> list[str]:
        """Names of the branches."""
        return list(self._branches)

    def column(self, name: str, *, lists: bool) -> Column:
        """Begin to read a branch.

        Parameters
        ----------
        name : str
            The branch.
        lists : bool
            Whether it should hold a list of numbers for each entry, or one number.

        Returns
        -------
        Column
            Before its first entry.

        Raises
        ------
        JetFileError
            If there is none of that name, or it holds something else.
        """
        if name not in self._branches:
            held = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise JetFileError(f"{self._path} has no branch {name!r}; it has {held or 'none'}.")
        with telling(self._path):
            return Column(self._branches[name], f"{self._path}, {name}", self._path, self.entries, lists)


@contextmanager
def root_tree(path: Path, name: str) -> Iterator[Tree]:
    """Open a tree in a ROOT file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The tree, in the file's top directory.

    Yields
    ------
    Tree
        Its description, no entries yet.

    Raises
    ------
    JetFileError
        If the file is truncated or damaged, or has no such tree.
    """
    with path.open("rb") as content:
        with telling(path):
            tree = _tree(content, path, name)
        yield tree


def _tree(content: IO[bytes], path: Path, name: str) -> Tree:
    file = _File(content, object_cache=None, array_cache=None, use_threads=False)
    directory = file.root_directory
    names = directory.keys(recursive=False, cycle=False)
    if name not in names:
        raise JetFileError(f"{path} has no tree {name!r}; it has {', '.join(names[:20]) or 'nothing'}.")
    key = directory.key(name)
    if key.fClassName != "TTree":
        raise JetFileError(f"{path} has {name!r} as a {key.fClassName}, not as a TTree.")
    check_blocks(
        content,
        key.data_cursor.index,
        key.data_compressed_bytes,
        key.data_uncompressed_bytes,
        largest=LARGEST_TREE,
        where=f"{path}, {name}",
    )
    tree = key.get()
    if not isinstance(tree, uproot.TTree):
        raise JetFileError(f"{path} has {name!r} as a TTree of a version that is not known.")
    return Tree(tree, path)
