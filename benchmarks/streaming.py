"""Training from constituents, made into inputs piece by piece, against training from inputs in memory.

The default network and its augmentation, on the jets of its experiment, one fit of each. Beside it, what one
pass of making inputs of all training jets costs of an epoch.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from jetexp.experiment_file import override, read_experiment
from jetexp.fit_task import training_parts
from jetexp.inputs import make_inputs
from jetexp.parts import load_parts
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_network, input_settings
from jetexp.training import fit

ROOT = Path(__file__).parent.parent
JETS = Path(os.environ.get("JETEXP_JETS", ROOT / "jets"))
EPOCHS = 8


def main() -> None:
    experiment = override(read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml"), epochs=EPOCHS)
    jets = load_parts(experiment, JETS)
    inputs = input_settings(experiment.tagger, experiment.images)
    signal = experiment.classes.index(experiment.signal)
    begin = time.perf_counter()
    make_inputs(jets.train, inputs)
    one_pass = time.perf_counter() - begin
    rates, areas = [], []
    for name, memory in (("in memory", None), ("streamed", 0.0)):
        parts = training_parts(jets.train, jets.validation, inputs, signal, None, memory)
        network = build_network(experiment.tagger, parts.train.shapes, len(experiment.classes), 0)
        begin = time.perf_counter()
        history = fit(network, parts, experiment.training, seed=0, recorder=NullRecorder())
        seconds = time.perf_counter() - begin
        # the first epoch compiles
        rates.append(len(parts.train) / float(np.median(history.seconds[1:])))
        areas.append(history.val_auc[history.best_epoch - 1])
        print(f"{name:10s}: {rates[-1]:6.0f} jets/s, {seconds:.0f} s, validation AUC {areas[-1]:.4f}")
    print(f"ratio {rates[1] / rates[0]:.2f}; AUC difference {areas[1] - areas[0]:+.4f}")
    epoch = len(jets.train) / rates[0]
    print(f"one pass of making inputs: {one_pass:.1f} s, {one_pass / epoch:.3f} of an epoch of {epoch:.1f} s")


if __name__ == "__main__":
    main()
