"""Train, validation and test part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jetexp.errors import JetexpError
from jetexp.experiment import Experiment, SplitSettings
from jetexp.experiment_file import override, read_experiment
from jetexp.jets.sample import Jets, concatenate, jet_hash
from jetexp.jets.settings import JetFileSettings
from jetexp.jets.store import write_jets
from jetexp.parts import load_parts, split

ROOT = Path(__file__).parent.parent


@pytest.fixture
def experiment() -> Experiment:
    return read_experiment(ROOT / "experiments" / "notebook.yaml")


def test_every_jet_is_in_one_part_and_the_fractions_are_met(pythia_jets: Jets) -> None:
    parts = split(pythia_jets, SplitSettings(validation=0.2, test=0.3), with_test=True)
    assert sum(map(len, parts)) == len(pythia_jets)
    hashes = [set(jet_hash(part).tolist()) for part in parts]
    assert not hashes[0] & hashes[1]
    assert not hashes[0] & hashes[2]
    assert not hashes[1] & hashes[2]
    for part, fraction in zip(parts, (0.5, 0.2, 0.3), strict=True):
        error = np.sqrt(fraction * (1 - fraction) / len(pythia_jets))
        assert abs(len(part) / len(pythia_jets) - fraction) < 4 * error
    assert len(split(pythia_jets, SplitSettings(), with_test=False)[2]) == 0


def test_more_jets_move_no_jet_to_another_part(pythia_jets: Jets) -> None:
    half = pythia_jets.take(slice(0, None, 2))
    for small, large in zip(
        split(half, SplitSettings(), with_test=True),
        split(pythia_jets, SplitSettings(), with_test=True),
        strict=True,
    ):
        assert set(jet_hash(small).tolist()) <= set(jet_hash(large).tolist())


def test_jets_of_an_own_test_sample_are_left_out_of_train_and_validation(
    tmp_path: Path, pythia_jets: Jets, experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    classes = experiment.classes
    jets = pythia_jets.with_classes(classes)
    test = jets.take(slice(0, None, 3))
    write_jets(jets, tmp_path / "jets")
    write_jets(test, tmp_path / "test")
    content = override(experiment, jets=str(tmp_path / "jets"))
    own = content.model_copy(update={"test": JetFileSettings(path=str(tmp_path / "test"))})
    parts = load_parts(own, tmp_path)
    assert parts.test.fingerprint == test.fingerprint
    seen = jet_hash(concatenate([parts.train, parts.validation]))
    assert not np.isin(seen, jet_hash(test)).any()
    assert len(seen) == len(jets) - len(test)
    assert "stand in the test sample too" in caplog.text


def test_a_part_without_jets_of_a_class_is_refused(
    tmp_path: Path, pythia_jets: Jets, experiment: Experiment
) -> None:
    jets = pythia_jets.with_classes(experiment.classes)
    few = np.append(np.flatnonzero(jets.label == 0)[:50], np.flatnonzero(jets.label == 1)[:1])
    write_jets(jets.take(few), tmp_path / "jets")
    with pytest.raises(JetexpError, match=r"The \w+ part holds [01] jets of class 'W'"):
        load_parts(override(experiment, jets=str(tmp_path / "jets")), tmp_path)


def test_fewer_jets_may_train_and_none_of_the_others_moves(
    experiment: Experiment, pythia_jets: Jets, tmp_path: Path
) -> None:
    write_jets(pythia_jets.with_classes(("QCD", "W")), tmp_path / "sample")
    whole = override(experiment, jets=str(tmp_path / "sample"))
    few = whole.model_copy(update={"train_per_class": 50})
    all_parts, parts = load_parts(whole, tmp_path), load_parts(few, tmp_path)
    assert parts.train.class_counts == {"QCD": 50, "W": 50}
    assert set(jet_hash(parts.train).tolist()) < set(jet_hash(all_parts.train).tolist())
    for name in ("validation", "test"):
        assert np.array_equal(jet_hash(getattr(parts, name)), jet_hash(getattr(all_parts, name)))
    with pytest.raises(JetexpError, match="train_per_class asks for 1000 jets of each class, but"):
        load_parts(whole.model_copy(update={"train_per_class": 1000}), tmp_path)
