"""A stored model, run in a process of its own by the code that was stored with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
import psutil
from mlflow.exceptions import MlflowException

from jetexp.errors import ModelError
from jetexp.inputs import LazyArray
from jetexp.memory import release_memory
from jetexp.mlflow_store import masked

__all__ = ["SCORING_TIME", "score_apart", "stop_scoring"]

logger = logging.getLogger(__name__)
Float = npt.NDArray[np.float32]

# seconds; loading takes ten of them, the rest is for a million jets on a slow machine
SCORING_TIME = 3600.0
IMAGES_AT_ONCE = 10_000
SCRIPT = Path(__file__).with_name("fresh_scores.py").resolve()


def score_apart(model_uri: str, images: Float | LazyArray) -> Float:
    """Score raw images with a stored model in a fresh process, by the code stored with it.

    Parameters
    ----------
    model_uri : str
        Address of the model, such as ``models:/w-vs-qcd/3``.
    images : ndarray of float32 or LazyArray, shape (N, pixels, pixels)
        Raw images, GeV.

    Returns
    -------
    ndarray of float32, shape (N, classes)
        Its scores.

    Raises
    ------
    ModelError
        If the model cannot be loaded or does not score these images.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        try:
            model = mlflow.artifacts.download_artifacts(
                artifact_uri=model_uri, dst_path=str(folder / "model")
            )
        except (MlflowException, OSError) as error:
            raise ModelError(f"{model_uri} cannot be fetched: {masked(str(error))}") from error
        try:
            _save(images, folder / "images.npy")
        except OSError as error:
            raise ModelError(f"The images to judge {model_uri} by cannot be written: {error}.") from error
        # a second process of the same size runs beside this one now
        release_memory()
        command = [sys.executable, "-I", str(SCRIPT), model, "images.npy", "scores.npy"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(folder),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SCORING_TIME,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"{model_uri} did not score {len(images)} images within an hour.") from None
        if done.returncode != 0:
            logger.debug("%s", done.stderr)
            last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
            raise ModelError(f"{model_uri} does not score raw images in a process of its own: {last[0]}")
        scores: Float = np.load(folder / "scores.npy", allow_pickle=False)
    if scores.ndim != 2 or len(scores) != len(images) or not np.isfinite(scores).all():
        raise ModelError(f"{model_uri} gives scores of the shape {scores.shape} for {len(images)} images.")
    return scores


def stop_scoring() -> None:
    """End the processes that score for this one: whoever waits for them in a thread gets a ModelError."""
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if str(SCRIPT) in process.cmdline():
                process.terminate()


def _save(images: Float | LazyArray, path: Path) -> None:
    # written, not mapped: a mapped file on a full disk ends the process
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": tuple(images.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            block = images[start : min(start + IMAGES_AT_ONCE, len(images))]
            file.write(np.ascontiguousarray(block, dtype="<f4").data)


def _environment(folder: Path) -> dict[str, str]:
    """Give the fresh process no pickles and no way to the present run or store."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
    }
    return {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **environment,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/unused.db",
    }
