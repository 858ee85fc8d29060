from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jetexp.errors import JetexpError, JetFileError
from jetexp.jets.grooming import soft_dropped, with_hard_constituents
from jetexp.jets.load import export_ucl, load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings, JetFileSettings, SoftDropSettings
from jetexp.jets.store import write_jets


def from_file(path: Path, classes: list[str], per_class: int | None = None) -> Jets:
    return load_jets(JetFileSettings(path=str(path), per_class=per_class), classes, Path("nowhere"))


@pytest.fixture
def sample(pythia_jets: Jets, tmp_path: Path) -> Path:
    write_jets(pythia_jets, tmp_path / "sample")
    return tmp_path / "sample"


def test_a_stored_sample_is_read_for_the_classes_asked(pythia_jets: Jets, sample: Path) -> None:
    jets = from_file(sample, ["top", "QCD"], per_class=100)
    assert jets.class_counts == {"top": 100, "QCD": 100}
    wanted = pythia_jets.pt[pythia_jets.label == 2][:100]
    assert np.array_equal(jets.pt[jets.label == 0], wanted)
    assert len(from_file(sample, ["W"])) == 300


def test_a_stored_sample_without_the_class_says_what_it_has(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match="no jets of class 'Z'; it has QCD, W, top"):
        from_file(sample, ["QCD", "Z"])
    write_jets(from_file(sample, ["QCD", "W"]).take(slice(0, 300)), tmp_path / "one")
    with pytest.raises(JetFileError, match="no jets of class 'W'; it has QCD"):
        from_file(tmp_path / "one", ["QCD", "W"])


def test_a_ucl_file_is_known_by_its_content(pythia_jets: Jets, tmp_path: Path) -> None:
    export_ucl(pythia_jets, tmp_path / "images")
    jets = from_file(tmp_path / "images", ["W", "top"], per_class=20)
    assert jets.class_counts == {"W": 20, "top": 20}
    assert jets.provenance["format"] == "ucl"


def test_what_is_no_jet_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match="There is no file or folder"):
        from_file(tmp_path / "none", ["W"])
    with pytest.raises(JetFileError, match="holds no jets"):
        from_file(tmp_path, ["W"])
    (tmp_path / "text.txt").write_text("jets")
    with pytest.raises(JetFileError, match="in no form that is known"):
        from_file(tmp_path / "text.txt", ["W"])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(JetFileError):
        from_file(tmp_path / "loop", ["W"])


@pytest.mark.parametrize("pt_range", [(500.0, 1000.0), (700.0, 1501.0)])
def test_a_window_out_of_reach_is_refused(tmp_path: Path, pt_range: tuple[float, float]) -> None:
    with pytest.raises(JetexpError, match=r"jets\.pt_range .* covers jets of 600 to 1500 GeV"):
        load_jets(GenerationSettings(pt_range=pt_range), ["W", "QCD"], tmp_path / "jets")
    assert not (tmp_path / "jets").exists()


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JetexpError, match="QCD, W, top; 'Z' is not one"):
        load_jets(GenerationSettings(), ["Z", "QCD"], tmp_path / "jets")


def test_a_disk_too_small_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(JetexpError, match=r"100000000 jets of each of W, QCD need about .* MB .* are free"):
        load_jets(GenerationSettings(per_class=100_000_000), ["W", "QCD"], tmp_path / "jets")
    assert not (tmp_path / "jets").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JetexpError, match="cannot be written"):
        load_jets(GenerationSettings(per_class=10), ["W", "QCD"], tmp_path / "file" / "jets")


def test_jets_are_groomed_after_reading(
    pythia_jets: Jets, generation: GenerationSettings, jets_folder: Path, sample: Path
) -> None:
    soft_drop = SoftDropSettings(beta=1)
    settings = JetFileSettings(path=str(sample), soft_drop=soft_drop)
    classes = ["QCD", "W", "top"]
    read = load_jets(settings, classes, Path("nowhere"))
    made = load_jets(generation.model_copy(update={"soft_drop": soft_drop}), classes, jets_folder)
    assert read.fingerprint == made.fingerprint
    assert read.provenance["soft_drop"] == {"beta": 1.0, "z_cut": 0.1, "radius": 1.0}
    plain = from_file(sample, classes)
    assert "soft_drop" not in plain.provenance
    assert len(read.constituent_pt) < len(plain.constituent_pt)
    # the cut comes first
    cut = with_hard_constituents(plain, 2.0)
    both = settings.model_copy(update={"minimum_constituent_pt": 2.0})
    found = load_jets(both, classes, Path("nowhere"))
    assert found.fingerprint == soft_dropped(cut, soft_drop, 1.0).fingerprint
    assert (
        load_jets(both.model_copy(update={"soft_drop": None}), classes, Path("nowhere")).fingerprint
        == cut.fingerprint
    )
    assert read.fingerprint != found.fingerprint != cut.fingerprint
    # a file's own radius measures the angle
    for name, physics, radius in (
        ("small", {"radius": 0.8}, 0.8),
        ("odd", {"radius": "0.8"}, 1),
        ("none", 0, 1),
    ):
        write_jets(replace(pythia_jets, provenance={"physics": physics}), sample.parent / name)
        settings = JetFileSettings(path=str(sample.parent / name), soft_drop=soft_drop, per_class=3)
        assert load_jets(settings, ["W"], Path("nowhere")).provenance["soft_drop"]["radius"] == radius


def test_a_file_of_images_is_groomed_too(pythia_jets: Jets, tmp_path: Path) -> None:
    export_ucl(pythia_jets, tmp_path / "images")
    settings = JetFileSettings(path=str(tmp_path / "images"), per_class=20, soft_drop=SoftDropSettings())
    groomed = load_jets(settings, ["W", "top"], Path("nowhere"))
    whole = load_jets(settings.model_copy(update={"soft_drop": None}), ["W", "top"], Path("nowhere"))
    assert len(groomed.constituent_pt) < len(whole.constituent_pt)
    assert groomed.provenance["soft_drop"]["radius"] == 1.0


def test_jets_are_selected_by_pt_after_reading(pythia_jets: Jets, sample: Path) -> None:
    settings = JetFileSettings(path=str(sample), select_pt=(700.0, 900.0))
    jets = load_jets(settings, ["QCD", "W"], Path("nowhere"))
    wanted = pythia_jets.with_classes(("QCD", "W"))
    inside = (wanted.pt >= 700) & (wanted.pt < 900)
    assert np.array_equal(jets.pt, wanted.pt[inside])
    none = JetFileSettings(path=str(sample), select_pt=(20.0, 30.0))
    with pytest.raises(JetexpError, match=r"No jet of class 'QCD' has a pT of 20 to 30 GeV \(select_pt\)"):
        load_jets(none, ["QCD", "W"], Path("nowhere"))
    with pytest.raises(ValueError, match="two increasing numbers"):
        JetFileSettings(path="x", select_pt=(900.0, 700.0))
