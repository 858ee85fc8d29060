"""What showing a part of the training jets as raw images is worth, on both forms that a served tagger takes.

The default network and its training, with different `augmentation.pixelate`, a few seeds each, on the jets of
its experiment; tested on the same test jets as constituents, and as raw images. Nothing is promoted.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from default_network import JETS, ROOT

from jetexp.evaluation.report import Evaluation
from jetexp.evaluation.summary import summarise
from jetexp.experiment import Experiment
from jetexp.experiment_file import override, read_experiment
from jetexp.fit_store import FitStore
from jetexp.fit_task import fit_into_store, task_of
from jetexp.inputs import make_inputs
from jetexp.jets.pixels import jets_from_images
from jetexp.parts import load_parts
from jetexp.recording import evaluated, raw_images, served_settings
from jetexp.taggers.catalogue import input_settings
from jetexp.training import predict
from jetexp.workers import cores, finished_tasks

EXPERIMENT = ROOT / "experiments" / "w_vs_qcd.yaml"
# bytes that inputs of test jets may take
MEMORY = 5e8


def with_mixture(experiment: Experiment, pixelate: float) -> Experiment:
    """Give the experiment with a part of its training jets shown as raw images."""
    augmentation = experiment.training.augmentation.model_copy(update={"pixelate": pixelate})
    training = experiment.training.model_copy(update={"augmentation": augmentation})
    return experiment.model_copy(update={"training": training})


def told(evaluations: list[Evaluation]) -> str:
    """Write AUC and rejection as mean, statistical error and, in brackets, spread over seeds."""
    found = summarise(evaluations).measurements
    auc, rejection = found["auc"], found["rejection_50"]
    return (
        f"{auc.mean:.4f} ± {auc.error:.4f} ({auc.spread or 0:.4f})   "
        f"{rejection.mean:5.1f} ± {rejection.error:4.1f} ({rejection.spread or 0:4.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixelate", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    chosen = parser.parse_args()
    experiment = override(read_experiment(EXPERIMENT), epochs=chosen.epochs)
    jets = load_parts(experiment, JETS)
    served = served_settings(experiment)
    as_images = jets_from_images(raw_images(jets.test, served)[:], half_width=served.half_width)
    inputs = input_settings(experiment.tagger, experiment.images)
    forms = {
        "constituents": make_inputs(jets.test, inputs, memory=MEMORY),
        "raw images": make_inputs(as_images, inputs, memory=MEMORY),
    }
    with tempfile.TemporaryDirectory() as folder:
        store = FitStore(Path(folder))
        tasks = {
            (pixelate, seed): task_of(
                experiment,
                jets,
                with_mixture(experiment, pixelate).taggers[0],
                seed,
                name=f"{pixelate:g} seed-{seed:02d}",
                cache=JETS / "observables",
            )
            for pixelate in chosen.pixelate
            for seed in range(chosen.seeds)
        }
        coming = list(tasks.values())
        for _, ended in finished_tasks(
            fit_into_store,
            lambda running: coming.pop(0) if coming else None,
            lambda task: (task, store),
            cores(),
        ):
            ended.result()
        networks = {which: store.load(task.key)[0] for which, task in tasks.items()}
    print(f"{'shown as images':>15}   {'tested on':12}   {'AUC':24}   rejection at 50 %")
    for pixelate in chosen.pixelate:
        for form, given in forms.items():
            evaluations = [
                evaluated(experiment, predict(networks[pixelate, seed], given), jets.test.label, part="test")
                for seed in range(chosen.seeds)
            ]
            print(f"{pixelate:15g}   {form:12}   {told(evaluations)}")


if __name__ == "__main__":
    main()
