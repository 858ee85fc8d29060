"""What a file of jets holds, for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from jetexp.cli import jetexp
from jetexp.file_summary import summarise_file
from jetexp.jets.formats.ucl import export_ucl
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings
from jetexp.jets.store import write_jets


@pytest.fixture
def files(pythia_jets: Jets, tmp_path: Path) -> Path:
    write_jets(pythia_jets, tmp_path / "sample")
    export_ucl(pythia_jets, tmp_path / "images.npz")
    return tmp_path


def test_a_summary_says_what_the_jets_are(files: Path, pythia_jets: Jets) -> None:
    summary = summarise_file(JetFileSettings(path=str(files / "sample"), per_class=200))
    assert (summary.form, summary.jets) == ("jetexp's own sample", 900)
    assert [(one.name, one.jets) for one in summary.classes] == [("QCD", 200), ("W", 200), ("top", 200)]
    first = pythia_jets.take(np.flatnonzero(pythia_jets.label == 1)[:200])
    wanted = (first.pt.min(), np.median(first.pt), first.pt.max())
    found = summary.classes[1]
    assert found.pt == pytest.approx(wanted)
    assert found.constituents == (pytest.approx(first.counts.mean()), first.counts.max())
    inside = np.maximum(np.abs(first.constituent_eta), np.abs(first.constituent_phi)) < 1
    assert found.mean_image.sum() == pytest.approx(first.constituent_pt[inside].sum() / 200, rel=1e-5)


def test_jets_that_files_lack_are_counted_together(files: Path, pythia_jets: Jets) -> None:
    for name, faint in (("first", 2), ("second", 3)):
        images = np.concatenate([np.zeros((faint, 20, 20)), np.ones((5, 20, 20))])
        np.savez(files / f"{name}.npz", QCD=images, W=images)
    summary = summarise_file(
        JetFileSettings(
            path=(str(files / "first.npz"), str(files / "second.npz")), half_width=1.0, unit=100.0
        )
    )
    assert [one.jets for one in summary.classes] == [10, 10]
    assert sum(summary.dropped.values()) == 10, summary.dropped


def test_inspect_prints_it_and_draws_the_mean_images(files: Path) -> None:
    output = files / "mean.png"
    done = CliRunner().invoke(jetexp, ["inspect", str(files / "images.npz"), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "UCL jet images, 900 jets" in done.output
    assert all(name in done.output for name in ("QCD", "W", "top", "constituents"))
    assert output.read_bytes().startswith(b"\x89PNG")
