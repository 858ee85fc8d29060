"""Settings of the taggers and of their training, free of any framework."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jetexp.augmentation import AugmentationSettings
from jetexp.constituents import ConstituentSettings
from jetexp.jets.observables import Observable
from jetexp.settings import Settings
from jetexp.taggers.classical_settings import (
    BoostedTreesSettings,
    ClassicalSettings,
    LogisticRegressionSettings,
    MassWindowSettings,
)

__all__ = [
    "CLASSICAL",
    "AttentionSettings",
    "ClassicalSettings",
    "CnnSettings",
    "MassWindowSettings",
    "NotebookSettings",
    "PfnSettings",
    "Precision",
    "TaggerSettings",
    "TrainingSettings",
]


class NotebookSettings(Settings):
    """The notebook's network, which has nothing to set."""

    kind: Literal["notebook"] = "notebook"


Units = Annotated[int, Field(ge=1, le=4096)]


class AttentionSettings(Settings):
    """Self-attention among a jet's constituents.

    Attributes
    ----------
    constituents : int
        The hardest constituents that look at each other.
    blocks : int
        Number of Transformer blocks.
    width : int
        Numbers that describe a constituent between them.
    heads : int
        Ways in which each looks at the others; divides the width.
    latent : int
        Units of the layer whose sum over the constituents is taken.
    pairs : int
        Units of the layer that sees how far apart two constituents are and how they share their pT, and
        says how far one looks at the other; 0 for none.
    """

    constituents: int = Field(40, ge=1, le=1000)
    blocks: int = Field(2, ge=1, le=24)
    width: int = Field(32, ge=1, le=4096)
    heads: int = Field(4, ge=1, le=64)
    latent: int = Field(128, ge=1, le=4096)
    pairs: int = Field(8, ge=0, le=1024)

    @model_validator(mode="after")
    def _heads_of_one_width(self) -> AttentionSettings:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be shared by {self.heads} heads")
        return self


class CnnSettings(Settings):
    """A convolutional network: blocks of convolutions and pooling, then dense layers.

    Attributes
    ----------
    layers : int
        Number of blocks, each ended by 2 x 2 pooling until one pixel is left.
    width : int
        Filters of the first block; the others have twice as many.
    convolutions : int
        Convolutions of a block.
    kernel : int
        Side of the convolution kernels, in pixels.
    normalisation : {"none", "batch", "layer"}
        What follows each convolution.
    activation : {"relu", "gelu", "swish"}
        What follows that.
    residual : bool
        Add what enters a block to what its convolutions make of it (He et al., arXiv:1512.03385).
    pooling : {"max", "average"}
        What the 2 x 2 pooling keeps.
    head : {"dense", "average"}
        Whether the last block's pixels all enter the dense layers, or their mean over the image.
    dense : int
        Units of each hidden dense layer.
    dense_layers : int
        Number of hidden dense layers.
    dropout : float
        Fraction of units dropped before each hidden and before the last dense layer.
    side_inputs : tuple of str
        Observables of the jet that enter the first hidden dense layer beside the image.
    constituents : ConstituentSettings, optional
        Let a sum over the jet's constituents, as of a particle flow network, enter there too.
    latent : tuple of int
        Units of the dense layers applied to each of them.
    attention : AttentionSettings, optional
        Let the hardest of them look at each other, too, and what they have seen enter beside the sum; needs
        constituents.
    """

    kind: Literal["cnn"] = "cnn"
    layers: int = Field(3, ge=1, le=8)
    width: int = Field(16, ge=1, le=1024)
    convolutions: int = Field(1, ge=1, le=8)
    kernel: int = Field(3, ge=1, le=11)
    normalisation: Literal["none", "batch", "layer"] = "none"
    activation: Literal["relu", "gelu", "swish"] = "relu"
    residual: bool = False
    pooling: Literal["max", "average"] = "max"
    head: Literal["dense", "average"] = "dense"
    dense: int = Field(128, ge=1, le=4096)
    dense_layers: int = Field(1, ge=1, le=8)
    dropout: float = Field(0.1, ge=0, lt=1)
    side_inputs: tuple[Observable, ...] = ()
    constituents: ConstituentSettings | None = None
    latent: tuple[Units, ...] = Field((64, 64, 128), min_length=1)
    attention: AttentionSettings | None = None

    @model_validator(mode="after")
    def _attention_among_constituents(self) -> CnnSettings:
        if self.attention is not None and self.constituents is None:
            raise ValueError("attention is among constituents: 'constituents: {}' beside it would be right")
        return self


