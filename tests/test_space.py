"""What the disk cannot hold is refused before anything is made."""

from __future__ import annotations

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from searches import JETS, experiment

from jetexp import files
from jetexp.errors import JetexpError
from jetexp.recording import served_settings
from jetexp.space import BYTES_PER_RUN, MORE_RUNS, check_space

Usage = namedtuple("Usage", "total used free")


def free(monkeypatch, megabytes):
    usage = Usage(1 << 40, 0, int(megabytes * 1e6))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)


def test_all_that_one_disk_must_hold_is_counted_together(mlflow_store, monkeypatch):
    asked = experiment(trials=4)
    images = 20 * 4 * served_settings(asked).pixels ** 2 / 1e6
    temporary, fits = 2 * BYTES_PER_RUN / 1e6 + images, 3 * BYTES_PER_RUN / 1e6
    store = (4 + 3 + MORE_RUNS) * BYTES_PER_RUN / 1e6
    free(monkeypatch, temporary + store + fits + 1)
    check_space(asked, JETS, Path("executions"))
    free(monkeypatch, temporary + store + fits - 1)
    check_space(asked, JETS, None)
    with pytest.raises(
        JetexpError, match=r"toy needs about \d+ MB of disk for 4 trials, 3 fits .* are free in"
    ):
        check_space(asked, JETS, Path("executions"))


def test_disks_are_told_apart_and_a_server_keeps_its_own(mlflow_store, monkeypatch):
    asked = experiment(trials=4)
    here = 2 * BYTES_PER_RUN / 1e6 + 1
    free(monkeypatch, here)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    check_space(asked, JETS, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(JetexpError, match="mlruns"):
        check_space(asked, JETS, None)


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_those_above(tmp_path):
    assert files.free_space(tmp_path / "a" / "b") == files.free_space(tmp_path)
    assert files.free_space(Path(tempfile.gettempdir()))[0] > 0
