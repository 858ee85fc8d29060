from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.parquet_pages import check_pages, groups_of
from jetexp.jets.sample import Jets
from jetexp.jets.table import read_table, write_table


def table(rows: int) -> pa.Table:
    rng = np.random.default_rng(0)
    lists = [list(map(float, rng.normal(size=number))) for number in rng.integers(0, 9, rows)]
    nested = pa.array([{"a": number, "b": [number]} for number in range(rows)])
    return pa.table({"x": lists, "nested": nested, "text": ["some", "text"] * (rows // 2), "y": range(rows)})


@pytest.mark.parametrize("settings", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
def test_a_sound_file_is_in_order(tmp_path: Path, settings: dict[str, Any], compression: str) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(table(1000), path, row_group_size=300, compression=compression, **settings)
    groups = groups_of(path)
    assert [group.rows for group in groups] == [300, 300, 300, 100]
    names = ["x", "nested", "nested", "text", "y"]
    assert all([chunk.column for chunk in group.chunks] == names for group in groups)
    with pq.ParquetFile(path) as file:
        for place, group in enumerate(groups):
            wanted = [file.metadata.row_group(place).column(index).num_values for index in range(5)]
            assert [chunk.values for chunk in group.chunks] == wanted
    check_pages(path, groups, names)


def test_lists_that_unfold_too_far_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trap.parquet"
    pq.write_table(pa.table({"x": pa.array([np.zeros(6_000_000, "f4")])}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(JetFileError, match=r"claims to unfold to \d+ bytes from \d+: not read"):
        check_pages(path, groups_of(path), ["x"])
    check_pages(path, groups_of(path), ["y"])


def test_a_page_that_unfolds_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trap.parquet"
    settings = {
        "use_dictionary": False,
        "compression": "zstd",
        "data_page_size": 2**30,
        "max_rows_per_page": 2**30,
        "row_group_size": 2**30,
    }
    pq.write_table(pa.table({"x": np.zeros(5_000_000, "f8")}), path, **settings)
    with pytest.raises(JetFileError, match=r"has a page that unfolds to 40\d+ bytes"):
        check_pages(path, groups_of(path), ["x"])


def test_a_footer_of_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"x": np.arange(1000)}), path, use_dictionary=False, compression="none")
    data = path.read_bytes()
    number = bytes([0xD0, 0x0F])  # 1000
    assert data.count(number) >= 3
    refused = 0
    for place in (place for place in range(len(data)) if data[place : place + 2] == number):
        path.write_bytes(data[:place] + bytes([0xD2, 0x0F]) + data[place + 2 :])
        try:
            check_pages(path, groups_of(path), ["x"])
        except JetFileError as error:
            refused += "its pages hold 1000 values, but 1001 are announced" in str(error)
            refused += "its pages hold 1001 values, but 1000 are announced" in str(error)
    assert refused == 2


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"", "truncated or something else"),
        (b"PAR1", "truncated or something else"),
        (b"\xff\xff\xff\x7fPAR1", "truncated or something else"),
        (b"\x00\x00\x00\x00PAR1", "its footer makes no sense"),
        (b"\x2c\x00\x04\x00\x00\x00PAR1", "its footer makes no sense"),
    ],
)
def test_what_has_no_footer_is_refused(tmp_path: Path, tail: bytes, message: str) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + tail)
    with pytest.raises(JetFileError, match=message):
        groups_of(tmp_path / "bad.parquet")


def test_a_damaged_byte_is_refused_or_harmless(pythia_jets: Jets, tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_table(pythia_jets.take([0, 300]), path)
    data, refused, places = path.read_bytes(), [], range(0, path.stat().st_size, 5)
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            assert len(read_table(path, pythia_jets.classes)) == 2
        except JetFileError as error:
            refused.append(str(error))
    assert len(refused) > len(places) / 2
    assert not any("\n" in sentence for sentence in refused)
