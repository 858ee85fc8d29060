"""Writes jets in the layouts of public files, for tests to read them back."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from jetexp.images import ImageSettings, make_images
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings

RAW = ImageSettings.raw()


def read_all(path: Path | str | dict[str, Any], classes: Sequence[str], **settings: Any) -> Jets:
    path = str(path) if isinstance(path, Path) else path
    return load_jets(JetFileSettings(path=path, **settings), tuple(classes), Path("nowhere"))


def mixed(jets: Jets, number: int) -> Jets:
    """Some jets, of all classes in turn; there are as many of each."""
    in_turn = np.arange(len(jets)).reshape(len(jets.classes), -1).T.ravel()
    return jets.take(in_turn[:number])


def in_detector(jets: Jets) -> tuple[np.ndarray, np.ndarray]:
    """Directions of constituents, of jets that are spread over all azimuths."""
    azimuth = np.linspace(-np.pi, np.pi, len(jets), endpoint=False)
    eta = jets.constituent_eta.astype("f8") + jets.eta[jets.jet_index]
    phi = jets.constituent_phi.astype("f8") + azimuth[jets.jet_index]
    return eta, (phi + np.pi) % (2 * np.pi) - np.pi


def four_momenta(jets: Jets) -> tuple[np.ndarray, ...]:
    """Massless px, py, pz and E of constituents."""
    eta, phi = in_detector(jets)
    pt = jets.constituent_pt.astype("f8")
    return pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)


def massless(jets: Jets) -> np.ndarray:
    """Masses of jets whose constituents have none."""
    px, py, pz, energy = (np.add.reduceat(values, jets.offsets[:-1]) for values in four_momenta(jets))
    return np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))


def padded(jets: Jets, *columns: np.ndarray) -> np.ndarray:
    """Columns of constituents as (N, M, columns), padded with zeros."""
    array = np.zeros((len(jets), int(jets.counts.max()), len(columns)))
    place = np.arange(len(jets.constituent_pt)) - jets.offsets[jets.jet_index]
    array[jets.jet_index, place] = np.stack(columns, axis=1)
    return array


def assert_same_jets(
    found: Jets,
    jets: Jets,
    *,
    classes: Sequence[str] | None = None,
    tolerance: float = 1e-5,
    masses: bool = False,
) -> None:
    """What any layout holds: jets are the same up to rounding, about an axis that is found anew."""
    assert found.classes == (jets.classes if classes is None else tuple(classes))
    assert np.array_equal(found.label, jets.label)
    assert np.array_equal(found.offsets, jets.offsets)
    assert np.allclose(found.constituent_pt, jets.constituent_pt, rtol=tolerance)
    assert np.allclose(found.constituent_eta, jets.constituent_eta, atol=tolerance)
    assert np.allclose(found.constituent_phi, jets.constituent_phi, atol=tolerance)
    assert np.allclose(found.pt, jets.pt, rtol=tolerance)
    assert np.allclose(found.eta, jets.eta, atol=tolerance)
    mass = jets.mass if masses else massless(jets)
    assert np.allclose(found.mass, mass, rtol=1e-2, atol=1e-2)


def write_energyflow(jets: Jets, path: Path) -> None:
    """The first class as gluons, the second as quarks; charges as pions, the rest as photons."""
    eta, phi = in_detector(jets)
    identity = np.array([22, 211, -211])[jets.constituent_charge]
    np.savez_compressed(
        path, X=padded(jets, jets.constituent_pt, eta, phi, identity), y=jets.label.astype("f8")
    )


def write_four_momenta(jets: Jets, path: Path) -> None:
    np.savez_compressed(path, jets=padded(jets, *four_momenta(jets)).astype("f4"), labels=jets.label)


def write_image_arrays(jets: Jets, path: Path) -> None:
    images = make_images(jets, RAW)
    np.savez_compressed(path, **{name: images[jets.label == i] for i, name in enumerate(jets.classes)})


def write_parquet(jets: Jets, path: Path) -> None:
    eta, phi = in_detector(jets)
    lists = {"eta": eta, "phi": phi, "pt": jets.constituent_pt, "charge": jets.constituent_charge}
    offsets = pa.array(jets.offsets.astype("i4"))
    columns = {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in lists.items()}
    columns |= {f"jet_{name}": pa.array(getattr(jets, name)) for name in ("pt", "eta", "mass")}
    columns["class"] = pa.array([jets.classes[label] for label in jets.label])
    pq.write_table(pa.table(columns), path, row_group_size=400)


def write_jetclass(jets: Jets, path: Path, *, jets_per_basket: int = 250) -> None:
    import awkward as ak

    names = ("part_px", "part_py", "part_pz", "part_energy")
    flat = dict(zip(names, four_momenta(jets), strict=True)) | {"part_charge": jets.constituent_charge}
    columns = {name: ak.unflatten(values.astype("f4"), jets.counts) for name, values in flat.items()}
    columns |= {f"label_{name}": jets.label == label for label, name in enumerate(jets.classes)}
    forms = {name: "var * float32" if name.startswith("part") else "bool" for name in columns}
    with uproot.recreate(path) as file:
        tree = file.mktree("tree", forms)
        for start in range(0, len(jets), jets_per_basket):
            tree.extend({name: values[start : start + jets_per_basket] for name, values in columns.items()})


def hardest(jets: Jets, number: int) -> Jets:
    """The same jets with no more than so many constituents each, in falling order of pT."""
    order = np.lexsort((-jets.constituent_pt, jets.jet_index))
    order = order[np.arange(len(order)) - jets.offsets[jets.jet_index] < number]
    names = ("constituent_eta", "constituent_phi", "constituent_pt", "constituent_charge")
    offsets = np.concatenate([[0], np.cumsum(np.minimum(jets.counts, number))])
    return replace(jets, offsets=offsets, **{name: getattr(jets, name)[order] for name in names})


def top_tagging_rows(jets: Jets, constituents: int = 200) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Rows as PyTables writes them, and the names of the columns in each block of them."""
    some = hardest(jets, constituents)
    px, py, pz, energy = four_momenta(some)
    found = padded(some, energy, px, py, pz)
    momenta = np.zeros((len(jets), constituents, 4))
    momenta[:, : found.shape[1]] = found
    kinds = ("E", "PX", "PY", "PZ")
    names = [f"{kind}_{place}" for place in range(constituents) for kind in kinds]
    columns = {
        "values_block_0": names + [f"truth{kind}" for kind in kinds],
        "values_block_1": ["ttv", "is_signal_new"],
    }
    width = len(columns["values_block_0"])
    fields = [("index", "<i8"), ("values_block_0", "<f4", (width,)), ("values_block_1", "<i8", (2,))]
    rows = np.zeros(len(jets), fields)
    rows["index"] = np.arange(len(jets))
    rows["values_block_0"] = np.concatenate([momenta.reshape(len(jets), -1), momenta.sum(axis=1)], axis=1)
    rows["values_block_1"][:, 1] = np.array([name == "top" for name in jets.classes])[jets.label]
    return rows, columns


