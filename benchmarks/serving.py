"""The served tagger against the same network served as a plain Keras model, on loopback, one worker each.

The default network. Its own form takes constituents, as JSON or Parquet, or raw images of 40 x 40 pixels; the
plain model takes the network's input tensors as JSON `instances`, made beforehand, which costs it nothing.
Requests go to both by turns, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from default_network import JETS, ROOT, default_network
from mlflow.models import infer_signature

from jetexp.images import make_images
from jetexp.inputs import make_inputs
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.serving import ServedSettings
from jetexp.tracking import open_parent

sys.path.insert(0, str(ROOT / "tests"))
from servers import post, serve

BATCH = 512
JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
Request = tuple[bytes, str]


def models(jets: Jets, folder: Path) -> tuple[str, str, ServedSettings]:
    """Log the default network twice; give the folders of the served tagger and of the plain model."""
    network, served = default_network(jets)
    with open_parent("serving", "tagger", served=served) as recorder:
        recorder.network(network)
        arrays = {name: np.asarray(values[:2]) for name, values in make_inputs(jets, served.inputs).items()}
        signature = infer_signature(arrays, network.predict(arrays, verbose=0))
        plain = mlflow.keras.log_model(network, name="plain", signature=signature)
    found = []
    for name, address in (("tagger", recorder.model_uri), ("plain", plain.model_uri)):
        found.append(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder / name)))
    return found[0], found[1], served


def table(jets: Jets) -> pd.DataFrame:
    """Give constituents as people have them."""
    columns = {"pt": jets.constituent_pt, "eta": jets.constituent_eta, "phi": jets.constituent_phi}
    return pd.DataFrame(
        {
            name: [jet.tolist() for jet in np.split(values.astype(float).round(6), jets.offsets[1:-1])]
            for name, values in columns.items()
        }
    )


def requests(jets: Jets, served: ServedSettings) -> dict[str, Request]:
    """Give the same jets in each form; the last is the plain model's."""
    constituents = table(jets)
    parquet = io.BytesIO()
    constituents.to_parquet(parquet)
    raw = make_images(jets, served.raw_images)
    inputs = make_inputs(jets, served.inputs)
    arrays = {name: np.asarray(values[:]).round(6).tolist() for name, values in inputs.items()}
    instances = [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
    return {
        "constituents, JSON": (dumped(dataframe_split=constituents.to_dict("split")), JSON),
        "constituents, Parquet": (parquet.getvalue(), PARQUET),
        "raw images, JSON": (dumped(instances=raw[..., 0].round(3).tolist()), JSON),
        "input tensors, JSON": (dumped(instances=instances), JSON),
    }


def dumped(**content: object) -> bytes:
    return json.dumps(content).encode()


def seconds_of(port: int, request: Request) -> float:
    """Send a request, see that it is answered, and give the time until it was."""
    begin = time.perf_counter()
    status, answer = post(port, *request)
    seconds = time.perf_counter() - begin
    if status != 200:
        raise RuntimeError(f"{status}: {answer}")
    return seconds


def measured(ports: dict[str, int], wanted: dict[str, Request], rounds: int) -> dict[str, float]:
    """Give the median time of each form."""
    seconds: dict[str, list[float]] = {form: [] for form in wanted}
    for _ in range(rounds):
        for form, request in wanted.items():
            seconds[form].append(seconds_of(ports[form], request))
    return {form: statistics.median(times) for form, times in seconds.items()}


def start(model: str, request: Request) -> float:
    """Give the time from the command to the first answer."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with serve(model, folder) as port:
            seconds_of(port, request)
            return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="requests of 512 jets in each form")
    parser.add_argument("--single", type=int, default=60, help="requests of one jet in each form")
    parser.add_argument("--starts", type=int, default=5, help="starts of each server")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as servers:
        folder = Path(temporary)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        mlflow.create_experiment("serving", artifact_location=str(folder / "artifacts"))
        mlflow.set_experiment("serving")
        jets = load_jets(GenerationSettings(per_class=300, seed=11), ["QCD", "W"], JETS)
        tagger, plain, served = models(jets, folder)
        one, many = (requests(jets.take(slice(0, number)), served) for number in (1, BATCH))
        *own, reference = many

        starts: dict[str, list[float]] = {tagger: [], plain: []}
        for _ in range(chosen.starts):
            starts[tagger].append(start(tagger, one[own[0]]))
            starts[plain].append(start(plain, one[reference]))
        ours, theirs = (statistics.median(starts[model]) for model in (tagger, plain))
        print(f"start to first answer: {ours:.1f} s, plain {theirs:.1f} s: ratio {ours / theirs:.2f}")

        ports = {}
        for name, model in (("tagger", tagger), ("plain", plain)):
            (folder / f"server-{name}").mkdir()
            port = servers.enter_context(serve(model, folder / f"server-{name}"))
            ports |= dict.fromkeys(own if name == "tagger" else [reference], port)
        first = [seconds_of(ports[own[0]], one[own[0]]) for _ in range(10)]
        print(f"one jet: first request {1e3 * first[0]:.0f} ms, tenth {1e3 * first[9]:.0f} ms")

        single, batch = measured(ports, one, chosen.single), measured(ports, many, chosen.rounds)
        print(f"\n{'':24} {'kB a jet':>8} {'jets/s':>7} {'ratio':>6} {'ms, one jet':>12} {'ratio':>6}")
        for form in many:
            print(
                f"{form:24} {len(many[form][0]) / BATCH / 1e3:8.1f} {BATCH / batch[form]:7.0f} "
                f"{batch[reference] / batch[form]:6.2f} {1e3 * single[form]:12.1f} "
                f"{single[form] / single[reference]:6.2f}"
            )


if __name__ == "__main__":
    main()
