"""Time to the notebook network's own final AUC: the default network against the notebook's.

Both are trained as their experiment files say, on the same jets, and judged after each epoch by the same
10 000 validation jets. The clock starts before the step is compiled, and counts the judging. One after the
other, a few times, as other work on the machine may slow either down; the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from jetexp.experiment_file import read_experiment
from jetexp.fit_task import training_parts
from jetexp.jets.load import load_jets
from jetexp.parts import load_parts
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_network, input_settings
from jetexp.training import fit

ROOT = Path(__file__).parent.parent
JETS = ROOT / "jets"
WANTED = 4.0
# of no other sample of the experiments
VALIDATION_SEED = 3


class ReachedError(Exception):
    """The AUC that was waited for."""


class Clock(NullRecorder):
    """Notes when each epoch was judged, and how; ends a fit that reaches an AUC."""

    def __init__(self, until: float | None) -> None:
        self.epochs: list[tuple[float, float]] = []
        self.until = until
        self.started = time.perf_counter()

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        self.epochs.append((time.perf_counter() - self.started, values["val_auc"]))
        if self.until is not None and values["val_auc"] >= self.until:
            raise ReachedError


def trained(name: str, until: float | None = None) -> list[tuple[float, float]]:
    """Train an experiment's network once; give the seconds and the AUC after each epoch."""
    experiment = read_experiment(ROOT / "experiments" / f"{name}.yaml")
    train = load_parts(experiment, JETS).train
    judges = experiment.jets.model_copy(update={"per_class": 5000, "seed": VALIDATION_SEED})
    validation = load_jets(judges, experiment.classes, JETS)
    settings = input_settings(experiment.tagger, experiment.images)
    parts = training_parts(train, validation, settings, experiment.classes.index(experiment.signal), None)
    network = build_network(experiment.tagger, parts.train.shapes, len(experiment.classes), experiment.seed)
    clock = Clock(until)
    with suppress(ReachedError):
        fit(network, parts, experiment.training, seed=experiment.seed, recorder=clock)
    return clock.epochs


def first_at(epochs: list[tuple[float, float]], auc: float) -> tuple[int, float]:
    """Find the epoch and the seconds after which an AUC was reached."""
    for number, (seconds, value) in enumerate(epochs, start=1):
        if value >= auc:
            return number, seconds
    raise SystemExit(f"an AUC of {auc:.4f} was never reached (best {max(value for _, value in epochs):.4f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    ratios = []
    for _ in range(parser.parse_args().rounds):
        notebook = trained("notebook")
        final = notebook[-1][1]
        slow_epoch, slow = first_at(notebook, final)
        epoch, quick = first_at(trained("w_vs_qcd", until=final), final)
        ratios.append(slow / quick)
        print(
            f"validation AUC {final:.4f}, the notebook network's after its last epoch: reached by it after "
            f"{slow:.1f} s (epoch {slow_epoch}), by w_vs_qcd after {quick:.1f} s (epoch {epoch}): "
            f"sooner by {ratios[-1]:.1f}",
            flush=True,
        )
    ratio = statistics.median(ratios)
    print(f"sooner by {ratio:.1f} (wanted: {WANTED:g})")
    if ratio < WANTED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
