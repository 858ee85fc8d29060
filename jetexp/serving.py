"""The tagger as the registry holds it: raw images in, class probabilities out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import numpy.typing as npt
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import Schema, TensorSpec
from pydantic import Field

from jetexp.errors import JetexpError, ModelError
from jetexp.images import ImageSettings
from jetexp.inputs import InputSettings, make_inputs
from jetexp.jets.observables import FROM_FASTJET
from jetexp.jets.pixels import jets_from_images
from jetexp.settings import Settings

if TYPE_CHECKING:
    import keras

__all__ = [
    "JetTagger",
    "RawImageError",
    "ServedSettings",
    "check_images",
    "load_tagger",
    "log_tagger",
    "probabilities",
]

Float = npt.NDArray[np.float32]

# jets that are brought through preprocessing and network at once; bounds the memory taken
BATCH = 512
# what the served model imports; the versions are those it was trained and tested with
REQUIREMENTS = ("keras", "mlflow", "numpy", "pydantic", "tensorflow")
FASTJET_REQUIREMENTS = ("awkward", "fastjet", "pyarrow")
# jetexp's own modules among them, which are stored with the model
CODE = (
    "__init__.py",
    "constituents.py",
    "errors.py",
    "files.py",
    "geometry.py",
    "images.py",
    "inputs.py",
    "jets/__init__.py",
    "jets/collection.py",
    "jets/observables.py",
    "jets/pixels.py",
    "jets/sample.py",
    "serving.py",
    "settings.py",
)
# GeV; nothing at the LHC has more transverse energy
MAXIMUM_PIXEL = 13_000.0


class RawImageError(JetexpError):
    """Raw images that no tagger can judge."""


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
    """

    classes: tuple[str, ...] = Field(min_length=2)
    signal: str
    inputs: InputSettings
    pixels: int = Field(40, ge=4, le=256)
    half_width: float = Field(1.0, gt=0, le=3.2)

    @property
    def raw_images(self) -> ImageSettings:
        """How raw images are made from constituents, to send jets to the served tagger."""
        return ImageSettings(
            pixels=self.pixels,
            half_width=self.half_width,
            centre=False,
            rotate=False,
            flip=False,
            zoom=False,
            scale="gev",
            intensity="linear",
        )


def check_images(images: Any, pixels: int = 40) -> Float:
    """Bring raw images to one form, or say what is wrong with them.

    Parameters
    ----------
    images : array-like of numbers, shape (N, pixels, pixels) or (N, pixels, pixels, 1)
        Transverse energy of each pixel, GeV; first axis eta, second phi.
    pixels : int
        Pixels a side.

    Returns
    -------
    ndarray of float32, shape (N, pixels, pixels)
        The same.

    Raises
    ------
    RawImageError
        If there is no image, the shape is another, or a pixel is not a number, negative or
        beyond the LHC; also if an image has no energy at all.

    Examples
    --------
    >>> check_images(np.ones((2, 40, 40, 1))).shape
    (2, 40, 40)
    >>> check_images(np.ones((2, 30, 40)))
    Traceback (most recent call last):
    ...
    jetexp.serving.RawImageError: Images must have the shape (N, 40, 40) or (N, 40, 40, 1), not (2, 30, 40).
    """
    wanted = f"(N, {pixels}, {pixels}) or (N, {pixels}, {pixels}, 1)"
    if not isinstance(images, np.ndarray | list | tuple):
        raise RawImageError(f"Give raw images as an array of the shape {wanted}.")
    try:
        values = np.asarray(images)
    except ValueError:
        raise RawImageError(f"Images must have the shape {wanted}; these differ among themselves.") from None
    if values.size == 0:
        raise RawImageError(f"There is no image: give at least one, as an array of the shape {wanted}.")
    if values.dtype.kind not in "iuf":
        raise RawImageError(f"Pixels must be numbers (transverse energy in GeV), not {values.dtype}.")
    if values.shape[1:] not in ((pixels, pixels), (pixels, pixels, 1)):
        raise RawImageError(f"Images must have the shape {wanted}, not {values.shape}.")
    values = values.reshape(len(values), pixels, pixels)
    for problem, wrong in (
        ("is not a finite number", ~np.isfinite(values)),
        ("is negative", values < 0),
        (f"is above {MAXIMUM_PIXEL:.0f} GeV", values > MAXIMUM_PIXEL),
    ):
        if wrong.any():
            image, row, column = np.argwhere(wrong)[0]
            raise RawImageError(f"Pixel ({row}, {column}) of image {image} {problem}.")
    empty = ~values.any(axis=(1, 2))
    if empty.any():
        raise RawImageError(f"Image {np.argmax(empty)} has no energy: all its pixels are zero.")
    return values.astype(np.float32)


