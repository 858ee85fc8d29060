"""Files of jets, damaged at random or written to do harm."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pyarrow.parquet as pq

from jetexp.jets.formats.ucl import export_ucl
from jetexp.jets.sample import Jets
from jetexp.jets.store import write_jets

Generator = np.random.Generator


@dataclass(frozen=True)
class Source:
    """A form of files.

    Attributes
    ----------
    write : callable
        Writes jets of QCD, W and top to a path.
    names : dict of str to str
        What the files call these classes.
    of_class : str, optional
        The only class, where a file names none.
    """

    write: Callable[[Jets, Path], None]
    names: dict[str, str]
    of_class: str | None = None


def _npy(jets: Jets, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, layouts.padded(jets, *layouts.four_momenta(jets)))


def _npz(write: Callable[[Jets, Path], None]) -> Callable[[Jets, Path], None]:
    """Let a writer of .npz files, which NumPy gives that ending, write to any name."""

    def written(jets: Jets, path: Path) -> None:
        named = path.with_name("written.npz")
        write(jets, named)
        named.replace(path)

    return written


def _two(write: Callable[[Jets, Path], None], classes: list[str]) -> Callable[[Jets, Path], None]:
    return lambda jets, path: write(jets.with_classes(classes), path)


def _plain_parquet(jets: Jets, path: Path) -> None:
    """Write without compression, so that damage reaches what is read."""
    layouts.write_parquet(jets, path)
    pq.write_table(pq.read_table(path), path, compression="none", data_page_version="2.0")


def _part(jets: Jets, path: Path) -> None:
    """Write one part of jetexp's own sample."""
    folder = path.with_name("sample")
    write_jets(jets, folder)
    for part in folder.iterdir():
        if part.suffix == ".parquet":
            part.replace(path)
        else:
            part.unlink()
    folder.rmdir()


SOURCES = {
    "ucl": Source(_npz(export_ucl), {}),
    "energyflow": Source(_npz(_two(layouts.write_energyflow, ["QCD", "W"])), {"QCD": "gluon", "W": "quark"}),
    "four_momenta": Source(_npz(layouts.write_four_momenta), {"QCD": "0", "W": "1", "top": "2"}),
    "four_momenta_npy": Source(_npy, {}, "QCD"),
    "image_arrays": Source(_npz(layouts.write_image_arrays), {}),
    "parquet": Source(layouts.write_parquet, {}),
    "parquet_plain": Source(_plain_parquet, {}),
    "parquet_part": Source(_part, {"QCD": "0", "W": "1", "top": "2"}),
    "jetclass": Source(lambda jets, path: layouts.write_jetclass(jets, path, jets_per_basket=20), {}),
    "top_tagging": Source(_two(layouts.write_top_tagging, ["QCD", "top"]), {}),
    "jetnet": Source(layouts.write_jetnet, {}, "QCD"),
    "jet_images": Source(_two(layouts.write_jet_images, ["QCD", "W"]), {}),
}


