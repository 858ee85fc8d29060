from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from layouts import assert_same_jets, mixed, read_all, write_jetclass

from jetexp.errors import JetFileError
from jetexp.jets.formats.form import Drops, Wanted
from jetexp.jets.formats.jetclass import content, read
from jetexp.jets.sample import Jets, concatenate

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
MOMENTUM = ("part_px", "part_py", "part_pz", "part_energy")


@pytest.fixture
def jets(pythia_jets: Jets) -> Jets:
    """Called by JetClass's names, in turn."""
    some = mixed(pythia_jets, 600)
    return Jets(**{**vars(some), "classes": CLASSES, "label": np.arange(600) % 10})


def saved(path: Path, compression: Any = None, name: str = "tree", **changes: Any) -> Path:
    """Five jets of two particles each, with some columns changed, or left out where they are None."""
    columns: dict[str, Any] = {name: np.full((5, 2), 10.0) for name in MOMENTUM}
    columns["part_energy"] = np.full((5, 2), 18.0)
    columns |= {"part_charge": np.ones((5, 2)), "label_QCD": np.ones(5), "label_Hbb": np.zeros(5)}
    columns = {key: values for key, values in (columns | changes).items() if values is not None}
    arrays = {key: ak.Array(values) for key, values in columns.items()}
    lists = {key: ak.from_regular(values) if values.ndim == 2 else values for key, values in arrays.items()}
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree(name, {key: values.type.content for key, values in lists.items()})
        tree.extend(lists)
    return path


def altered(jet: int, place: int, value: float) -> np.ndarray:
    array = np.full((5, 2), 10.0)
    array[jet, place] = value
    return array


def test_ten_classes_come_back(jets: Jets, tmp_path: Path) -> None:
    write_jetclass(jets, tmp_path / "jets.root")
    found = read_all(tmp_path / "jets.root", CLASSES)
    assert_same_jets(found, jets)
    assert np.array_equal(found.constituent_charge, jets.constituent_charge)
    assert found.provenance["format"] == "jetclass"
    held = content(tmp_path / "jets.root", Wanted(()))
    assert held.classes == dict.fromkeys(CLASSES, 60)


def test_many_files_are_one_sample(jets: Jets, tmp_path: Path) -> None:
    for number in range(3):
        part = jets.take(slice(200 * number, 200 * (number + 1)))
        write_jetclass(part, tmp_path / f"part_{number}.root")
    found = read_all(f"{tmp_path}/part_*.root", CLASSES)
    assert np.array_equal(found.label, jets.label)
    assert np.allclose(found.pt, jets.pt, rtol=1e-5)
    assert [told["file"] for told in found.provenance["files"]] == [f"part_{i}.root" for i in range(3)]


def test_files_of_one_class_each_are_one_sample(jets: Jets, tmp_path: Path) -> None:
    for name in ("QCD", "Wqq", "Tbl"):
        write_jetclass(jets.take(jets.label == CLASSES.index(name)), tmp_path / f"{name}_0.root")
    path = f"{tmp_path}/*.root"
    found = read_all(path, ["W", "QCD"], names={"W": "Wqq"}, per_class=20)
    assert found.class_counts == {"W": 20, "QCD": 20}
    # what is not needed is not read
    assert [told["file"] for told in found.provenance["files"]] == ["QCD_0.root", "Wqq_0.root"]
    with pytest.raises(JetFileError, match=r"hold no jets of class 'Hbb' \(path\); they have QCD, Tbl, Wqq"):
        read_all(path, ["QCD", "Hbb"])


def test_classes_and_numbers_are_chosen(jets: Jets, tmp_path: Path) -> None:
    write_jetclass(jets, tmp_path / "jets.root")
    found = read_all(tmp_path / "jets.root", ["W", "QCD"], names={"W": "Wqq"}, per_class=13)
    assert found.class_counts == {"W": 13, "QCD": 13}
    wanted = jets.with_classes(["Wqq", "QCD"]).take(slice(0, 26))
    assert_same_jets(found, wanted, classes=["W", "QCD"])
    with pytest.raises(JetFileError, match="no jets of class 'W'; it has QCD, Hbb, Hcc"):
        read_all(tmp_path / "jets.root", ["W"])


@pytest.mark.parametrize("jets_per_basket", [70, 600])
def test_a_file_is_read_in_steps(jets: Jets, tmp_path: Path, jets_per_basket: int) -> None:
    many = concatenate([jets] * 10)
    write_jetclass(many, tmp_path / "jets.root", jets_per_basket=jets_per_basket)
    batches = list(read(tmp_path / "jets.root", Wanted(CLASSES), Drops()))
    assert [len(batch) for batch in batches] == [5000, 1000]
    assert_same_jets(concatenate(batches), many)


@pytest.mark.parametrize("compression", [None, uproot.ZLIB(1), uproot.LZMA(1), uproot.LZ4(1), uproot.ZSTD(1)])
def test_all_of_roots_compressions_are_read(tmp_path: Path, compression: Any) -> None:
    found = read_all(saved(tmp_path / "jets.root", compression), ["QCD"])
    assert np.allclose(found.pt, 20 * np.sqrt(2))
    assert np.allclose(found.mass, np.sqrt(36**2 - 3 * 20**2))


def test_charges_and_labels_may_be_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "jets.root", part_charge=None, label_QCD=None, label_Hbb=None)
    found = read_all({"QCD": str(path)}, ["QCD"])
    assert found.class_counts == {"QCD": 5}
    assert found.constituent_charge is None
    with pytest.raises(JetFileError, match="does not say of which class its jets are"):
        read_all(path, ["QCD"])


