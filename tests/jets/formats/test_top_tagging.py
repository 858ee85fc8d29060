from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from layouts import assert_same_jets, hardest, top_tagging_rows, write_pandas_table, write_top_tagging

from jetexp.errors import JetFileError
from jetexp.jets.formats.form import Drops, Wanted
from jetexp.jets.formats.top_tagging import content, read, sniff
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings


def read_all(path: Path, classes: tuple[str, ...] = ("QCD", "top"), **settings: Any) -> Jets:
    return load_jets(JetFileSettings(path=str(path), **settings), classes, Path("nowhere"))


@pytest.fixture(scope="module")
def jets(pythia_jets: Jets) -> Jets:
    """QCD and top jets, no two of a class beside each other, of no more constituents than are kept."""
    some = pythia_jets.with_classes(("QCD", "top"))
    some = some.take(np.argsort(np.arange(len(some)) % 300, kind="stable"))
    return some.take(some.counts <= 200)


@pytest.fixture
def good(jets: Jets, tmp_path: Path) -> Path:
    write_top_tagging(jets, tmp_path / "good.h5")
    return tmp_path / "good.h5"


def test_jets_written_in_the_layout_are_read_back(jets: Jets, good: Path) -> None:
    found = read_all(good)
    assert_same_jets(found, hardest(jets, 200), tolerance=2e-5)
    assert found.provenance["format"] == "top_tagging"
    assert found.provenance["assumed"] == []


def test_classes_may_have_other_names_in_another_order(jets: Jets, good: Path) -> None:
    found = read_all(good, ("boosted", "QCD"), names={"boosted": "top"})
    assert np.array_equal(found.label, 1 - jets.label)
    assert read_all(good, ("top",)).class_counts == {"top": int(jets.label.sum())}
    with pytest.raises(JetFileError, match="no jets of class 'W'; it has QCD, top"):
        read_all(good, ("W", "top"))


def test_content_counts_the_classes(jets: Jets, good: Path) -> None:
    found = content(good, Wanted(("QCD", "top")))
    assert (found.classes, found.jets) == (jets.class_counts, len(jets))


def test_per_class_takes_the_first_of_each(jets: Jets, good: Path) -> None:
    found = read_all(good, per_class=20)
    first = np.sort(np.concatenate([np.flatnonzero(jets.label == label)[:20] for label in (0, 1)]))
    assert_same_jets(found, hardest(jets.take(first), 200), tolerance=2e-5)


def test_columns_may_stand_in_any_order_and_type(jets: Jets, good: Path, tmp_path: Path) -> None:
    rows, columns = top_tagging_rows(jets)
    order = np.random.default_rng(0).permutation(len(columns["values_block_0"]))
    names = [columns["values_block_0"][place] for place in order]
    momenta = rows["values_block_0"][:, order]
    fields = [("values_block_1", "<i2", (2,)), ("values_block_0", ">f8", (300,)), ("index", "<i8")]
    other = np.zeros(len(jets), [*fields, (names[300], "<f8"), ("values_block_2", "<f4", (503,))])
    other["values_block_1"] = rows["values_block_1"][:, ::-1]
    other["values_block_0"], other[names[300]] = momenta[:, :300], momenta[:, 300]
    other["values_block_2"] = momenta[:, 301:]
    split = {"values_block_0": names[:300], names[300]: [names[300]], "values_block_2": names[301:]}
    write_pandas_table(other, split | {"values_block_1": ["is_signal_new", "ttv"]}, tmp_path / "other.h5")
    assert read_all(tmp_path / "other.h5").fingerprint == read_all(good).fingerprint


def test_any_number_of_constituents_is_read(jets: Jets, tmp_path: Path) -> None:
    write_pandas_table(*top_tagging_rows(jets, 10), tmp_path / "few.h5")
    found = read_all(tmp_path / "few.h5")
    assert np.array_equal(found.counts, np.minimum(jets.counts, 10))
    assert np.allclose(found.constituent_pt, hardest(jets, 10).constituent_pt, rtol=1e-5)


def test_jets_without_constituents_are_counted_and_left_out(jets: Jets, tmp_path: Path) -> None:
    rows, columns = top_tagging_rows(jets)
    rows["values_block_0"][3] = 0
    write_pandas_table(rows, columns, tmp_path / "file.h5")
    found = read_all(tmp_path / "file.h5")
    assert len(found) == len(jets) - 1
    assert list(found.provenance["dropped"].values()) == [1]