class Harm:
    """What writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# --- whatever the form: bytes


def truncated(data: bytearray, rng: Generator) -> None:
    del data[int(rng.integers(4, len(data))) :]


def flipped(data: bytearray, rng: Generator) -> None:
    for _ in range(rng.integers(1, 6)):
        data[rng.integers(4, len(data))] ^= 1 << int(rng.integers(8))


def overwritten(data: bytearray, rng: Generator) -> None:
    start, length = int(rng.integers(4, len(data))), int(rng.integers(1, 9))
    data[start : start + length] = bytes([int(rng.choice([0, 127, 128, 255]))]) * length


def copied(data: bytearray, rng: Generator) -> None:
    to, of, length = (int(rng.integers(4, len(data))) for _ in range(3))
    length %= 64
    data[to : to + length] = data[of : of + length]


def near_an_end(data: bytearray, rng: Generator) -> None:
    place = min(4 + int(rng.exponential(300)), len(data) - 1)
    data[place if rng.random() < 0.5 else -place] = int(rng.integers(256))


def huge_number(data: bytearray, rng: Generator) -> None:
    form, value = ("<q", 2**62) if rng.random() < 0.5 else ("<i", 2**31 - 1)
    start = int(rng.integers(4, max(5, len(data) - 8)))
    data[start : start + struct.calcsize(form)] = struct.pack(form, value)


BYTES = (truncated, flipped, overwritten, copied, near_an_end, huge_number)


# --- whatever the form: jets that are none


def absurd_jets(jets: Jets, rng: Generator) -> Jets:
    """Give some constituents, or all, values that no constituent has; or take all jets away."""
    kind = rng.integers(4)
    if kind == 0:
        return jets.take(slice(0, 0))
    if kind == 1:
        return replace(jets, constituent_pt=np.zeros_like(jets.constituent_pt))
    name = str(rng.choice(["constituent_pt", "constituent_eta", "constituent_phi"]))
    values = getattr(jets, name).copy()
    where = rng.integers(len(values), size=1 if kind == 2 else len(values))
    values[where] = rng.choice([np.nan, np.inf, -np.inf, -5.0, 1e30, 1e-40])
    return replace(jets, **{name: values})


# --- containers: arrays that are missing, of another shape or type, huge, or pickles


def absurd_npz(data: bytes, rng: Generator, canary: Path) -> bytes:
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = str(rng.choice(list(arrays)))
    changed, rest = io.BytesIO(), io.BytesIO()
    kind = rng.integers(6)
    if kind < 3:
        arrays[name] = _changed(arrays[name], rng)
        if kind == 0:
            arrays["another"] = arrays.pop(name)
        np.savez_compressed(changed, **arrays)
        return changed.getvalue()
    if kind == 3:
        np.save(rest, np.array([Harm(canary)] * 3, dtype=object))
    elif kind == 4:
        # zeros that unfold a thousandfold
        np.save(rest, np.zeros((30_000, *arrays[name].shape[1:]), arrays[name].dtype))
    else:
        _announce(rest, (10**9, *arrays[name].shape[1:]), arrays[name].dtype)
    del arrays[name]
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", rest.getvalue())
        for other, values in arrays.items():
            with archive.open(f"{other}.npy", "w") as file:
                np.save(file, values)
    return changed.getvalue()


def absurd_npy(data: bytes, rng: Generator, canary: Path) -> bytes:
    array, changed = np.load(io.BytesIO(data)), io.BytesIO()
    kind = rng.integers(3)
    if kind == 0:
        np.save(changed, _changed(array, rng))
    elif kind == 1:
        np.save(changed, np.array([Harm(canary)] * 3, dtype=object))
    else:
        _announce(changed, (10**9, *array.shape[1:]), array.dtype)
    return changed.getvalue()


def _announce(file: io.BytesIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Announce an array that does not follow."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.write(bytes(1000))


def _changed(array: np.ndarray[Any, Any], rng: Generator) -> np.ndarray[Any, Any]:
    kind = rng.integers(5)
    if kind == 0:
        return array[..., :-1] if array.ndim > 1 else array[:-1]
    if kind == 1:
        return array.reshape(1, *array.shape)
    if kind == 2:
        return array.astype(str(rng.choice(["c8", "i4", "f2", "S4", "?"])))
    if kind == 3:
        return array[:0]
    values = array.astype("f8").reshape(-1)
    values[rng.integers(len(values), size=rng.integers(1, 5))] = rng.choice([np.nan, np.inf, -1.0, 1e300])
    return values.reshape(array.shape)


def absurd_hdf5(data: bytes, rng: Generator, canary: Path) -> bytes:
    held = io.BytesIO(data)
    with h5py.File(held, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None)
        name = str(rng.choice(names))
        dataset = file[name]
        kind = rng.integers(6)
        if kind == 0 and dataset.attrs:
            attribute = str(rng.choice(list(dataset.attrs)))
            dataset.attrs[attribute] = np.bytes_(pickle.dumps([Harm(canary)], protocol=0))
            return _content(file, held)
        shape, dtype = dataset.shape, dataset.dtype
        values = None if dtype.names else dataset[:]
        del file[name]
        if kind == 1:
            file[name] = h5py.ExternalLink(str(canary), "/x")
        elif kind == 2:
            file[name] = h5py.SoftLink(f"/{name}")
        elif kind == 3:
            # never written, and so of no bytes
            file.create_dataset(name, (10**10, *shape[1:]), dtype, chunks=(10, *shape[1:]))
        elif kind == 4:
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(str(canary), "x", shape)
            file.create_virtual_dataset(name, layout)
        elif values is not None:
            file[name] = _changed(values, rng)
        return _content(file, held)


def _content(file: h5py.File, held: io.BytesIO) -> bytes:
    file.close()
    return held.getvalue()


def mutated(source: Source, good: bytes, jets: Jets, rng: Generator, folder: Path, canary: Path) -> bytes:
    """Damage a file.

    Parameters
    ----------
    source : Source
        Its form.
    good : bytes
        A file that is read.
    jets : Jets
        What it holds.
    rng : numpy.random.Generator
        Chooses the damage.
    folder : Path
        For files on the way.
    canary : Path
        A file that appears if code in the damaged file is run.

    Returns
    -------
    bytes
        The damaged file.
    """
    chance = rng.random()
    if chance < 0.1:
        try:
            with np.errstate(all="ignore"):
                source.write(absurd_jets(jets, rng), folder / "absurd")
            return (folder / "absurd").read_bytes()
        # what the writers of good files do not take is damaged otherwise
        except Exception:
            chance = 1.0
    if chance < 0.3:
        for signature, absurd in (
            (b"PK\x03\x04", absurd_npz),
            (b"\x93NUMPY", absurd_npy),
            (b"\x89HDF", absurd_hdf5),
        ):
            if good.startswith(signature):
                return absurd(good, rng, canary)
    data = bytearray(good)
    for _ in range(rng.integers(1, 3)):
        if len(data) > 16:
            BYTES[rng.integers(len(BYTES))](data, rng)
    return bytes(data)
