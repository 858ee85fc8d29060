"""The default network, untrained: for measurements of its speed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jetexp.experiment_file import read_experiment
from jetexp.inputs import make_inputs
from jetexp.jets.sample import Jets
from jetexp.serving import ServedSettings
from jetexp.taggers.catalogue import build_network, input_settings

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parent.parent
JETS = Path(os.environ.get("JETEXP_JETS", ROOT / "jets"))


def default_network(jets: Jets) -> tuple[keras.Model, ServedSettings]:
    """Build the network of the default experiment, for jets of its classes, and what serves it."""
    experiment = read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml")
    served = ServedSettings(
        classes=tuple(experiment.classes),
        signal=experiment.signal,
        inputs=input_settings(experiment.tagger, experiment.images),
    )
    shapes = {name: values.shape[1:] for name, values in make_inputs(jets, served.inputs).items()}
    return build_network(experiment.tagger, shapes, len(experiment.classes), 0), served
