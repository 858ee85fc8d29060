"""The taggers there are: settings in, network out. The one door to this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetexp.taggers.settings import CnnSettings, TaggerSettings

if TYPE_CHECKING:
    import keras

__all__ = ["build_network"]


def build_network(
    settings: TaggerSettings, input_shape: tuple[int, int, int], classes: int, seed: int
) -> keras.Model:
    """Build an untrained network.

    Parameters
    ----------
    settings : CnnSettings or NotebookSettings
        Which network.
    input_shape : tuple of int
        Rows, columns and channels of an image.
    classes : int
        Number of classes.
    seed : int
        Seed of the initial weights.

    Returns
    -------
    keras.Model
        Images in, scores of shape (N, classes) out: not negative, with sum 1. Not compiled.
    """
    # Keras takes seconds to import, and who only reads settings need not wait for it
    import keras

    from jetexp.taggers import cnn, notebook

    keras.utils.set_random_seed(seed)
    if isinstance(settings, CnnSettings):
        return cnn.network(settings, input_shape, classes)
    return notebook.network(input_shape, classes)
