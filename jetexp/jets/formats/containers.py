"""Files of named arrays, whichever container they are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import Array, is_npz, npy_array, npz_arrays
from jetexp.jets.formats.hdf5 import hdf5_arrays, is_hdf5

__all__ = ["is_container", "named_arrays", "readable"]

_NPY_MAGIC = b"\x93NUMPY"


def is_container(path: Path) -> bool:
    """Tell whether a file is meant to be an .npz, .npy or HDF5 file, damaged or not.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
    """
    return is_npz(path) or _is_npy(path) or is_hdf5(path)


def _is_npy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_NPY_MAGIC)) == _NPY_MAGIC


@contextmanager
def named_arrays(path: Path) -> Iterator[Mapping[str, Array]]:
    """Open an .npz, .npy or HDF5 file, and read the headers of its arrays.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    mapping of str to Array
        By name; the array of an .npy file has the name ``""``.

    Raises
    ------
    JetFileError
        If it is truncated or damaged; in the block too.
    """
    if _is_npy(path):
        with npy_array(path) as array:
            yield {"": array}
    elif is_npz(path):
        with npz_arrays(path) as arrays:
            yield arrays
    else:
        with hdf5_arrays(path) as arrays:
            yield arrays


def readable(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Look at all arrays of a file.

    Parameters
    ----------
    arrays : mapping of str to Array
        By name.

    Returns
    -------
    dict of str to Array
        Those whose headers are sound.

    Raises
    ------
    JetFileError
        If none is.
    """
    found: dict[str, Array] = {}
    faults: list[JetFileError] = []
    for name in arrays:
        try:
            found[name] = arrays[name]
        except JetFileError as error:
            faults.append(error)
    if faults and not found:
        raise faults[0]
    return found
