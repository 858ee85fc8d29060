"""Fits that are finished, on disk, so that none is made twice."""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetexp.experiment import Experiment
from jetexp.files import whole_file, whole_folder
from jetexp.tagger_fit import TaggerFit
from jetexp.training import History

if TYPE_CHECKING:
    import keras

    from jetexp.jets.sample import Jets

__all__ = ["FitStore", "code_key", "fit_key", "package_key", "search_key", "software"]

logger = logging.getLogger(__name__)

# files of one fit
NETWORK, HISTORY = "network.keras", "history.json"
# what every trained network depends on, besides its settings, its jets and Keras
CODE = (
    "augmentation.py",
    "fit_task.py",
    "fitting.py",
    "geometry.py",
    "inputs.py",
    "jets/collection.py",
    "jets/pixels.py",
    "taggers/catalogue.py",
    "training.py",
)
# and what one of a kind does
CODE_OF_KIND = {
    "cnn": (
        "constituents.py",
        "images.py",
        "jets/observables.py",
        "taggers/attention.py",
        "taggers/cnn.py",
        "taggers/pfn.py",
    ),
    "notebook": ("images.py", "taggers/notebook.py"),
    "pfn": ("constituents.py", "taggers/pfn.py"),
}


def fit_key(experiment: Experiment, one: TaggerFit, seed: int, train: Jets, validation: Jets) -> str:
    """Name all that a fit depends on.

    Parameters
    ----------
    experiment : Experiment
        Names the classes and the signal.
    one : TaggerFit
        Tagger, images, training.
    seed : int
        Of this fit.
    train, validation : Jets
        What it sees.

    Returns
    -------
    str
        Twenty hexadecimal digits, the same for the same fit.
    """
    return _digest(
        {
            "signal": experiment.signal,
            "tagger": one.tagger.model_dump(mode="json"),
            "images": one.images.model_dump(mode="json"),
            "training": one.training.model_dump(mode="json"),
            "seed": seed,
            "memory": experiment.memory,
            "jets": [train.fingerprint, validation.fingerprint],
        },
        one.tagger.kind,
    )


def search_key(experiment: Experiment, train: Jets, validation: Jets) -> str:
    """Name all that a search depends on.

    Parameters
    ----------
    experiment : Experiment
        With its search.
    train, validation : Jets
        What it sees.

    Returns
    -------
    str
        Twenty hexadecimal digits, the same for the same search.
    """
    kept = {"signal", "tagger", "images", "training", "search", "seed", "memory"}
    return _digest(
        {
            **experiment.model_dump(mode="json", include=kept),
            "jets": [train.fingerprint, validation.fingerprint],
        },
        experiment.tagger.kind,
    )


def _digest(content: Mapping[str, Any], kind: str) -> str:
    text = json.dumps({**content, "versions": software(), "code": code_key(kind)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def software() -> dict[str, str]:
    """Say which software fits and searches depend on.

    Returns
    -------
    dict of str to str
        Versions by name; another backend of Keras than TensorFlow among them.
    """
    import keras

    names = ["keras", "keras-tuner", "tensorflow"]
    if (backend := keras.backend.backend()) != "tensorflow":
        names.append(backend)
    return {name: version(name) for name in names}


@cache
def code_key(kind: str) -> str:
    """Digest what the code that fits networks does: comments, docstrings and layout do not matter.

    Parameters
    ----------
    kind : str
        Of the tagger.

    Returns
    -------
    str
        Hexadecimal digits, others if a network of this kind fitted by this code might be another one.
    """
    return _digest_of_code([Path(__file__).parent / name for name in (*CODE, *CODE_OF_KIND[kind])])


@cache
def package_key() -> str:
    """Digest what all code of the package does, as :func:`code_key` that of a kind of network.

    Returns
    -------
    str
        Hexadecimal digits, others if a result of this code might be another one.
    """
    return _digest_of_code(sorted(Path(__file__).parent.rglob("*.py")))


def _digest_of_code(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                value = body[0].value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    value.value = ""
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class FitStore:
    """A folder of finished fits and searches.

    Attributes
    ----------
    folder : Path
        Where they are kept.
    """

    folder: Path

    def load(self, key: str) -> tuple[keras.Model, History] | None:
        """Look a finished fit up.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        tuple of keras.Model and History, or None
            The network as it was left, and how the fit went; None if it is not there, or not readable.
        """
        import keras

        place = self.folder / key
        if not place.is_dir():
            return None
        try:
            history = History.from_dict(json.loads((place / HISTORY).read_text(encoding="utf-8")))
            network = keras.saving.load_model(place / NETWORK, compile=False, safe_mode=True)
        except Exception as error:  # what is damaged can fail anywhere in Keras, h5py or zipfile
            logger.warning("The finished fit %s cannot be read and is made again: %s", place, error)
            return None
        return network, history

    def save(self, key: str, network: keras.Model, history: History) -> None:
        """Keep a finished fit, whole or not at all, in place of what cannot be read there.

        Parameters
        ----------
        key : str
            Its name.
        network : keras.Model
            As the fit left it.
        history : History
            How it went.
        """
        with whole_folder(self.folder / key) as temporary:
            network.save(temporary / NETWORK, include_optimizer=False)
            (temporary / HISTORY).write_text(json.dumps(history.to_dict()), encoding="utf-8")
            shutil.rmtree(self.folder / key, ignore_errors=True)

    def add(self, key: str, folder: Path) -> None:
        """Keep a fit that another store's ``save`` has written.

        Parameters
        ----------
        key : str
            Its name.
        folder : Path
            What that store holds under its name; moved away.
        """
        with whole_folder(self.folder / key) as temporary:
            for name in (NETWORK, HISTORY):
                shutil.move(folder / name, temporary / name)
            shutil.rmtree(self.folder / key, ignore_errors=True)

    def load_search(self, key: str) -> dict[str, Any] | None:
        """Look up what a finished search found.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        dict or None
            The content saved; None if it is not there.
        """
        try:
            content = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def save_search(self, key: str, content: Mapping[str, Any]) -> None:
        """Keep what a search found.

        Parameters
        ----------
        key : str
            Its name.
        content : mapping
            JSON-serialisable.
        """
        with whole_file(self.folder / f"{key}.json") as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
