"""What many tests share: a few hundred real jets, made once a session."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings

CLASSES = ("QCD", "W", "top")

# a shell that starts the suite in the background has Ctrl-C ignored, by every child of it too
signal.signal(signal.SIGINT, signal.default_int_handler)

# nothing that jetexp stores or reads needs a pickle, in this process or in any that it starts
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"

# a busy machine is no mistake
settings.register_profile("jetexp", deadline=None)
settings.load_profile("jetexp")


@pytest.fixture(autouse=True)
def same_search_path() -> Iterator[None]:
    """Leave no folder of a model that a test loaded first on the search path: processes inherit it."""
    before = [*sys.path]
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def jets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's generated jets are kept: once for all processes that run tests.

    JETEXP_TEST_JETS names a folder that outlives the session, for whoever runs a few tests again and again.
    """
    if kept := os.environ.get("JETEXP_TEST_JETS"):
        return Path(kept)
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "jets"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def generation() -> GenerationSettings:
    """Settings of the session's sample: 300 jets of a class fit into one chunk of events."""
    return GenerationSettings(per_class=300, seed=11)


@pytest.fixture(scope="session")
def pythia_jets(generation: GenerationSettings, jets_folder: Path) -> Jets:
    """Real jets: 300 each of QCD, W and top."""
    return load_jets(generation, CLASSES, jets_folder, workers=2)


@pytest.fixture(scope="session")
def empty_mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store of MLflow's, made once: its migrations take seconds."""
    from jetexp.mlflow_store import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        connect()
    return path


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow_store: Path) -> Path:
    """A folder with a store of its own, which is the working directory too."""
    shutil.copy(empty_mlflow_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
