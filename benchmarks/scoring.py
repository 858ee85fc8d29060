"""`jetexp score` on a million jets: its speed against the network's own, its memory, and a kill half way.

The network's own speed is that of its compiled forward pass on inputs that lie in memory, batch after batch,
or of Keras' own predict, whichever is faster, measured before and after. The jets are the default ones,
resampled; the network is the default one, untrained.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from default_network import JETS, ROOT, default_network
from resampled import stored
from watch import peak_memory

from jetexp.batch_scores import BLOCK
from jetexp.inference import compiled
from jetexp.inputs import Inputs, make_inputs, number_of_jets, some_inputs
from jetexp.jets.load import load_jets
from jetexp.jets.settings import GenerationSettings
from jetexp.tracking import open_parent

if TYPE_CHECKING:
    import keras

ROUNDS, SIZES = 3, (256, 1024)


def own_speed(network: keras.Model, inputs: Inputs) -> float:
    """Give the jets a second of the network alone: the best of ways, sizes of batches and rounds."""
    forward, number = compiled(network), number_of_jets(inputs)

    def in_turn(size: int) -> None:
        for first in range(0, number, size):
            forward(some_inputs(inputs, slice(first, first + size)))

    def by_keras(size: int) -> None:
        network.predict(inputs, batch_size=size, verbose=0)

    seconds = []
    for way in (in_turn, by_keras):
        for size in SIZES:
            for _ in range(ROUNDS):
                begin = time.perf_counter()
                way(size)
                seconds.append(time.perf_counter() - begin)
    return number / min(seconds)


def score(model: str, sample: Path, output: Path) -> subprocess.Popen[str]:
    """Start `jetexp score` in a process of its own."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "jetexp", "score", model, str(sample), "-o", str(output)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jets", nargs="?", type=int, default=1_000_000)
    number = parser.parse_args().jets
    with tempfile.TemporaryDirectory(dir=ROOT) as temporary:
        folder = Path(temporary)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        mlflow.create_experiment("scoring", artifact_location=str(folder / "artifacts"))
        sample = stored(number, folder)
        some = load_jets(GenerationSettings(per_class=10_000, seed=1), ["QCD", "W"], JETS)
        network, served = default_network(some)
        with open_parent("scoring", "tagger", served=served) as recorder:
            recorder.network(network)
        inputs = make_inputs(some, served.inputs)
        before = own_speed(network, inputs)
        begin = time.perf_counter()
        running = score(recorder.model_uri, sample, folder / "whole.parquet")
        peak = peak_memory(running)
        speed = number / (time.perf_counter() - begin)
        own = (before + own_speed(network, inputs)) / 2
        print(f"network alone {own:.0f} jets/s; jetexp score, start included, {speed:.0f} jets/s")
        print(f"ratio {speed / own:.2f}, peak memory {peak:.2f} GB")

        output, parts = folder / "scores.parquet", folder / ".scores.parquet.parts"
        running = score(recorder.model_uri, sample, output)
        while running.poll() is None and len(list(parts.glob("0*.parquet"))) < number / BLOCK / 2:
            time.sleep(0.2)
        running.send_signal(signal.SIGKILL)
        running.wait()
        left = len(list(parts.glob("0*.parquet")))
        if score(recorder.model_uri, sample, output).wait():
            raise SystemExit("jetexp score failed")
        same = output.read_bytes() == (folder / "whole.parquet").read_bytes()
        print(
            f"killed after {left} of {-(-number // BLOCK)} blocks, and gone on with: "
            f"the file is {'the same' if same else 'ANOTHER'}, byte for byte"
        )


if __name__ == "__main__":
    main()