def probabilities(network: keras.Model, images: Any, settings: ServedSettings) -> Float:
    """Judge raw images: the one way from image to answer, served or not.

    Parameters
    ----------
    network : keras.Model
        From its inputs to one probability a class.
    images : array-like of numbers, shape (N, pixels, pixels) or (N, pixels, pixels, 1)
        Transverse energy of each pixel, GeV; first axis eta, second phi.
    settings : ServedSettings
        How the network's inputs are made.

    Returns
    -------
    ndarray of float32, shape (N, classes)
        Probability of each class.

    Raises
    ------
    RawImageError
        If the images cannot be judged.
    """
    import keras

    raw = check_images(images, settings.pixels)
    answers = []
    for start in range(0, len(raw), BATCH):
        jets = jets_from_images(raw[start : start + BATCH], half_width=settings.half_width)
        # called, not predict(): nothing is compiled for each size of request, and threads do not meet
        answer = network(make_inputs(jets, settings.inputs), training=False)
        answers.append(keras.ops.convert_to_numpy(answer).astype(np.float32))
    return np.concatenate(answers)


class JetTagger(PythonModel):
    """MLflow's view of a tagger: loads network and settings, checks images, answers."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network and its settings from the model's artifacts.

        Parameters
        ----------
        context : mlflow.pyfunc.PythonModelContext
            Where the artifacts ``network`` and ``settings`` lie.
        """
        self.network, self.settings = _loaded(
            Path(context.artifacts["network"]), Path(context.artifacts["settings"])
        )

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> Float:
        """Judge raw images.

        Parameters
        ----------
        context : mlflow.pyfunc.PythonModelContext
            Not used: everything is loaded already.
        model_input : ndarray of numbers, shape (N, 40, 40) or (N, 40, 40, 1)
            Transverse energy of each pixel, GeV.
        params : dict, optional
            None are known.

        Returns
        -------
        ndarray of float32, shape (N, classes)
            Probability of each class.

        Raises
        ------
        mlflow.exceptions.MlflowException
            If the images cannot be judged; a server answers 400 with the sentence.
        """
        try:
            return probabilities(self.network, model_input, self.settings)
        except RawImageError as error:
            # MLflow hides the sentence of any other exception
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None


def _loaded(network: Path, settings: Path) -> tuple[keras.Model, ServedSettings]:
    import keras

    return (
        keras.saving.load_model(network, compile=False, safe_mode=True),
        ServedSettings.model_validate_json(settings.read_text(encoding="utf-8")),
    )


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
    with tempfile.TemporaryDirectory() as temporary:
        try:
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=temporary))
            return _loaded(folder / "artifacts" / "network.keras", folder / "artifacts" / "settings.json")
        except (MlflowException, OSError, ValueError) as error:
            raise ModelError(f"{model_uri} holds no tagger that can be loaded: {error}") from error


def _example(settings: ServedSettings) -> Float:
    """Make one raw image with two hard pixels, to show what the tagger takes."""
    image = np.zeros((1, settings.pixels, settings.pixels), dtype=np.float32)
    middle = settings.pixels // 2
    image[0, middle, middle - 2], image[0, middle, middle + 3] = 500.0, 300.0
    return image


@contextmanager
def _same_search_path() -> Iterator[None]:
    # MLflow tries the model it logs, and leaves its folder (removed soon after) on the search path
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def log_tagger(
    network: keras.Model,
    settings: ServedSettings,
    *,
    run_id: str,
    experiment_id: str,
    name: str = "model",
) -> str:
    """Log a network to an MLflow run as it would be served.

    Parameters
    ----------
    network : keras.Model
        From its inputs to one probability a class.
    settings : ServedSettings
        How the network's inputs are made, and what the answer means.
    run_id, experiment_id : str
        The run that the model belongs to, and its MLflow experiment.
    name : str
        Name of the logged model.

    Returns
    -------
    str
        The model's address, ``models:/<model id>``.
    """
    # given no model, Model.log makes one in the experiment Default, whatever the run's is
    model = mlflow.MlflowClient().create_logged_model(experiment_id, name=name, source_run_id=run_id)
    with tempfile.TemporaryDirectory() as temporary, _same_search_path():
        folder = Path(temporary)
        Model.log(
            artifact_path=None,  # its older name for `name`
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model.model_id,
            name=name,
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts=_artifacts(network, settings, folder),
            code_paths=[str(_code(folder))],
            # inputs stay open: one of tensors refuses float64, another rank, and constituents later on
            signature=ModelSignature(
                outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(settings.classes)))])
            ),
            input_example=None if settings.inputs.need_charge else _example(settings),
            pip_requirements=[f"{package}=={version(package)}" for package in _requirements(settings)],
            metadata={"classes": list(settings.classes), "signal": settings.signal},
        )
    return f"models:/{model.model_id}"


def _requirements(settings: ServedSettings) -> tuple[str, ...]:
    return REQUIREMENTS + (
        FASTJET_REQUIREMENTS if set(settings.inputs.observables) & set(FROM_FASTJET) else ()
    )


def _artifacts(network: keras.Model, settings: ServedSettings, folder: Path) -> dict[str, str]:
    """Write network and settings into a folder, and name the files."""
    import keras

    bare = keras.models.clone_model(network)  # without optimizer and its state
    bare.set_weights(network.get_weights())
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
