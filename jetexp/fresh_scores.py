"""Score raw images with a stored model in a process of its own, by the code stored with it.

Run by path, never imported by the rest: ``python -I fresh_scores.py MODEL IMAGES SCORES``. It must
not import the jetexp that stands beside it, or an old model would run with today's code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["main"]

# images of one call: a few copies of them are held at once
BLOCK = 1_000


def main(model: str, images: str, scores: str) -> None:
    """Load a model, score images, and make sure whose code did it.

    Parameters
    ----------
    model : str
        Folder of an MLflow model.
    images : str
        An ``.npy`` file of raw images, shape (N, pixels, pixels), GeV.
    scores : str
        The ``.npy`` file to write: float32, shape (N, classes).
    """
    import mlflow.pyfunc

    if "jetexp" in sys.modules:
        raise SystemExit("jetexp was imported before the model was loaded")
    tagger = mlflow.pyfunc.load_model(model)
    number = len(np.load(images, mmap_mode="r", allow_pickle=False))
    classes = tagger.metadata.metadata["classes"]
    answers = [tagger.predict(_some(images, start)) for start in range(0, number, BLOCK)]
    # a table has more columns; older models answer with an array of the classes alone
    columns = [one[classes] if hasattr(one, "columns") else one for one in answers]
    answer = np.concatenate(columns).astype(np.float32)
    code = sys.modules.get("jetexp")
    if code is not None and not Path(str(code.__file__)).is_relative_to(Path(model).resolve()):
        raise SystemExit(f"the model ran the code of {code.__file__}, not its own")
    np.save(scores, answer, allow_pickle=False)


def _some(images: str, start: int) -> npt.NDArray[np.float32]:
    """Read a block of images; mapped anew, as pages that were looked at stay with the mapping."""
    given = np.load(images, mmap_mode="r", allow_pickle=False)
    return np.array(given[start : start + BLOCK])


if __name__ == "__main__":
    main(*sys.argv[1:])
