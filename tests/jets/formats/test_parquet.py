from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import assert_same_jets, mixed, read_all, write_parquet

from jetexp.errors import JetFileError
from jetexp.jets.formats import parquet
from jetexp.jets.formats.form import Drops, Wanted
from jetexp.jets.sample import Jets
from jetexp.jets.store import write_jets


@pytest.fixture
def jets(pythia_jets: Jets) -> Jets:
    return mixed(pythia_jets, 900)


def lists(jets: Jets, values: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(jets.offsets.astype("i4")), pa.array(values))


def relative(jets: Jets, prefix: str = "", **others: Any) -> pa.Table:
    """About the jets' axes, without anything else."""
    names = ("eta", "phi", "pt")
    columns = {f"{prefix}{name}": lists(jets, getattr(jets, f"constituent_{name}")) for name in names}
    return pa.table(columns | others)


def saved(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def assumed(jets: Jets) -> str:
    return " ".join(jets.provenance["assumed"])


def test_jets_come_back(jets: Jets, tmp_path: Path) -> None:
    write_parquet(jets, tmp_path / "jets.parquet")
    found = read_all(tmp_path / "jets.parquet", jets.classes)
    assert_same_jets(found, jets, masses=True)
    assert np.array_equal(found.constituent_charge, jets.constituent_charge)
    assert found.provenance["format"] == "parquet"
    assert "in the detector's frame" in assumed(found)


def test_a_part_of_a_stored_sample_comes_back_as_it_was(jets: Jets, tmp_path: Path) -> None:
    write_jets(jets, tmp_path / "sample")
    names = {name: str(label) for label, name in enumerate(jets.classes)}
    found = read_all(tmp_path / "sample" / "part-00000.parquet", jets.classes, names=names)
    assert found.fingerprint == jets.fingerprint
    assert np.array_equal(found.weight, jets.weight)
    assert "relative to the jet axis" in assumed(found)


def test_files_are_read_in_batches(jets: Jets, tmp_path: Path) -> None:
    write_parquet(jets, tmp_path / "jets.parquet")
    batches = list(parquet.read(tmp_path / "jets.parquet", Wanted(jets.classes), Drops()))
    assert [len(batch) for batch in batches] == [400, 400, 100]


@pytest.mark.parametrize("prefix", ["", "constituent_", "particle_", "part_"])
def test_what_jets_lack_is_that_of_their_constituents(jets: Jets, tmp_path: Path, prefix: str) -> None:
    path = saved(tmp_path / "jets.parquet", relative(jets, prefix))
    found = read_all({"any": str(path)}, ["any"])
    assert np.array_equal(found.constituent_eta, jets.constituent_eta)
    assert np.array_equal(found.constituent_phi, jets.constituent_phi)
    assert np.allclose(found.pt, jets.pt, rtol=1e-5)
    assert not found.eta.any()
    assert "Of jets, pt and mass are not there, and taken from" in assumed(found)
    assert "Of jets, eta is not there, and taken to be 0" in assumed(found)
    with pytest.raises(JetFileError, match="does not say of which class its jets are"):
        read_all(path, ["any"])


@pytest.mark.parametrize(
    "form", [pa.int8(), pa.float64(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_labels_are_numbers_or_text(jets: Jets, tmp_path: Path, form: pa.DataType) -> None:
    label = pa.array(jets.label).cast(pa.int64())
    label = label.cast(pa.string()).cast(form) if pa.types.is_dictionary(form) else label.cast(form)
    path = saved(tmp_path / "jets.parquet", relative(jets, label=label))
    found = read_all(path, ["top", "QCD"], names={"top": "2", "QCD": "0"}, per_class=20)
    assert found.class_counts == {"top": 20, "QCD": 20}
    wanted = jets.with_classes(["top", "QCD"]).take(slice(0, 40))
    assert np.array_equal(found.constituent_pt, wanted.constituent_pt)
    with pytest.raises(JetFileError, match="no jets of class 'W'; it has 0, 1, 2"):
        read_all(path, ["W"])


def test_other_kinds_of_lists_are_read(jets: Jets, tmp_path: Path) -> None:
    large = relative(jets).cast(
        pa.schema({name: pa.large_list(pa.float64()) for name in ("eta", "phi", "pt")})
    )
    wanted = read_all({"any": str(saved(tmp_path / "a.parquet", relative(jets)))}, ["any"])
    found = read_all({"any": str(saved(tmp_path / "b.parquet", large))}, ["any"])
    assert found.fingerprint == wanted.fingerprint
    # padded with zeros
    fixed = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(np.tile(values, 50).astype("f4")), 4)
        for name, values in {"eta": [0.1, -0.1, 0, 0], "phi": [0, 0.1, 0, 0], "pt": [50, 50, 0, 0]}.items()
    }
    padded = read_all({"any": str(saved(tmp_path / "c.parquet", pa.table(fixed)))}, ["any"])
    assert padded.counts.tolist() == [2] * 50


def test_the_frame_must_be_clear(jets: Jets, tmp_path: Path) -> None:
    eta = jets.constituent_eta + np.where(jets.label == 0, 1, 0)[jets.jet_index]
    table = relative(jets).set_column(0, "eta", lists(jets, eta.astype("f4")))
    with pytest.raises(JetFileError, match="has 67% of its first jets about eta = phi = 0; all of them"):
        read_all({"any": str(saved(tmp_path / "jets.parquet", table))}, ["any"])


def test_the_unit_is_told_or_given_and_one(jets: Jets, tmp_path: Path) -> None:
    in_mev = relative(jets).set_column(2, "pt", lists(jets, 1000 * jets.constituent_pt.astype("f8")))
    path = {"any": str(saved(tmp_path / "jets.parquet", in_mev))}
    assert "not a collider's: give unit" in assumed(read_all(path, ["any"]))
    found = read_all(path, ["any"], unit=0.001)
    assert np.allclose(found.pt, jets.pt, rtol=1e-5)
    assert "GeV" not in assumed(found)
    both = saved(tmp_path / "both.parquet", in_mev.append_column("jet_pt", pa.array(jets.pt)))
    with pytest.raises(JetFileError, match=r"jets of 0\.001 times the pT of their constituents' sum"):
        read_all({"any": str(both)}, ["any"])


def test_jets_without_constituents_are_dropped(jets: Jets, tmp_path: Path) -> None:
    nothing = pa.table({name: pa.array([[]], pa.list_(pa.float32())) for name in ("eta", "phi", "pt")})
    table = pa.concat_tables([relative(jets), nothing])
    found = read_all({"any": str(saved(tmp_path / "jets.parquet", table))}, ["any"])
    assert len(found) == len(jets)
    assert list(found.provenance["dropped"].values()) == [1]


def changed(jets: Jets, name: str, value: Any) -> pa.Table:
    """One constituent of jet 800 is another one."""
    table = relative(jets)
    values = table[name].to_pylist()
    values[800][3] = value
    return table.set_column(table.column_names.index(name), name, pa.array(values, pa.list_(pa.float32())))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pt", -1.0, "jet 800, constituent 3: pT is -1"),
        ("pt", np.nan, "jet 800, constituent 3: pT is nan"),
        ("eta", np.inf, "jet 800, constituent 3: eta is inf"),
        ("phi", np.nan, "jet 800, constituent 3: phi is nan"),
        ("phi", None, "column 'phi', has empty cells"),
    ],
)
def test_what_no_constituent_can_be_is_refused(
    jets: Jets, tmp_path: Path, name: str, value: Any, message: str
) -> None:
    path = saved(tmp_path / "bad.parquet", changed(jets, name, value))
    with pytest.raises(JetFileError, match=message):
        read_all({"any": str(path)}, ["any"])