class PfnSettings(Settings):
    """A particle flow network (Komiske et al., arXiv:1810.05165).

    Attributes
    ----------
    constituents : ConstituentSettings
        How the lists of constituents are made.
    latent : tuple of int
        Units of the dense layers applied to each constituent; the last is the latent dimension.
    dense : tuple of int
        Units of the dense layers applied to their sum.
    normalisation : {"none", "batch"}
        Of the sum over constituents. The publication has none; with batch normalisation few jets do better.
    dropout : float
        Fraction of units dropped after each of the latter.
    """

    kind: Literal["pfn"] = "pfn"
    constituents: ConstituentSettings = ConstituentSettings()
    latent: tuple[Units, ...] = Field((100, 100, 256), min_length=1)
    dense: tuple[Units, ...] = Field((100, 100, 100), min_length=1)
    normalisation: Literal["none", "batch"] = "batch"
    dropout: float = Field(0.0, ge=0, lt=1)


Precision = Literal["float32", "mixed_bfloat16"]


class TrainingSettings(Settings):
    """How a network is fitted.

    Attributes
    ----------
    learning_rate : float
        Adam's (peak) learning rate.
    schedule : {"constant", "cosine"}
        Learning rate against step, after the warm-up.
    warmup_epochs : float
        Epochs over which the learning rate rises from zero.
    weight_decay : float
        Of AdamW (Loshchilov and Hutter, arXiv:1711.05101). What suits falls as the number of steps grows
        (Wang and Aitchison, arXiv:2405.13698).
    label_smoothing : float
        What is taken from the true class and given to all alike.
    average : float
        Time constant of an exponential moving average of the weights, as a fraction of all steps of the
        fit; the average then judges the validation jets and is kept. 0 is no average.
    batch_size : int
        Jets a step.
    epochs : int
        Passes over the training jets, at most.
    patience : int, optional
        Stop after so many epochs without a better validation loss; by default never.
    best_weights : bool
        Keep the weights of the epoch with the best validation loss, not the last.
    augmentation : AugmentationSettings, optional
        What is done at random to the constituents of the training jets, anew in each epoch.
    precision : {"float32", "mixed_bfloat16"}
        What the steps compute in. Weights, side inputs and scores are float32 in both, and so is the network
        that judges the validation jets and is kept.
    devices : int
        Accelerators that share each batch (Keras' ``DataParallel``, which its JAX backend has). What is left
        of the jets behind the last batch that can be shared evenly waits for the next epoch.
    """

    learning_rate: float = Field(1e-3, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0, le=1000)
    weight_decay: float = Field(0.0, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    average: float = Field(0.0, ge=0, le=1)
    batch_size: int = Field(128, ge=1, le=65536)
    epochs: int = Field(10, ge=1, le=10_000)
    patience: int | None = Field(None, ge=1)
    best_weights: bool = True
    augmentation: AugmentationSettings | None = None
    precision: Precision = "float32"
    devices: int = Field(1, ge=1, le=1024)

    @model_validator(mode="after")
    def _shared_evenly(self) -> TrainingSettings:
        if self.batch_size % self.devices:
            raise ValueError(f"a batch of {self.batch_size} jets cannot be shared by {self.devices} devices")
        return self


CLASSICAL = (MassWindowSettings, LogisticRegressionSettings, BoostedTreesSettings)

TaggerSettings = Annotated[
    CnnSettings
    | NotebookSettings
    | PfnSettings
    | MassWindowSettings
    | LogisticRegressionSettings
    | BoostedTreesSettings,
    Field(discriminator="kind"),
]
