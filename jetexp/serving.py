"""The tagger as the registry holds it: raw images or constituents in, class probabilities out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from pydantic import Field

from jetexp.errors import ModelError
from jetexp.images import ImageSettings
from jetexp.inference import ForwardPass, bare_copy, compiled
from jetexp.inputs import InputSettings, make_inputs
from jetexp.jets.observables import FROM_FASTJET
from jetexp.jets.pixels import HALF_WIDTH, PIXELS, jets_from_images
from jetexp.jets.sample import Jets
from jetexp.memory import release_memory
from jetexp.served_input import RefusedJetsError, check_images, jets_from_table
from jetexp.settings import Settings

if TYPE_CHECKING:
    import keras

__all__ = [
    "JetTagger",
    "ServedSettings",
    "Thresholds",
    "load_tagger",
    "opened_tagger",
    "probabilities",
    "save_tagger",
]

Float = npt.NDArray[np.float32]

# jets that are brought through preprocessing and network at once; bounds the memory taken
BATCH = 512
# what the served model imports; the versions are those it was trained and tested with
REQUIREMENTS = ("keras", "mlflow", "numpy", "pandas", "pydantic", "tensorflow")
FASTJET_REQUIREMENTS = ("awkward", "fastjet", "pyarrow")
# jetexp's own modules among them, which are stored with the model
CODE = (
    "__init__.py",
    "constituents.py",
    "errors.py",
    "files.py",
    "geometry.py",
    "images.py",
    "inference.py",
    "inputs.py",
    "jets/__init__.py",
    "jets/collection.py",
    "jets/momenta.py",
    "jets/observables.py",
    "jets/pixels.py",
    "jets/sample.py",
    "memory.py",
    "served_input.py",
    "serving.py",
    "settings.py",
)
# the columns of the answer beside the probabilities
DISCRIMINANT, SELECTED = "discriminant", "selected"
# the parameter, and the working points whose thresholds are kept; between them they are interpolated
SIGNAL_EFFICIENCY = "signal_efficiency"
EFFICIENCIES = tuple(number / 100 for number in range(1, 100))


class Thresholds(Settings):
    """Where to cut on the discriminant, by signal efficiency, for each form of jets.

    Attributes
    ----------
    constituents, images : tuple of float
        Thresholds for each of ``EFFICIENCIES``, measured on validation jets of that form.
    """

    constituents: tuple[float, ...] = Field(min_length=len(EFFICIENCIES), max_length=len(EFFICIENCIES))
    images: tuple[float, ...] = Field(min_length=len(EFFICIENCIES), max_length=len(EFFICIENCIES))

    @staticmethod
    def measured(discriminant: npt.ArrayLike, is_signal: npt.ArrayLike) -> tuple[float, ...]:
        """Measure the thresholds of one form.

        Parameters
        ----------
        discriminant : array_like of float, shape (N,)
            Of validation jets.
        is_signal : array_like of bool, shape (N,)
            Which of them are signal; at least one.

        Returns
        -------
        tuple of float
            For each of ``EFFICIENCIES``.

        Examples
        --------
        >>> Thresholds.measured([0.0, 0.25, 0.5, 0.75, 1.0], [True] * 5)[24]
        0.75
        """
        signal = np.asarray(discriminant, np.float64)[np.asarray(is_signal)]
        return tuple(np.quantile(signal, [1 - one for one in EFFICIENCIES]).tolist())


class ServedSettings(Settings):
    """What a served tagger has to know besides its weights.

    Attributes
    ----------
    classes : tuple of str
        What each column of the answer is the probability of.
    signal : str
        The class that counts as signal.
    inputs : InputSettings
        How the network's inputs are made.
    pixels : int
        Pixels a side of the raw images taken.
    half_width : float
        Half the side of the raw images, in eta and phi.
    thresholds : Thresholds, optional
        Working points.
    """

    classes: tuple[str, ...] = Field(min_length=2)
    signal: str
    inputs: InputSettings
    pixels: int = Field(PIXELS, ge=4, le=256)
    half_width: float = Field(HALF_WIDTH, gt=0, le=3.2)
    thresholds: Thresholds | None = None

    @property
    def raw_images(self) -> ImageSettings:
        """How raw images are made from constituents, to send jets to the served tagger."""
        return ImageSettings.raw(self.pixels, self.half_width)


def probabilities(forward: ForwardPass, given: Any, settings: ServedSettings) -> Float:
    """Judge jets: the one way from what a client sends to the answer, served or not.

    Parameters
    ----------
    forward : callable
        A network, as :func:`jetexp.inference.compiled` gives it.
    given : array-like of numbers, or pandas.DataFrame
        Raw images, shape (N, pixels, pixels) or (N, pixels, pixels, 1), of transverse energy in GeV; or a
        table of constituents, as :func:`jetexp.served_input.jets_from_table` takes it.
    settings : ServedSettings
        How the network's inputs are made.

    Returns
    -------
    ndarray of float32, shape (N, classes)
        Probability of each class.

    Raises
    ------
    RefusedJetsError
        If the jets cannot be judged.
    """
    answers = [forward(make_inputs(jets, settings.inputs)) for jets in _in_batches(given, settings)]
    if len(answers) > 1:
        # else a server of large requests grows by some kB a jet
        release_memory()
    return np.concatenate(answers)


def _in_batches(given: Any, settings: ServedSettings) -> Iterator[Jets]:
    """Give jets some at a time, all of which have been checked."""
    if isinstance(given, pd.DataFrame):
        jets = jets_from_table(given)
        for start in range(0, len(jets), BATCH):
            yield jets.between(start, min(start + BATCH, len(jets)))
        return
    raw = check_images(given, settings.pixels)
    for start in range(0, len(raw), BATCH):
        yield jets_from_images(raw[start : start + BATCH], half_width=settings.half_width)


class JetTagger(PythonModel):
    """MLflow's view of a tagger: loads network and settings, checks images, answers."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network and its settings from the model's artifacts.

        Parameters
        ----------
        context : mlflow.pyfunc.PythonModelContext
            Where the artifacts ``network`` and ``settings`` lie.
        """
        self.settings = _settings(Path(context.artifacts["settings"]))
        with _server_without_scikit_learn():
            network = _network(Path(context.artifacts["network"]))
        self.forward = compiled(network)
        if not self.settings.inputs.need_charge:
            # what is made or imported at the first use delays no client's first request
            for example in (_example(self.settings), _example_table()):
                probabilities(self.forward, example, self.settings)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Judge raw images or constituents.

        (MLflow warns of any type hint that it does not know, and knows no union.)

        Parameters
        ----------
        context : mlflow.pyfunc.PythonModelContext
            Not used: everything is loaded already.
        model_input : ndarray of numbers, or pandas.DataFrame
            As :func:`probabilities` takes it.
        params : dict, optional
            ``signal_efficiency`` asks for the decision at that working point, from 0.01 to 0.99.

        Returns
        -------
        pandas.DataFrame
            A row a jet: the probability of each class; ``discriminant``, the signal's; and, if it is asked
            for, ``selected``.

        Raises
        ------
        mlflow.exceptions.MlflowException
            If a jet cannot be judged; a server answers 400 with the reasons.
        """
        try:
            threshold = self._threshold(model_input, params or {})
            found = probabilities(self.forward, model_input, self.settings)
        except RefusedJetsError as error:
            # MLflow hides the sentence of any other exception
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        answer = pd.DataFrame(found, columns=list(self.settings.classes))
        answer[DISCRIMINANT] = found[:, self.settings.classes.index(self.settings.signal)]
        if threshold is not None:
            # a jet passes a threshold that it equals, as everywhere in jetexp
            answer[SELECTED] = answer[DISCRIMINANT] >= threshold
        return answer

    def _threshold(self, given: Any, params: Mapping[str, Any]) -> float | None:
        """Give the threshold of the working point that is asked for."""
        efficiency = params.get(SIGNAL_EFFICIENCY)
        if efficiency is None:
            return None
        thresholds = self.settings.thresholds
        if thresholds is None:
            raise RefusedJetsError(
                f"This model was stored without working points: leave {SIGNAL_EFFICIENCY} out."
            )
        if not EFFICIENCIES[0] <= efficiency <= EFFICIENCIES[-1]:
            raise RefusedJetsError(
                f"{SIGNAL_EFFICIENCY} is {efficiency:g}; from 0.01 to 0.99 would be right."
            )
        of_form = thresholds.constituents if isinstance(given, pd.DataFrame) else thresholds.images
        return float(np.interp(efficiency, EFFICIENCIES, of_form))