def write_pandas_table(rows: np.ndarray, columns: dict[str, list[str]], path: Path) -> None:
    """What pandas and PyTables write for ``to_hdf(key="table", format="table", complib="blosc")``."""

    def pickled(value: object) -> np.bytes_:
        return np.bytes_(pickle.dumps(value, protocol=0))

    with h5py.File(path, "w") as file:
        file.attrs["PYTABLES_FORMAT_VERSION"] = _text("2.1")
        group = file.create_group("table")
        words = {"pandas_type": "frame_table", "table_type": "appendable_frame"}
        for name, word in (words | {"encoding": "UTF-8", "errors": "strict"}).items():
            group.attrs[name] = _text(word)
        group.attrs["levels"] = 1
        axes = [name for names in columns.values() for name in names]
        pickles = {"index_cols": [(0, "index")], "non_index_axes": [(1, axes)], "values_cols": [*columns]}
        for name, value in (pickles | {"data_columns": [], "info": {}, "nan_rep": "nan"}).items():
            group.attrs[name] = pickled(value)
        blosc = hdf5plugin.Blosc(cname="blosclz", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
        table = group.create_dataset("table", data=rows, chunks=(100,), maxshape=(None,), **blosc)
        table.attrs["NROWS"] = len(rows)
        for name, word in {"CLASS": "TABLE", "VERSION": "2.7", "index_kind": "integer"}.items():
            table.attrs[name] = _text(word)
        for place, field in enumerate(rows.dtype.names):
            table.attrs[f"FIELD_{place}_NAME"] = _text(field)
        for field, names in columns.items():
            table.attrs[f"{field}_kind"] = pickled(names)
            table.attrs[f"{field}_meta"] = pickled(None)
            table.attrs[f"{field}_dtype"] = _text(rows.dtype[field].base.name)


def _text(word: str) -> np.ndarray:
    return np.array(word.encode(), dtype=h5py.string_dtype("utf-8", len(word)))


def write_top_tagging(jets: Jets, path: Path) -> None:
    """The class top as signal, any other as background."""
    write_pandas_table(*top_tagging_rows(jets), path)


def write_jetnet(jets: Jets, path: Path, *, particles: int = 150) -> None:
    """All jets as one class."""
    some = hardest(jets, particles)
    share = some.constituent_pt / jets.pt[some.jet_index]
    found = padded(some, some.constituent_eta, some.constituent_phi, share, np.ones(len(share)))
    array = np.zeros((len(jets), particles, 4), "f4")
    array[:, : found.shape[1]] = found
    with h5py.File(path, "w") as file:
        file["particle_features"] = array
        file["jet_features"] = np.stack([jets.pt, jets.eta, jets.mass, some.counts], axis=1).astype("f4")


def write_jet_images(jets: Jets, path: Path) -> None:
    """Upright images, rows from above down; the class W as signal, any other as background."""
    images = make_images(jets, RAW.model_copy(update={"pixels": 25, "half_width": 1.25}))[..., 0]
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "image", data=images.transpose(0, 2, 1)[:, ::-1], compression="gzip", shuffle=True
        )
        file["signal"] = np.array([name == "W" for name in jets.classes])[jets.label].astype("f4")
        for name in ("pt", "eta", "mass"):
            file[f"jet_{name}"] = getattr(jets, name)
        for name in ("jet_phi", "jet_delta_R", "tau_1", "tau_2", "tau_3", "tau_21", "tau_32"):
            file[name] = np.zeros(len(jets), "f4")