def test_wrong_columns_are_refused(jets: Jets, tmp_path: Path) -> None:
    table, number = relative(jets), len(jets)

    def refused(table: pa.Table, message: str) -> None:
        path = saved(tmp_path / "bad.parquet", table)
        with pytest.raises(JetFileError, match=re.escape(message)) as caught:
            read_all({"any": str(path)}, ["any"])
        assert "\n" not in str(caught.value)

    def with_column(name: str, values: Any) -> pa.Table:
        if name in table.column_names:
            return table.set_column(table.column_names.index(name), name, pa.array(values))
        return table.append_column(name, pa.array(values))

    refused(table.drop_columns(["phi"]), "no columns of lists pt, eta and phi, with the prefix constituent_")
    refused(with_column("phi", [["x"]] * number), "no columns of lists pt, eta and phi")
    refused(with_column("phi", [[1]] * number), "column 'phi', is of type list<element: int64>")
    refused(with_column("phi", [[1.0]] * number), "differs in length from other columns")
    refused(pa.table({name: [[1.0] * 10_001] * 3 for name in table.column_names}), "a jet of 10001 entries")
    refused(with_column("jet_pt", ["x"] * number), "column 'jet_pt', is of type string, not floating numbers")
    refused(with_column("jet_pt", [None, *jets.pt[1:]]), "column 'jet_pt', has empty cells")
    refused(with_column("jet_mass", [-1.0] * number), "jet 0: jet mass is -1")
    refused(with_column("jet_mass", [np.nan] * number), "column 'jet_mass', holds nan")
    refused(with_column("weight", [np.inf] * number), "column 'weight', holds inf")
    refused(with_column("charge", relative(jets)["pt"].combine_chunks()), "holds the charge")
    refused(with_column("label", [0.5] * number), "column 'label', jet 0, is 0.5; labels are whole numbers")
    refused(with_column("label", [None, *jets.label[1:]]), "column 'label', has empty cells")
    refused(
        with_column("label", ["x" * 201] * number), "a text of 201 characters, which is no name of a class"
    )
    refused(table[:0], "holds no jets")
    both = with_column("label", [0] * number).append_column("class", pa.array([0] * number))
    refused(both, "has the columns label and class; one of them would be right")
    twice = pa.table(
        [*table.columns, *table.columns],
        names=[*table.column_names, *(f"part_{name}" for name in table.column_names)],
    )
    refused(twice, "has more than one set of columns of lists pt, eta and phi")


@pytest.mark.parametrize("kept", [10, 0.5, 0.99])
def test_a_truncated_file_is_refused(jets: Jets, tmp_path: Path, kept: float) -> None:
    write_parquet(jets, tmp_path / "jets.parquet")
    data = (tmp_path / "jets.parquet").read_bytes()
    (tmp_path / "jets.parquet").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(JetFileError, match="cannot be read as Parquet: it is truncated"):
        read_all(tmp_path / "jets.parquet", jets.classes)


def test_lists_out_of_nearly_nothing_are_refused(tmp_path: Path) -> None:
    column = pa.array([np.ones(6_000_000, "f4")])
    path = saved(tmp_path / "trap.parquet", pa.table(dict.fromkeys(("eta", "phi", "pt"), column)))
    assert path.stat().st_size < 500_000
    with pytest.raises(JetFileError, match="claims to unfold"):
        read_all({"any": str(path)}, ["any"])
