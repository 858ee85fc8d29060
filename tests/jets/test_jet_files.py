"""Which files are read, and how many jets of each class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import (
    mixed,
    write_energyflow,
    write_four_momenta,
    write_image_arrays,
    write_jet_images,
    write_jetclass,
    write_jetnet,
    write_parquet,
    write_top_tagging,
)

from jetexp.errors import ExperimentError, JetFileError
from jetexp.experiment_file import override, read_experiment
from jetexp.file_summary import classes_in
from jetexp.jets.files import read_files
from jetexp.jets.formats import batches, images, jetclass, parquet
from jetexp.jets.formats.ucl import export_ucl
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings
from jetexp.jets.store import write_jets

EXPERIMENTS = Path(__file__).parent.parent.parent / "experiments"


@pytest.fixture(scope="module")
def folder(pythia_jets: Jets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in range(3):
        some = pythia_jets.take(slice(number, None, 3))
        export_ucl(some.with_classes(["QCD", "W"]), folder / f"images-{number}.npz")
    write_jets(pythia_jets.with_classes(["top"]), folder / "tops")
    write_jets(pythia_jets.with_classes(["W", "top"]), folder / "both")
    return folder


def read(folder: Path, path: Any, classes: tuple[str, ...] = ("QCD", "W"), **settings: Any) -> Jets:
    if isinstance(path, dict):
        path = {name: str(folder / one) for name, one in path.items()}
    else:
        path = [str(folder / one) for one in ([path] if isinstance(path, str) else path)]
    return read_files(JetFileSettings(path=path, **settings), classes)


def test_several_files_and_globs_are_one_sample(folder: Path) -> None:
    jets = read(folder, "images-*.npz")
    assert jets.class_counts == {"QCD": 300, "W": 300}
    assert [one["file"] for one in jets.provenance["files"]] == [f"images-{n}.npz" for n in range(3)]
    assert jets.fingerprint == read(folder, [f"images-{n}.npz" for n in range(3)]).fingerprint
    assert jets.fingerprint != read(folder, ["images-1.npz", "images-0.npz", "images-2.npz"]).fingerprint


EMPTY = [0, 5, 41, 299]


@pytest.fixture(scope="module")
def with_empty_jets(pythia_jets: Jets) -> Jets:
    """Jets of two classes in turn, a few of which have nothing in them."""
    jets = mixed(pythia_jets.with_classes(["QCD", "W"]), 300)
    nothing = np.isin(jets.jet_index, EMPTY)
    return replace(jets, constituent_pt=np.where(nothing, 0, jets.constituent_pt).astype(np.float32))


@pytest.mark.parametrize(
    "write",
    [
        write_energyflow,
        write_four_momenta,
        write_jet_images,
        write_jetclass,
        write_jetnet,
        write_parquet,
        write_top_tagging,
        write_jets,
    ],
)
def test_a_jet_knows_its_place_in_the_file_whatever_is_left_out_before_it(
    write: Callable[[Jets, Path], None],
    with_empty_jets: Jets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # several batches
    for reader in (batches, jetclass, parquet):
        monkeypatch.setattr(reader, "JETS_PER_BATCH", 100)
    monkeypatch.setattr(images, "IMAGES_PER_BATCH", 100)
    # NumPy adds the suffix, and no other form minds it
    path = tmp_path / "jets.npz"
    write(with_empty_jets, path)
    of_all = classes_in(JetFileSettings(path=(str(path),)))
    jets = read_files(of_all.settings, of_all.classes)
    assert jets.row is not None
    assert jets.source is not None
    empty = [] if write is write_jets else EMPTY
    assert np.array_equal(jets.row, np.setdiff1d(np.arange(300), empty))
    assert set(jets.source) == {str(path)}
    some = jets.take(np.array([7, 3]))
    assert np.array_equal(some.row, jets.row[[7, 3]])
    assert np.array_equal(jets.between(4, 9).row, jets.row[4:9])


def test_a_jet_knows_its_place_in_the_array_of_its_class(with_empty_jets: Jets, tmp_path: Path) -> None:
    write_image_arrays(with_empty_jets, tmp_path / "a.npz")
    write_image_arrays(with_empty_jets.take(slice(100, None)), tmp_path / "b.npz")
    both = (str(tmp_path / "a.npz"), str(tmp_path / "b.npz"))
    jets = read_files(JetFileSettings(path=both, half_width=1.0, per_class=200), ("QCD", "W"))
    assert jets.row is not None
    assert jets.source is not None
    for name in ("QCD", "W"):
        of_class = with_empty_jets.label == with_empty_jets.classes.index(name)
        filled = np.flatnonzero(~np.isin(np.flatnonzero(of_class), EMPTY))
        first = f"{tmp_path / 'a.npz'}, {name}"
        assert np.array_equal(jets.row[jets.source == first], filled)
        second = jets.source == f"{tmp_path / 'b.npz'}, {name}"
        assert 0 < second.sum() == 200 - len(filled)
        assert jets.row[second].tolist() == list(range(second.sum()))


def test_a_file_may_be_given_for_one_class(folder: Path) -> None:
    jets = read(folder, {"top": "tops", "W": "images-1.npz", "QCD": "images-*.npz"}, ("W", "top", "QCD"))
    assert jets.class_counts == {"W": 100, "top": 300, "QCD": 300}
    tops = read(folder, "tops", ("top",))
    assert np.array_equal(jets.pt[jets.label == 1], tops.pt)
    # of a file with other classes besides, those of its own class alone
    assert read(folder, {"W": "both", "QCD": "images-0.npz"}).class_counts == {"QCD": 100, "W": 300}


def test_per_class_counts_over_all_files(folder: Path) -> None:
    jets = read(folder, "images-*.npz", per_class=150)
    assert jets.class_counts == {"QCD": 150, "W": 150}
    # what is no longer needed is not opened
    assert len(jets.provenance["files"]) == 2
    first, second = (read(folder, f"images-{number}.npz") for number in (0, 1))
    wanted = np.concatenate([first.pt[first.label == 1], second.pt[second.label == 1]])[:150]
    assert np.array_equal(jets.pt[jets.label == 1], wanted)


def test_a_class_may_have_another_name_in_the_file(folder: Path) -> None:
    names = {"signal": "W", "background": "QCD"}
    jets = read(folder, "images-0.npz", ("background", "signal"), names=names)
    assert jets.fingerprint != read(folder, "images-0.npz").fingerprint
    assert np.array_equal(jets.pt, read(folder, "images-0.npz").pt)
    stored = read(folder, "both", ("heavy", "light"), names={"heavy": "top", "light": "W"})
    assert stored.classes == ("heavy", "light")
    assert stored.class_counts == {"heavy": 300, "light": 300}
    assert np.array_equal(stored.pt[stored.label == 0], read(folder, "tops", ("top",)).pt)
    with pytest.raises(JetFileError, match=r"no jets of class 'signal' \(names: 'Z'\); it has W, QCD"):
        read(folder, "images-0.npz", ("background", "signal"), names=names | {"signal": "Z"})


def test_a_checksum_is_held_to(folder: Path) -> None:
    right = hashlib.sha256((folder / "images-0.npz").read_bytes()).hexdigest()
    assert len(read(folder, "images-*.npz", sha256={"images-0.npz": right.upper()})) == 600
    wrong = "0" * 64
    with pytest.raises(JetFileError, match=f"images-0.npz has the checksum {right}, not {wrong}"):
        read(folder, "images-0.npz", sha256={"images-0.npz": wrong})
    with pytest.raises(JetFileError, match=r"sha256 names image-0.npz, but no such file is read"):
        read(folder, "images-*.npz", sha256={"image-0.npz": right})
    with pytest.raises(JetFileError, match=r"images-0.npz is named 2 times: its jets would count as often"):
        read(folder, ("images-*.npz", "images-0.npz"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.npz", "There is no file or folder .*none.npz"),
        ("none-*.npz", r"No file matches .*none-\*.npz"),
        ({"W": "images-0.npz"}, "No file is given for class 'QCD'"),
        ({"W": "both", "QCD": "tops"}, "tops has no jets of class 'QCD'; it has top"),
        ({"W": "both", "QCD": "images-0.npz", "Z": "tops"}, "given for 'Z' .*not among the classes QCD, W"),
    ],
)
def test_a_wrong_path_is_a_sentence(folder: Path, path: Any, message: str) -> None:
    with pytest.raises(JetFileError, match=message) as caught:
        read(folder, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [[], "", {"W": []}, {"W": 3}, {}])
def test_an_impossible_path_is_told_by_its_key(path: Any, tmp_path: Path) -> None:
    text = (EXPERIMENTS / "your_jets.yaml").read_text().replace("path: your_jets.npz", f"path: {path!r}")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ExperimentError, match=r"key 'jets.path': a path, a list of paths"):
        read_experiment(tmp_path / "own.yaml")


def test_another_file_keeps_what_the_experiment_says_of_files(tmp_path: Path) -> None:
    text = (EXPERIMENTS / "your_jets.yaml").read_text().replace("# half_width", "half_width")
    (tmp_path / "own.yaml").write_text(text)
    jets = override(read_experiment(tmp_path / "own.yaml"), jets="other.h5").jets
    assert isinstance(jets, JetFileSettings)
    assert (jets.path, jets.half_width) == (("other.h5",), 1.0)
    assert jets.names == {"background": "QCD", "signal": "W"}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("own.h5", ("own.h5",)),
        ("a.h5, b-*.h5", ("a.h5", "b-*.h5")),
        (
            "signal=s.h5,background=a.h5,background=b.h5",
            {"signal": ("s.h5",), "background": ("a.h5", "b.h5")},
        ),
        ("seed=1.h5", ("seed=1.h5",)),
        ("signal=s,background=b.npz", ("signal=s,background=b.npz",)),
    ],
)
def test_several_files_may_be_given_on_the_command_line(
    given: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # a file of just that name is meant
    (tmp_path / "signal=s,background=b.npz").touch()
    jets = override(read_experiment(EXPERIMENTS / "your_jets.yaml"), jets=given).jets
    assert isinstance(jets, JetFileSettings)
    assert jets.path == path


def test_a_class_for_some_files_only_is_refused() -> None:
    with pytest.raises(ExperimentError, match="for some files only; background=FILE,signal=FILE would be"):
        override(read_experiment(EXPERIMENTS / "your_jets.yaml"), jets="signal=a.h5,b.h5")
