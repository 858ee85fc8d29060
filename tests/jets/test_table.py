from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.sample import Jets
from jetexp.jets.table import from_table, read_table, to_table, write_chunk, write_table


def test_columns_are_checked(pythia_jets: Jets) -> None:
    table = to_table(pythia_jets)
    classes = pythia_jets.classes

    def refused(altered: pa.Table, message: str) -> None:
        with pytest.raises(JetFileError, match=message):
            from_table(altered, classes, "file")

    refused(table.drop_columns(["pt"]), "no column 'pt'")
    refused(table.drop_columns(["constituent_eta"]), "no column 'constituent_eta'")

    def with_column(name: str, values: pa.Array) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, values)

    refused(with_column("pt", pa.array(pythia_jets.pt.astype("f8"))), "of type double, not float")
    refused(with_column("label", pa.array([None] * 900, type=pa.int64())), "empty cells")
    refused(with_column("constituent_pt", table["constituent_eta"]), "'constituent_pt', holds the impossible")
    shorter = pa.array(
        [values[1:] for values in table["constituent_phi"].to_pylist()], type=pa.list_(pa.float32())
    )
    refused(with_column("constituent_phi", shorter), "differs in length")
    refused(with_column("mass", pa.array(np.full(900, np.nan, "f4"))), "impossible value nan")


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "other.parquet")
    with pytest.raises(JetFileError, match="no column 'label'"):
        read_table(tmp_path / "other.parquet", ("QCD",))
    (tmp_path / "text.parquet").write_text("jets")
    with pytest.raises(JetFileError, match="cannot be read as Parquet"):
        read_table(tmp_path / "text.parquet", ("QCD",))


def test_a_chunk_comes_back_as_it_was(pythia_jets: Jets, tmp_path: Path) -> None:
    for jets in (pythia_jets, pythia_jets.take(slice(0, 0))):
        write_chunk(jets, tmp_path / "chunk.parquet")
        again = read_table(tmp_path / "chunk.parquet", jets.classes)
        assert again.fingerprint == jets.fingerprint
        assert np.array_equal(again.weight, jets.weight)


def test_a_table_that_unfolds_too_far_is_refused(tmp_path: Path) -> None:
    nothing = np.zeros(3_000_000, np.float32)
    jets = Jets(
        offsets=np.zeros(len(nothing) + 1, np.int64),
        constituent_eta=nothing[:0],
        constituent_phi=nothing[:0],
        constituent_pt=nothing[:0],
        label=np.zeros(len(nothing), np.int64),
        pt=nothing,
        eta=nothing,
        mass=nothing,
        classes=("QCD",),
    )
    write_table(jets, tmp_path / "trap.parquet")
    with pytest.raises(JetFileError, match="claims to unfold"):
        read_table(tmp_path / "trap.parquet", ("QCD",))


def test_columns_of_another_type_are_refused_before_they_are_read(tmp_path: Path) -> None:
    names = ["label", "pt", "eta", "mass", "constituent_eta", "constituent_phi", "constituent_pt"]
    path = tmp_path / "text.parquet"
    pq.write_table(pa.table({name: ["x"] for name in names}), path)
    # whoever reads one finds it damaged
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 200 + data[204:])
    with pytest.raises(JetFileError, match="column 'label', is of type string, not int64"):
        read_table(path, ("QCD",))
