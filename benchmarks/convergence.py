"""Time to the notebook network's own final AUC: the default network against the notebook's.

Both are trained as their experiment files say, on the same jets, and judged after each epoch by the same
10 000 validation jets. The clock starts before the first step, compilation included, and counts the judging.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from jetexp.experiment_file import read_experiment
from jetexp.fit_task import training_parts
from jetexp.jets.load import load_jets
from jetexp.parts import load_parts
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_network, input_settings
from jetexp.training import History, fit

ROOT = Path(__file__).parent.parent
JETS = ROOT / "jets"
WANTED = 4.0
# of no other sample of the experiments
VALIDATION_SEED = 3


def trained(name: str) -> History:
    """Train an experiment's network once."""
    experiment = read_experiment(ROOT / "experiments" / f"{name}.yaml")
    train = load_parts(experiment, JETS).train
    judges = experiment.jets.model_copy(update={"per_class": 5000, "seed": VALIDATION_SEED})
    validation = load_jets(judges, experiment.classes, JETS)
    settings = input_settings(experiment.tagger, experiment.images)
    parts = training_parts(train, validation, settings, experiment.classes.index(experiment.signal), None)
    network = build_network(experiment.tagger, parts.train.shapes, len(experiment.classes), experiment.seed)
    return fit(network, parts, experiment.training, seed=experiment.seed, recorder=NullRecorder())


def reached(history: History, auc: float) -> tuple[int, float] | None:
    """Find the epoch and the seconds after which an AUC was reached."""
    for epoch, (seconds, value) in enumerate(zip(accumulate(history.seconds), history.val_auc, strict=True)):
        if value >= auc:
            return epoch + 1, seconds
    return None


def main() -> None:
    histories = {name: trained(name) for name in ("notebook", "w_vs_qcd")}
    final = histories["notebook"].val_auc[-1]
    print(f"validation AUC {final:.4f}, the notebook network's after its last epoch")
    times = {}
    for name, history in histories.items():
        found = reached(history, final)
        if found is None:
            raise SystemExit(f"{name} never reached it (best {max(history.val_auc):.4f})")
        times[name] = found[1]
        print(
            f"{name:10} epoch {found[0]:2}, {found[1]:6.1f} s "
            f"(best AUC {max(history.val_auc):.4f} in {sum(history.seconds):.0f} s)"
        )
    ratio = times["notebook"] / times["w_vs_qcd"]
    print(f"sooner by {ratio:.1f} (wanted: {WANTED:g})")
    if ratio < WANTED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