def test_batches_are_small(jets: Jets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_top_tagging(jets, tmp_path / "file.h5")
    monkeypatch.setattr("jetexp.jets.formats.batches.CONSTITUENTS_PER_BATCH", 200 * 7)
    batches = list(read(tmp_path / "file.h5", Wanted(("QCD", "top")), Drops()))
    assert max(len(batch) for batch in batches) == 7
    assert sum(len(batch) for batch in batches) == len(jets)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.nan, "jet 150, constituent 0: energy is nan"),
        (0, -5.0, "jet 150, constituent 0: energy is -5"),
        (5, np.inf, "jet 150, constituent 1: px is inf"),
        (6, 1e30, r"jet 150, constituent 1: py is 1e\+30"),
    ],
)
def test_a_momentum_that_is_none_is_refused(
    jets: Jets, tmp_path: Path, column: int, value: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetexp.jets.formats.batches.CONSTITUENTS_PER_BATCH", 200 * 40)
    rows, columns = top_tagging_rows(jets)
    rows["values_block_0"][150, column] = value
    write_pandas_table(rows, columns, tmp_path / "file.h5")
    with pytest.raises(JetFileError, match=f"table/table, {message}"):
        read_all(tmp_path / "file.h5")


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_of_no_class_is_refused(jets: Jets, tmp_path: Path, label: int) -> None:
    rows, columns = top_tagging_rows(jets)
    rows["values_block_1"][7, 1] = label
    write_pandas_table(rows, columns, tmp_path / "file.h5")
    with pytest.raises(JetFileError, match=f"is_signal_new, jet 7, is {label}; 0 .QCD. or 1 .top."):
        read_all(tmp_path / "file.h5")


def table(path: Path, columns: dict[str, list[str]], **kinds: str) -> Path:
    names = {field: len(names) for field, names in columns.items()}
    rows = np.zeros(5, [(field, kinds.get(field, "<f4"), (width,)) for field, width in names.items()])
    write_pandas_table(rows, columns, path)
    return path


MOMENTUM = ["E_0", "PX_0", "PY_0", "PZ_0"]


@pytest.mark.parametrize(
    ("columns", "kinds", "message"),
    [
        ({"a": [*MOMENTUM[:3], "is_signal_new"]}, {}, "has no column PZ_0"),
        ({"a": [*MOMENTUM, "E_2", "is_signal_new"]}, {}, "has no column PX_1"),
        ({"a": MOMENTUM, "b": ["is_signal_new"]}, {"a": "<i4"}, "PX_0, is of type int32, not a floating"),
        ({"a": MOMENTUM, "b": ["is_signal_new"]}, {"b": "S3"}, r"is_signal_new, is of type \|S3"),
        ({"a": MOMENTUM, "b": ["is_signal_new"]}, {"a": "<c8"}, "PX_0, is of type complex64"),
    ],
)
def test_a_table_of_other_columns_is_refused(
    tmp_path: Path, columns: Any, kinds: dict[str, str], message: str
) -> None:
    with pytest.raises(JetFileError, match=message):
        read_all(table(tmp_path / "file.h5", columns, **kinds))


def test_an_empty_table_is_refused(jets: Jets, tmp_path: Path) -> None:
    rows, columns = top_tagging_rows(jets)
    write_pandas_table(rows[:0], columns, tmp_path / "file.h5")
    with pytest.raises(JetFileError, match=r"table/table is of shape \(0,\)"):
        read_all(tmp_path / "file.h5")


class Touching:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_no_pickle_in_the_file_is_run(good: Path, tmp_path: Path) -> None:
    with h5py.File(good, "a") as file:
        pickled = np.bytes_(pickle.dumps([Touching(tmp_path / "touched")], 0))
        file["table"].attrs["non_index_axes"] = file["table"].attrs["info"] = pickled
    # nobody looks at these
    assert len(read_all(good)) > 500
    with h5py.File(good, "a") as file:
        file["table/table"].attrs["values_block_0_kind"] = pickled
    with pytest.raises(JetFileError, match="values_block_0_kind is pickled, and not as a list of strings"):
        read_all(good)
    assert not (tmp_path / "touched").exists()
    pickle.loads(pickled)
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("names", [["E_0"], [f"E_{index}" for index in range(805)]])
def test_names_that_do_not_fit_the_columns_are_refused(good: Path, names: list[str]) -> None:
    with h5py.File(good, "a") as file:
        file["table/table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(names, 0))
    with pytest.raises(JetFileError, match=f"{len(names)} names of columns for values_block_0, which is of"):
        read_all(good)


def test_a_truncated_file_is_refused(good: Path) -> None:
    data = good.read_bytes()
    good.write_bytes(data[: len(data) // 2])
    with pytest.raises(JetFileError, match=r"good\.h5 is damaged"):
        read_all(good)


def test_absurd_numbers_of_rows_are_refused(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["table/table"].resize((10**12,))
    with pytest.raises(JetFileError, match="announces 10000000000 chunks"):
        read_all(good)


def test_sniff_goes_by_the_content(good: Path, tmp_path: Path) -> None:
    assert sniff(good.rename(tmp_path / "noname"))
    assert not sniff(table(tmp_path / "other.h5", {"a": ["E_0", "label"]}))
    with h5py.File(tmp_path / "array.h5", "w") as file:
        file["table/table"] = np.zeros((5, 4))
    assert not sniff(tmp_path / "array.h5")
    (tmp_path / "text.h5").write_text("jets")
    assert not sniff(tmp_path / "text.h5")
