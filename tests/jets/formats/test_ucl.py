from __future__ import annotations

import io
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetexp.errors import JetexpError, JetFileError
from jetexp.jets.formats.ucl import default_ucl_name, export_ucl, sniff
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings


def images(number: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = np.where(rng.random((number, 40, 40)) < 0.03, rng.exponential(20, (number, 40, 40)), 0)
    found[:, 20, 20] = 500
    return found


def saved(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def read_all(path: Path, classes: tuple[str, ...] = ("QCD", "W"), per_class: int | None = None) -> Jets:
    return load_jets(JetFileSettings(path=str(path), per_class=per_class), classes, Path("nowhere"))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return saved(tmp_path / "good.npz", W_jet_images=images(7), QCD_jet_images=images(5, 1))


@pytest.mark.parametrize("form", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_any_floating_type(tmp_path: Path, form: str, save: Any) -> None:
    wanted = images(1203).astype(form)
    save(tmp_path / "file.npz", W_jet_images=wanted, other=np.array(["text"]))
    jets = read_all(tmp_path / "file.npz", ("W",))
    assert jets.class_counts == {"W": 1203}
    assert np.array_equal(jets.constituent_pt, wanted[wanted > 0].astype(np.float32))


def test_labels_follow_the_classes_asked(good: Path) -> None:
    jets = read_all(good, ("W", "QCD"))
    assert jets.classes == ("W", "QCD")
    assert jets.label.tolist() == [0] * 7 + [1] * 5
    assert read_all(good).label.tolist() == [0] * 5 + [1] * 7


def test_fortran_order_is_read_alike(tmp_path: Path, good: Path) -> None:
    path = saved(
        tmp_path / "columns.npz",
        W_jet_images=np.asfortranarray(images(7)),
        QCD_jet_images=np.asfortranarray(images(5, 1)),
    )
    assert read_all(path).fingerprint == read_all(good).fingerprint


def test_per_class_takes_the_first_sound_jets(tmp_path: Path) -> None:
    some = images(30)
    some[1, 0, 0] = 1e6
    path = saved(tmp_path / "file.npz", W_jet_images=some)
    jets = read_all(path, ("W",), per_class=3)
    assert np.array_equal(
        jets.constituent_pt, np.concatenate([some[i][some[i] > 0] for i in (0, 2, 3)]).astype("f4")
    )


def test_absurd_and_empty_jets_are_counted_and_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = images(6)
    some[2, 3, 3] = 1e6
    some[4] = 0
    path = saved(tmp_path / "file.npz", W_jet_images=some)
    with caplog.at_level(logging.WARNING):
        jets = read_all(path, ("W",))
    assert len(jets) == 4
    assert "W_jet_images: a pixel above the maximum of 13000" in caplog.text
    assert "W_jet_images: no energy in any pixel" in caplog.text
    assert list(jets.provenance["dropped"].values()) == [1, 1]


def altered(value: float) -> np.ndarray:
    array = images(1500)
    array[1200, 3, 4] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (altered(np.nan), r"W_jet_images, jet 1200, pixel \(3, 4\), is nan"),
        (altered(np.inf), r"W_jet_images, jet 1200, pixel \(3, 4\), is inf"),
        (altered(-1.0), r"W_jet_images, jet 1200, pixel \(3, 4\), is -1.0"),
        (np.zeros((0, 40, 40)), "W_jet_images holds no jets"),
        (np.zeros((5, 40, 40)), "W_jet_images holds only jets that are empty"),
        (np.ones((5, 40, 39)), r"W_jet_images is of shape \(5, 40, 39\), not \(N, 40, 40\)"),
        (np.ones((5, 1600)), r"W_jet_images is of shape \(5, 1600\)"),
        (np.ones((5, 40, 40), dtype=int), "W_jet_images is of type int64"),
        (np.ones((5, 40, 40), dtype=complex), "W_jet_images is of type complex128"),
        (np.array([{"a": 1}] * 3, dtype=object), "W_jet_images holds pickled Python objects"),
        (
            np.full((5, 40, 40), 1e6),
            "W_jet_images holds only jets that are empty or have a pixel above 13000",
        ),
    ],
)
def test_a_bad_array_is_refused_with_a_sentence(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = saved(tmp_path / "bad.npz", W_jet_images=array)
    with pytest.raises(JetFileError, match=message) as caught:
        read_all(path, ("W",))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_class_is_named_with_those_there(good: Path) -> None:
    with pytest.raises(JetFileError, match="no jets of class 'top'; it has W, QCD"):
        read_all(good, ("top", "W"))


def test_a_file_of_other_arrays_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(JetFileError, match="in no form that is known"):
        read_all(path)


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(good: Path, kept: float) -> None:
    data = good.read_bytes()
    good.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(JetFileError, match="truncated"):
        read_all(good)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_byte_never_changes_a_jet(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "file.npz"
    save(path, W_jet_images=images(2))
    data, wanted = bytearray(path.read_bytes()), read_all(path, ("W",)).fingerprint
    refused = 0
    for place in [*range(300), *range(300, len(data), 97), *range(len(data) - 120, len(data))]:
        broken = data.copy()
        broken[place] ^= 0x10
        path.write_bytes(broken)
        try:
            # the bits of an archive that have no meaning may well change
            assert read_all(path, ("W",)).fingerprint == wanted
        except JetFileError:
            refused += 1
    assert refused > 150


def rewritten(path: Path, header: dict[str, Any], data: bytes) -> Path:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_jet_images.npy", buffer.getvalue() + data)
    return path


@pytest.mark.parametrize("number", [2, 4, 10**12])
def test_a_header_that_lies_about_its_size_is_refused(tmp_path: Path, number: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (number, 40, 40)}
    path = rewritten(tmp_path / "lie.npz", header, images(3).astype("<f4").tobytes())
    with pytest.raises(JetFileError, match="announces"):
        read_all(path, ("W",))


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (3, 40, 40)}
    path = rewritten(tmp_path / "lie.npz", header, images(2).astype("<f4").tobytes())
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    size = int.from_bytes(data[directory + 24 : directory + 28], "little")
    data[directory + 24 : directory + 28] = (size + 40 * 40 * 4).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(JetFileError, match="break off"):
        read_all(path, ("W",))


def test_a_large_array_out_of_nearly_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetexp.jets.formats.arrays.LARGE", 1_000_000)
    header = {"descr": "<f4", "fortran_order": False, "shape": (2000, 40, 40)}
    path = rewritten(tmp_path / "trap.npz", header, bytes(2000 * 1600 * 4))
    with pytest.raises(JetFileError, match="unfolds to"):
        read_all(path, ("W",))


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("W_jet_images.npy", "cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(JetFileError, match="not an array in NumPy's format"):
        read_all(tmp_path / "text.npz", ("W",))


def test_an_array_that_stands_twice_is_refused(good: Path) -> None:
    with zipfile.ZipFile(good, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("W_jet_images.npy", b"")
    with pytest.raises(JetFileError, match="twice"):
        read_all(good)


def test_sniff_goes_by_the_content(good: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("jets")
    (tmp_path / "empty.npz").touch()
    assert sniff(good)
    assert sniff(good.rename(tmp_path / "noname"))
    with pytest.raises(JetFileError, match=r"truncated or no \.npz file"):
        sniff(tmp_path / "empty.npz")
    assert not sniff(tmp_path / "text")


def test_exported_jets_are_what_the_notebook_loads(pythia_jets: Jets, tmp_path: Path) -> None:
    path = tmp_path / default_ucl_name((600, 1500), 300)
    assert path.name == "20190920_pt600.0_1500.0_40bins_300.npz"
    export_ucl(pythia_jets, path)
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == ["QCD_jet_images", "W_jet_images", "top_jet_images"]
        for name in pythia_jets.classes:
            found = file[f"{name}_jet_images"]
            assert (found.shape, found.dtype) == ((300, 40, 40), np.float32)
            jets = pythia_jets.with_classes([name])
            # what lies outside the image is soft
            total = np.add.reduceat(jets.constituent_pt, jets.offsets[:-1])
            assert (found.sum(axis=(1, 2)) / total).min() > 0.9
    assert sorted(os.listdir(tmp_path)) == [path.name]


def test_an_exported_file_exports_to_the_same_file(pythia_jets: Jets, tmp_path: Path) -> None:
    export_ucl(pythia_jets, tmp_path / "once.npz")
    again = read_all(tmp_path / "once.npz", pythia_jets.classes)
    export_ucl(again, tmp_path / "twice.npz")
    assert (tmp_path / "once.npz").read_bytes() == (tmp_path / "twice.npz").read_bytes()
    assert again.class_counts == pythia_jets.class_counts


def test_only_what_the_format_knows_is_exported(pythia_jets: Jets, tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match="no jets of class 'QCD'"):
        export_ucl(pythia_jets.take(pythia_jets.label > 0), tmp_path / "file.npz")
    (tmp_path / "file").touch()
    with pytest.raises(JetexpError, match="cannot be written"):
        export_ucl(pythia_jets, tmp_path / "file" / "file.npz")
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_of_any_length_is_told_briefly(good: Path) -> None:
    data = bytearray(good.read_bytes())
    # the length of the first member's name, in its own header
    data[26:28] = (3000).to_bytes(2, "little")
    good.write_bytes(data)
    with pytest.raises(JetFileError, match=r"File name in directory 'W_jet_images.npy' .*\.\.\.") as caught:
        read_all(good)
    assert len(str(caught.value)) < 600
