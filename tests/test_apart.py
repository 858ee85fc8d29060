"""Models run by the code that was stored with them."""

import os
import resource
import signal
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
from mlflow import MlflowClient
from registered import SERVED, log, tagger, telling_sample

from jetexp.apart import score_apart
from jetexp.errors import ModelError
from jetexp.experiment import GateSettings
from jetexp.inference import compiled
from jetexp.judging import _Bench
from jetexp.serving import probabilities


@pytest.fixture(scope="module")
def sample():
    return telling_sample()


def stored():
    """A copy of a logged model, whose code may be changed."""
    uri = log(tagger(0)).model_uri
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path="copy"))


@pytest.mark.slow
def test_a_stored_model_runs_its_own_code_without_pickles(mlflow_store, sample):
    folder = stored()
    code = folder / "code" / "jetexp" / "images.py"
    # yesterday's code halved every pixel
    present = code.read_text()
    code.write_text(present.replace("else block.pt[chosen]", "else 0.5 * block.pt[chosen]"))
    assert code.read_text() != present
    scores = score_apart(str(folder), sample.images[:50])
    expected = probabilities(compiled(tagger(0)), sample.images[:50] / 2, SERVED)
    assert np.abs(scores - expected).max() < 1e-5
    assert np.abs(scores - probabilities(compiled(tagger(0)), sample.images[:50], SERVED)).max() > 0.1


def test_images_that_cannot_be_written_are_told(mlflow_store, sample):
    """A limit on the size of files ends a write as a full disk does."""
    uri = log(tagger(0)).model_uri
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, limits[1]))
    try:
        with pytest.raises(ModelError, match=r"cannot be written: .*File too large"):
            score_apart(uri, sample.images)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.slow
def test_a_stored_model_that_does_not_load_is_named_with_its_fault(mlflow_store, sample):
    folder = stored()
    (folder / "served_model.py").unlink()
    with pytest.raises(ModelError, match="does not score raw images in a process of its own: "):
        score_apart(str(folder), sample.images[:5])


@pytest.mark.slow
def test_a_model_of_the_time_when_answers_were_arrays_is_scored_too(mlflow_store, sample):
    folder = stored()
    code = folder / "code" / "jetexp" / "serving.py"
    present = code.read_text()
    code.write_text(
        present.replace(
            "        answer = pd.DataFrame(found,",
            "        return found\n        answer = pd.DataFrame(found,",
        )
    )
    assert code.read_text() != present
    scores = score_apart(str(folder), sample.images[:50])
    assert np.abs(scores - probabilities(compiled(tagger(0)), sample.images[:50], SERVED)).max() < 1e-5


@pytest.mark.slow
def test_who_is_stopped_waits_for_no_scores(mlflow_store, sample):
    uri = log(tagger(0)).model_uri
    images = np.tile(sample.images[:1000], (100, 1, 1))
    bench = _Bench(
        MlflowClient(), "w-vs-qcd", sample, GateSettings(), False, lambda one, _: score_apart(one, images)
    )

    def stop():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if any("fresh_scores.py" in " ".join(child.cmdline()) for child in psutil.Process().children()):
                time.sleep(1)
                os.kill(os.getpid(), signal.SIGINT)
                stopped.append(time.monotonic())
                return
            time.sleep(0.05)

    stopped = []
    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        bench._scored(uri, None)
    assert time.monotonic() - stopped[0] < 6
