"""Settings of the taggers and of their training, free of any framework."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jetexp.settings import Settings

__all__ = ["CnnSettings", "NotebookSettings", "TaggerSettings", "TrainingSettings"]


class NotebookSettings(Settings):
    """The notebook's network, which has nothing to set."""

    kind: Literal["notebook"] = "notebook"


class CnnSettings(Settings):
    """A convolutional network: blocks of convolution, ReLU and 2 x 2 max-pooling, then a dense layer.

    Attributes
    ----------
    layers : int
        Number of convolution blocks. Pooling ends when one pixel is left.
    width : int
        Filters of the first block; the others have twice as many.
    kernel : int
        Side of the convolution kernels, in pixels.
    dense : int
        Units of the hidden dense layer.
    dropout : float
        Fraction of units dropped before the hidden and before the last dense layer.
    """

    kind: Literal["cnn"] = "cnn"
    layers: int = Field(3, ge=1, le=8)
    width: int = Field(16, ge=1, le=1024)
    kernel: int = Field(3, ge=1, le=11)
    dense: int = Field(128, ge=1, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)


class TrainingSettings(Settings):
    """How a network is fitted.

    Attributes
    ----------
    learning_rate : float
        Adam's (peak) learning rate.
    schedule : {"constant", "cosine"}
        Learning rate against step.
    batch_size : int
        Jets a step.
    epochs : int
        Passes over the training jets, at most.
    patience : int, optional
        Stop after so many epochs without a better validation loss; by default never.
    best_weights : bool
        Keep the weights of the epoch with the best validation loss, not the last.
    """

    learning_rate: float = Field(1e-3, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: int = Field(128, ge=1, le=65536)
    epochs: int = Field(10, ge=1, le=10_000)
    patience: int | None = Field(None, ge=1)
    best_weights: bool = True


TaggerSettings = Annotated[CnnSettings | NotebookSettings, Field(discriminator="kind")]
