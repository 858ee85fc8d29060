"""The notebook's analysis of its test jets: its loops of one `predict` a jet, against one batched call."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from jetexp.evaluation.report import Evaluation, evaluate
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import NotebookSettings
from jetexp.training import predict

if TYPE_CHECKING:
    import keras

JETS = 5000
LOOPED = 200
THRESHOLDS = np.linspace(0.2, 0.8, 7)
ROUNDS = 5
CLASSES = ("QCD", "W")


def loop_mistakes(network: keras.Model, images: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Predict jet by jet; count the mistakes each way and sum their images."""
    missed = [0, 0]
    sums = np.zeros((2, *images.shape[1:]))
    for jet in range(len(images)):
        predicted = np.argmax(network.predict({"image": images[jet : jet + 1]}, verbose=0))
        if predicted != label[jet]:
            missed[label[jet]] += 1
            sums[label[jet]] += images[jet]
    return np.array(missed)


def loop_histograms(network: keras.Model, images: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Predict jet by jet; fill the scores of both hypotheses for each true class."""
    scores: list[list[list[float]]] = [[[], []], [[], []]]
    for jet in range(len(images)):
        prediction = network.predict({"image": images[jet : jet + 1]}, verbose=0)
        for hypothesis in range(2):
            scores[hypothesis][label[jet]].append(prediction[0][hypothesis])
    return np.array([[np.histogram(values, 50, (0, 1))[0] for values in row] for row in scores])


def loop_threshold(network: keras.Model, images: np.ndarray, label: np.ndarray, threshold: float) -> int:
    """Predict jet by jet; count the mistakes at one threshold."""
    missed = 0
    for jet in range(len(images)):
        prediction = network.predict({"image": images[jet : jet + 1]}, verbose=0)
        missed += int((prediction[0][1] >= threshold) != label[jet])
    return missed


def batched(network: keras.Model, images: np.ndarray, label: np.ndarray) -> Evaluation:
    """All of it at once, with the ROC curve, similarities and errors besides."""
    scores = predict(network, {"image": images})
    return evaluate(scores, label, classes=CLASSES, signal="W", part="test", images=images)


def seconds(function: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def main() -> None:
    rng = np.random.default_rng(0)
    # about 60 pixels of a jet are lit; what is in them does not matter for the time
    images = rng.exponential(10, (JETS, 40, 40, 1)) * (rng.random((JETS, 40, 40, 1)) < 0.04)
    images, label = images.astype(np.float32), np.arange(JETS) % 2
    network = build_network(NotebookSettings(), {"image": (40, 40, 1)}, 2, seed=0)
    few, few_label = images[:LOOPED], label[:LOOPED]
    network.predict({"image": few[:1]}, verbose=0)
    found = batched(network, few, few_label)  # the first call of each kind compiles
    if not np.array_equal(loop_mistakes(network, few, few_label), found.confusion[[0, 1], [1, 0]]):
        raise SystemExit("loops and batched analysis disagree")
    times: dict[str, list[float]] = {"mistakes": [], "histograms": [], "threshold": [], "batched": []}
    for turn in range(ROUNDS):  # by turns, so that a change of the machine's speed meets all
        part = slice(turn * LOOPED // ROUNDS, (turn + 1) * LOOPED // ROUNDS)
        arguments = (network, few[part], few_label[part])
        times["mistakes"].append(seconds(loop_mistakes, *arguments))
        times["histograms"].append(seconds(loop_histograms, *arguments))
        times["threshold"].append(seconds(loop_threshold, *arguments, 0.5))
        times["batched"].append(seconds(batched, network, images, label))
    scaled = {name: sum(values) * JETS / LOOPED for name, values in times.items()}
    ours = statistics.mean(times["batched"])
    loops = {
        "mistakes": scaled["mistakes"],
        "score histograms": scaled["histograms"],
        f"scan of {len(THRESHOLDS)} thresholds": scaled["threshold"] * len(THRESHOLDS),
    }
    print(f"{JETS} jets; loops timed on {LOOPED} jets and scaled; one batched call does all three")
    print(f"{'analysis':40} {'loop s':>9} {'batched s':>9} {'ratio':>7}")
    for name, total in (
        *loops.items(),
        ("all", sum(loops.values())),
        ("all, if each jet were predicted once", loops["mistakes"]),
    ):
        print(f"{name:40} {total:9.1f} {ours:9.2f} {total / ours:7.0f}")


if __name__ == "__main__":
    main()
