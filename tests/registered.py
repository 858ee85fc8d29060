"""Tiny taggers that read two pixels, and the jets that tell them apart, for tests of the registry."""

import keras
import numpy as np
from mlflow import MlflowClient

from jetexp.images import ImageSettings
from jetexp.inputs import InputSettings
from jetexp.judging import TestSample
from jetexp.registry import register
from jetexp.serving import ServedSettings
from jetexp.tracking import open_parent

NAME = "w-vs-qcd"
RAW = ImageSettings.raw()
SERVED = ServedSettings(classes=("QCD", "W"), signal="W", inputs=InputSettings(images=RAW))


def telling_sample():
    """Images whose first pixel tells the classes apart, and whose second is noise."""
    rng = np.random.default_rng(2)
    label = np.repeat([0, 1], 1200)
    images = np.zeros((2400, 40, 40), np.float32)
    images[:, 20, 20] = 20 + 3 * label + rng.normal(size=2400)
    images[:, 10, 10] = 20 + rng.normal(size=2400)
    return TestSample(images, label, ("QCD", "W"), "W", "f" * 64)


def tagger(noise):
    """A network that reads the telling pixel, and the noisy one as much as it is told."""
    image = keras.Input((40, 40, 1), name="image")
    score = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(image))
    network = keras.Model({"image": image}, score)
    weights = np.zeros((1600, 2), np.float32)
    weights[20 * 40 + 20, 1], weights[10 * 40 + 10, 1] = 0.2, 0.2 * noise
    network.set_weights([weights, np.array([0, -4 - 4 * noise], np.float32)])
    return network


def log(network):
    """Log a network to a run of its own."""
    with open_parent("e", "seed-00", served=SERVED) as recorder:
        recorder.network(network)
    return recorder


def enter(network, **tags):
    """Register a network; give its version."""
    recorder = log(network)
    return register(MlflowClient(), NAME, recorder.model_uri, run_id=recorder.run_id, tags=tags)


def aliases():
    """Give the versions of the model by alias."""
    found = MlflowClient().get_registered_model(NAME).aliases
    return {alias: str(version) for alias, version in found.items()}
