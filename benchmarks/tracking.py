"""What tracking costs a fit: the default network, its epochs recorded to MLflow, and with nothing recorded.

Both by turns, on the same jets and the same machine; figures and the model, which are recorded once a run,
are told apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from default_network import JETS, ROOT

from jetexp.evaluation.report import evaluate
from jetexp.experiment_file import read_experiment
from jetexp.fit_task import training_parts
from jetexp.jets.load import load_jets
from jetexp.jets.settings import GenerationSettings
from jetexp.recorder_protocol import NullRecorder, Recorder
from jetexp.recording import record_evaluation, served_settings
from jetexp.taggers.catalogue import build_network, input_settings
from jetexp.tracking import open_parent
from jetexp.training import fit, predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    experiment = read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml")
    classes = list(experiment.classes)
    jets = load_jets(GenerationSettings(per_class=10_000, seed=1), classes, JETS)
    order = np.random.default_rng(0).permutation(len(jets))
    inputs = input_settings(experiment.tagger, experiment.images)
    parts = training_parts(
        jets.take(order[:15_000]),
        jets.take(order[15_000:]),
        inputs,
        classes.index(experiment.signal),
        None,
    )
    training = experiment.training.model_copy(update={"epochs": asked.epochs})

    def seconds(recorder: Recorder) -> float:
        network = build_network(experiment.tagger, parts.train.shapes, len(classes), 0)
        begin = time.perf_counter()
        fit(network, parts, training, seed=0, recorder=recorder)
        return time.perf_counter() - begin

    with tempfile.TemporaryDirectory(dir=ROOT) as temporary:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path(temporary) / 'mlflow.db'}"
        os.chdir(temporary)
        with open_parent("tracking", "fits", served=served_settings(experiment)) as parent:
            # what is compiled and imported at the first fit is no part of either
            seconds(NullRecorder())
            without, tracked = [], []
            for number in range(asked.rounds):
                without.append(seconds(NullRecorder()))
                with parent.child(f"fit-{number}") as child:
                    tracked.append(seconds(child))
            network = build_network(experiment.tagger, parts.train.shapes, len(classes), 0)
            scores = predict(network, parts.validation.inputs)
            found = evaluate(
                scores, parts.validation.label, classes=classes, signal=experiment.signal, part="validation"
            )
            begin = time.perf_counter()
            record_evaluation(parent, found)
            figures = time.perf_counter() - begin
            begin = time.perf_counter()
            parent.network(network)
            model = time.perf_counter() - begin
    ratio = statistics.median(tracked) / statistics.median(without)
    print(
        f"{asked.epochs} epochs: {statistics.median(without):.1f} s untracked, "
        f"{statistics.median(tracked):.1f} s tracked (medians of {asked.rounds}, by turns): ratio {ratio:.3f}"
    )
    print(f"once a run: numbers and figures {figures:.1f} s, model {model:.1f} s")


if __name__ == "__main__":
    main()
