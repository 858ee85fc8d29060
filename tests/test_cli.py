"""The command line: speed of what needs no work, and how mistakes are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
DEFAULT = ROOT / "experiments" / "w_vs_qcd.yaml"


def jetexp(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "jetexp", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def heavy_imports(code: str) -> set[str]:
    program = f"{code}\nimport sys; print([m for m in sys.modules if '.' not in m])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(eval(done.stdout))  # our own output
    return loaded & {
        "mlflow",
        "tensorflow",
        "keras",
        "matplotlib",
        "awkward",
        "pythia8mc",
        "pandas",
        "sklearn",
    }


def test_help_and_a_mistaken_experiment_load_nothing_heavy() -> None:
    assert heavy_imports("import jetexp.cli") == set()
    assert (
        heavy_imports(
            "from jetexp.experiment_file import read_experiment; read_experiment('experiments/w_vs_qcd.yaml')"
        )
        == set()
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    done = jetexp("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in (
        "run",
        "work",
        "generate",
        "export",
        "compare",
        "promote",
        "rollback",
        "history",
        "score",
    ):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("absent.yaml", None, ["There is no experiment file", "absent.yaml"]),
        ("empty.yaml", "", ["empty.yaml", "holds nothing"]),
        ("not.yaml", "name: [", ["not.yaml, line 1", "not a YAML experiment file"]),
        ("typo.yaml", DEFAULT.read_text().replace("seeds:", "sedes:"), ["'sedes'", "did you mean 'seed"]),
    ],
)
def test_a_mistaken_experiment_is_one_sentence(
    tmp_path: Path, name: str, text: str | None, words: list[str]
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.iterdir())
    assert_one_sentence(jetexp("run", name, cwd=tmp_path), *words)
    assert sorted(tmp_path.iterdir()) == before


def test_a_disk_that_any_library_finds_full_is_one_sentence() -> None:
    with open("/dev/full", "w") as disk:
        done = subprocess.run(
            [sys.executable, "-m", "jetexp", "--help"],
            stdout=disk,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("jetexp: A disk is full: make room, and call the same again")
    assert len(done.stderr.splitlines()) == 1


def test_a_mistaken_jet_file_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    images = np.zeros((3, 30, 30))
    np.savez(tmp_path / "own.npz", QCD_jet_images=images, W_jet_images=images)
    before = sorted(tmp_path.iterdir())
    done = jetexp("run", DEFAULT, "--jets", tmp_path / "own.npz", cwd=tmp_path)
    assert_one_sentence(done, "own.npz", "W_jet_images", "(3, 30, 30)")
    done = jetexp("run", DEFAULT, "--jets", tmp_path / "absent.npz", cwd=tmp_path)
    assert_one_sentence(done, "absent.npz")
    assert sorted(tmp_path.iterdir()) == before


def test_mistaken_names_of_files_and_models_are_one_sentence(tmp_path: Path) -> None:
    for command in (("inspect", ""), ("score", "models:/w-vs-qcd@champion", "")):
        assert_one_sentence(jetexp(*command, cwd=tmp_path), "'': a path, a list of paths")
    assert_one_sentence(jetexp("inspect", "a" * 300, cwd=tmp_path), "cannot be read: File name too long")
    store = f"sqlite:///{tmp_path}/mlflow.db"
    for command, words in (
        (("history", "a/b"), "'a/b' can be no registered model's name"),
        (("rollback", "a:b"), "'a:b' can be no registered model's name"),
        (("score", "http://host/x", "jets.npz"), "http://host/x cannot be read"),
    ):
        assert_one_sentence(jetexp(*command, cwd=tmp_path, MLFLOW_TRACKING_URI=store), words)


def test_a_server_that_is_not_there_is_one_sentence_before_any_work(tmp_path: Path) -> None:
    done = jetexp("run", DEFAULT, cwd=tmp_path, MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:9")
    assert_one_sentence(done, "http://***@127.0.0.1:9", "does not answer")
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_text_means_not_given(tmp_path: Path) -> None:
    done = jetexp("run", "absent.yaml", "--trials", "", "--jets", "", "--seed", "", cwd=tmp_path)
    assert_one_sentence(done, "absent.yaml")
    done = jetexp("run", DEFAULT, "--trials", "many", cwd=tmp_path)
    assert done.returncode == 2
    assert "'many' is not a whole number" in done.stderr


def test_an_option_of_yes_takes_no_name_for_it(tmp_path: Path) -> None:
    for arguments in (("run", "--fresh", "absent.yaml"), ("suite", "--fast", "absent.yaml")):
        done = jetexp(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "'absent.yaml' is neither yes nor no" in done.stderr
    for given in ((), ("yes",), ("no",), ("",)):
        assert_one_sentence(jetexp("run", "absent.yaml", "--fresh", *given, cwd=tmp_path), "absent.yaml")