@contextmanager
def _server_without_scikit_learn() -> Iterator[None]:
    """Spare a server what Keras imports for its wrappers alone, which takes a second or two."""
    # in any other process the wrappers may be wanted
    if "mlflow.pyfunc.scoring_server.app" not in sys.modules or "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]


def _network(path: Path) -> keras.Model:
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a file that is damaged, or means harm, raises whatever it likes
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(f"its network cannot be read ({type(error).__name__}: {reason})") from error


def _settings(path: Path) -> ServedSettings:
    return ServedSettings.model_validate_json(path.read_text(encoding="utf-8"))


def load_tagger(model_uri: str) -> tuple[keras.Model, ServedSettings]:
    """Load network and settings of a logged model into this process, to run with the present code.

    Parameters
    ----------
    model_uri : str
        Such as ``models:/w-vs-qcd@champion``.

    Returns
    -------
    network : keras.Model
        From its inputs to one probability a class.
    settings : ServedSettings
        How the network's inputs are made.

    Raises
    ------
    ModelError
        If there is no such model, or it is none of jetexp's.
    """
    with opened_tagger(model_uri) as (settings, load_network):
        return load_network(), settings


@contextmanager
def opened_tagger(model_uri: str) -> Iterator[tuple[ServedSettings, Callable[[], keras.Model]]]:
    """Load the settings of a logged model, so that jets can be prepared while its network is loaded.

    Parameters
    ----------
    model_uri : str
        Such as ``models:/w-vs-qcd@champion``.

    Yields
    ------
    settings : ServedSettings
        How the network's inputs are made.
    load_network : callable
        Loads the network, meanwhile; raises ModelError too.

    Raises
    ------
    ModelError
        If there is no such model, or it is none of jetexp's.
    """
    with tempfile.TemporaryDirectory() as temporary:
        with _only_taggers(model_uri):
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=temporary))
            settings = _settings(folder / "artifacts" / "settings.json")

        def load_network() -> keras.Model:
            with _only_taggers(model_uri):
                return _network(folder / "artifacts" / "network.keras")

        yield settings, load_network