def test_jets_without_particles_are_dropped(tmp_path: Path) -> None:
    columns = {name: ak.Array([[10.0], [], [10.0], [0.0], [10.0]]) for name in (*MOMENTUM, "part_charge")}
    found = read_all(saved(tmp_path / "jets.root", **columns), ["QCD"])
    assert len(found) == 3
    assert list(found.provenance["dropped"].values()) == [2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part_px": None}, "has no branch 'part_px'; it has npart_py, part_py"),
        ({"name": "other"}, "has no tree 'tree'; it has other"),
        ({"part_px": np.ones(5)}, "part_px holds double, not lists of numbers"),
        ({"label_QCD": np.ones((5, 2))}, r"label_QCD holds double\[\], not one number an entry"),
        ({"part_pz": np.ones((5, 3))}, "part_pz differs in length from part_px"),
        ({"part_px": altered(3, 1, np.nan)}, "jet 3, constituent 1: px is nan"),
        ({"part_py": altered(3, 1, np.inf)}, "jet 3, constituent 1: py is inf"),
        ({"part_energy": altered(3, 1, -1.0)}, "jet 3, constituent 1: energy is -1"),
        ({"part_charge": altered(3, 1, 0.5)}, "part_charge holds the charge 0.5"),
        ({"part_charge": altered(3, 1, np.nan)}, "part_charge holds the charge nan"),
        ({"label_Hbb": np.ones(5)}, r"label_\*, jet 0, is of no class; one 1 among zeros"),
        ({"label_Hbb": np.full(5, np.nan)}, r"label_\*, jet 0, is of no class"),
        ({"part_px": np.zeros((5, 10_001))}, "part_px has a list of 10001 values; at most 10000"),
    ],
)
def test_what_no_jet_can_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = saved(tmp_path / "bad.root", **changes)
    with pytest.raises(JetFileError, match=message) as caught:
        read_all(path, ["QCD"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_objects_are_refused(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "histogram.root") as file:
        file["tree"] = np.histogram([1.0, 2.0])
    with pytest.raises(JetFileError, match="has 'tree' as a TH1D, not as a TTree"):
        read_all(tmp_path / "histogram.root", ["QCD"])
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("tree", {"part_px": "var * float32"})
    with pytest.raises(JetFileError, match="tree, holds no jets"):
        read_all(tmp_path / "empty.root", ["QCD"])


@pytest.mark.parametrize("kept", [4, 60, 500, 0.5, 0.95])
def test_a_truncated_file_is_refused(jets: Jets, tmp_path: Path, kept: float) -> None:
    write_jetclass(jets, tmp_path / "jets.root")
    data = (tmp_path / "jets.root").read_bytes()
    (tmp_path / "jets.root").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(JetFileError, match=r"damaged|has no tree") as caught:
        read_all(tmp_path / "jets.root", CLASSES)
    assert "\n" not in str(caught.value)


@pytest.fixture
def unpacked(tmp_path: Path) -> tuple[Path, bytearray, int, int]:
    """A file that is not compressed, its bytes, and where its tree begins and how long it is."""
    path = saved(tmp_path / "jets.root")
    with uproot.open(path) as file:
        key = file.key("tree")
    return path, bytearray(path.read_bytes()), key.data_cursor.index, key.data_uncompressed_bytes


def test_no_code_is_made_of_what_a_file_says(
    unpacked: tuple[Path, bytearray, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data, place, _ = unpacked
    made: list[Callable[..., Any]] = []
    compile_class = uproot.deserialization.compile_class

    def watched(*arguments: Any) -> Any:
        made.append(compile_class)
        return compile_class(*arguments)

    monkeypatch.setattr(uproot.deserialization, "compile_class", watched)
    # a tree of version 99, which uproot takes for the one that the file describes
    data[place + 4 : place + 6] = (99).to_bytes(2, "big")
    path.write_bytes(data)
    with uproot.open(path, custom_classes=dict(uproot.classes)) as file:
        assert file["tree"].num_entries == 5
    assert made
    made.clear()
    with pytest.raises(JetFileError, match="a TTree of a version that is not known"):
        read_all(path, ["QCD"])
    assert not made


def test_an_absurd_number_of_jets_is_refused(unpacked: tuple[Path, bytearray, int, int]) -> None:
    path, data, place, _ = unpacked
    five = (5).to_bytes(8, "big")
    first = data.index(five, place)
    data[first : first + 8] = (10**15).to_bytes(8, "big")
    path.write_bytes(data)
    with pytest.raises(JetFileError, match="entries, but the tree announces 1000000000000000"):
        read_all(path, ["QCD"])


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("root_tree.LARGEST_TREE", r"tree, unfolds to \d+ bytes from \d+; at most 10 are read"),
        ("root_column.LARGEST_BASKET", r"label_QCD, basket 0, unfolds to 40 bytes from \d+; at most 10"),
    ],
)
def test_nothing_is_unfolded_before_its_size_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(f"jetexp.jets.formats.{limit}", 10)
    with pytest.raises(JetFileError, match=message):
        read_all(saved(tmp_path / "jets.root", uproot.ZLIB(1)), ["QCD"])


def test_damaged_bytes_are_refused_or_harmless(unpacked: tuple[Path, bytearray, int, int]) -> None:
    path, data, place, size = unpacked
    refused = []
    places = range(place, place + size, size // 60)
    for at in places:
        broken = data.copy()
        broken[at] ^= 1 << at % 8
        path.write_bytes(broken)
        try:
            assert len(read_all(path, ["QCD"])) == 5
        except JetFileError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not any("\n" in sentence for sentence in refused)
