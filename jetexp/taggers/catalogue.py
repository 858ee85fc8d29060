"""The taggers there are: settings in, inputs and network out. The one door to this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jetexp.images import ImageSettings
from jetexp.inputs import InputSettings
from jetexp.taggers.settings import (
    CnnSettings,
    LogisticRegressionSettings,
    MassWindowSettings,
    NotebookSettings,
    PfnSettings,
    Precision,
    TaggerSettings,
)

if TYPE_CHECKING:
    import keras

__all__ = ["build_ensemble", "build_network", "input_settings"]


def input_settings(tagger: TaggerSettings, images: ImageSettings) -> InputSettings:
    """Say what a tagger takes.

    Parameters
    ----------
    tagger : settings of a tagger
        Which one.
    images : ImageSettings
        How its images are made, if it takes any.

    Returns
    -------
    InputSettings
        For :func:`jetexp.inputs.make_inputs`.
    """
    if isinstance(tagger, CnnSettings):
        return InputSettings(images=images, observables=tagger.side_inputs, constituents=tagger.constituents)
    if isinstance(tagger, NotebookSettings | LogisticRegressionSettings):
        return InputSettings(images=images)
    if isinstance(tagger, PfnSettings):
        return InputSettings(constituents=tagger.constituents)
    if isinstance(tagger, MassWindowSettings):
        return InputSettings(observables=(tagger.observable,))
    return InputSettings(observables=tagger.observables)


def build_network(
    settings: TaggerSettings,
    shapes: Mapping[str, tuple[int, ...]],
    classes: int,
    seed: int,
    precision: Precision = "float32",
) -> keras.Model:
    """Build an untrained network.

    Parameters
    ----------
    settings : CnnSettings, NotebookSettings or PfnSettings
        Which network.
    shapes : mapping of str to tuple of int
        Shape of each of its inputs, for one jet.
    classes : int
        Number of classes.
    seed : int
        Seed of the initial weights, which are the same in every precision.
    precision : {"float32", "mixed_bfloat16"}
        Keras' policy of the layers' data types.

    Returns
    -------
    keras.Model
        A dictionary of inputs in, scores of shape (N, classes) out: not negative, with sum 1. Not
        compiled.
    """
    # Keras takes seconds to import, and who only reads settings need not wait for it
    import keras

    from jetexp.taggers import cnn, notebook, pfn

    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        if isinstance(settings, CnnSettings):
            return cnn.network(settings, shapes, classes)
        if isinstance(settings, PfnSettings):
            return pfn.network(settings, shapes, classes)
        if isinstance(settings, NotebookSettings):
            return notebook.network(shapes, classes)
        raise TypeError(f"{settings.kind} is no network")
    finally:
        keras.config.set_dtype_policy(before)


def build_ensemble(networks: Sequence[keras.Model], temperature: float = 1.0) -> keras.Model:
    """Join networks of the same inputs and classes into one: the mean of their log-odds.

    Parameters
    ----------
    networks : sequence of keras.Model
        Trained, at least one.
    temperature : float
        What the mean is divided by.

    Returns
    -------
    keras.Model
        A network like its members, which can be saved and served like one.
    """
    from jetexp.taggers import ensemble

    if not networks:
        raise ValueError("an ensemble has at least one member")
    return ensemble.network(networks, temperature)