@contextmanager
def _only_taggers(model_uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError, ValueError) as error:
        raise ModelError(f"{model_uri} holds no tagger that can be loaded: {error}") from error


def _example(settings: ServedSettings) -> Float:
    """Make one raw image with two hard pixels, to show what the tagger takes."""
    image = np.zeros((1, settings.pixels, settings.pixels), dtype=np.float32)
    middle = settings.pixels // 2
    image[0, middle, middle - 2], image[0, middle, middle + 3] = 500.0, 300.0
    return image


def _example_table() -> pd.DataFrame:
    """Make the constituents of one jet."""
    return pd.DataFrame({"pt": [[500.0, 300.0]], "eta": [[0.0, 0.2]], "phi": [[0.0, 0.1]]})


@contextmanager
def _same_search_path() -> Iterator[None]:
    # MLflow tries the model it logs, and leaves its folder (removed soon after) on the search path
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def save_tagger(network: keras.Model, settings: ServedSettings, folder: Path) -> None:
    """Write a network to a folder as MLflow would serve it.

    Parameters
    ----------
    network : keras.Model
        From its inputs to one probability a class.
    settings : ServedSettings
        How the network's inputs are made, and what the answer means.
    folder : Path
        Must not be there yet.
    """
    with tempfile.TemporaryDirectory() as temporary, _same_search_path():
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts=_artifacts(network, settings, Path(temporary)),
            code_paths=[str(_code(Path(temporary)))],
            # inputs stay open: a schema of tensors refuses float64, another rank, and constituents
            signature=ModelSignature(
                outputs=Schema(
                    [
                        *(ColSpec("float", name) for name in (*settings.classes, DISCRIMINANT)),
                        ColSpec("boolean", SELECTED, required=False),
                    ]
                ),
                params=ParamSchema([ParamSpec(SIGNAL_EFFICIENCY, "double", default=None)]),
            ),
            input_example=None if settings.inputs.need_charge else _example(settings),
            pip_requirements=[f"{package}=={version(package)}" for package in _requirements(settings)],
            metadata={"classes": list(settings.classes), "signal": settings.signal},
        )
    # what was imported to try it
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)


def _requirements(settings: ServedSettings) -> tuple[str, ...]:
    return REQUIREMENTS + (
        FASTJET_REQUIREMENTS if set(settings.inputs.observables) & set(FROM_FASTJET) else ()
    )


def _artifacts(network: keras.Model, settings: ServedSettings, folder: Path) -> dict[str, str]:
    """Write network and settings into a folder, and name the files."""
    bare = bare_copy(network)
    files = {"network": folder / "network.keras", "settings": folder / "settings.json"}
    bare.save(files["network"])
    files["settings"].write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    return {name: str(file) for name, file in files.items()}


def _code(folder: Path) -> Path:
    """Copy the modules that serving imports into a folder, as a package."""
    package = Path(__file__).parent
    for name in CODE:
        target = folder / package.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / name, target)
    return folder / package.name
