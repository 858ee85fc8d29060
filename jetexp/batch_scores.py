"""Files of jets scored by a registered model: in the order of the jets, block by block, and resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import mlflow
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from jetexp import __version__
from jetexp.cluster import check_workers
from jetexp.console import import_quietly, progress
from jetexp.errors import ModelError
from jetexp.file_summary import classes_in
from jetexp.files import whole_file, whole_folder
from jetexp.inference import ForwardPass, compiled, forward_in_batches
from jetexp.inputs import Inputs, make_inputs
from jetexp.jets.files import JetFiles
from jetexp.jets.sample import Jets, concatenate, jet_hash
from jetexp.jets.settings import JetFileSettings
from jetexp.jets.store import read_jets, write_jets
from jetexp.mlflow_store import first_line
from jetexp.serving import DISCRIMINANT, ServedSettings, load_tagger, opened_tagger
from jetexp.workers import finished_tasks

if TYPE_CHECKING:
    import keras
    from distributed import Client

__all__ = ["BatchScores", "score_files"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

# jets of one part; what an interruption loses at most
BLOCK = 20_000
# blocks that are prepared while another is scored, or while the network is loaded
BLOCKS_AHEAD = 3
# keys of the metadata of the file
MODEL, MODEL_ID, JETS, FINGERPRINT, PROVENANCE = "model", "model_id", "jets", "jets_fingerprint", "provenance"


@dataclass(frozen=True)
class BatchScores:
    """What scoring came to.

    Attributes
    ----------
    path : Path
        The file.
    jets : int
        Jets that are in it.
    found : int
        Of these, jets that had been scored before an interruption.
    seconds : float
        Wall time.
    """

    path: Path
    jets: int
    found: int
    seconds: float


def score_files(
    model_uri: str,
    settings: JetFileSettings,
    output: Path,
    *,
    block: int = BLOCK,
    cluster: Client | None = None,
) -> BatchScores:
    """Score the jets of files, and write a row a jet to a Parquet file.

    The jets are read and scored some at a time, so that memory does not grow with them. Scores of finished
    blocks stay in a folder beside the output until it is whole: called again after an interruption, the
    same command makes what is missing, and the file is byte for byte what it would have been. Network and
    preprocessing are the model's settings, run by the present code.

    Parameters
    ----------
    model_uri : str
        Such as ``models:/w-vs-qcd@champion``.
    settings : JetFileSettings
        The files, of any form that can be read.
    output : Path
        The Parquet file: a column for the probability of each class, and ``discriminant``; its metadata name
        model, model id and the fingerprint of the jets.
    block : int
        Jets of one part.
    cluster : distributed.Client, optional
        A Dask cluster whose workers, which must see the output's folder, score the blocks.

    Returns
    -------
    BatchScores
        What was done.

    Raises
    ------
    ModelError
        If there is no such model, or it needs charges that the jets have not.
    JetFileError
        If a file cannot be read.
    JetexpError
        If the cluster's workers cannot do it.
    """
    started = time.perf_counter()
    model_id = _model_id(model_uri)
    # by its id, as an alias may move meanwhile
    address = f"models:/{model_id}"
    parts = output.parent / f".{output.name}.parts"
    done: list[_Part] = []
    with opened_tagger(address) as (served, load_network), progress() as display:
        known = classes_in(settings)
        reader = JetFiles(known.settings, known.classes)
        _keep_only(parts, {MODEL_ID: model_id, "block": block})
        bar = display.add_task("scoring", total=known.jets or None, rate="")
        coming = _parts(_blocks(reader.batches(), block), parts, served)
        if cluster is None:
            scored = _scored_here(coming, served, load_network)
        else:
            scored = _scored_by(cluster, coming, address, parts)
        with closing(scored):
            for one in scored:
                done.append(one)
                rate = f"{sum(part.jets for part in done) / (time.perf_counter() - started):.0f} jets/s"
                display.update(bar, advance=one.jets, rate=rate)
    done.sort(key=lambda part: part.path)
    jets = sum(part.jets for part in done)
    told: dict[str, Any] = {
        MODEL: model_uri,
        MODEL_ID: model_id,
        JETS: jets,
        FINGERPRINT: hashlib.sha256(b"".join(part.hashes for part in done)).hexdigest(),
        PROVENANCE: reader.provenance(),
    }
    _join(
        [part.path for part in done],
        output,
        {f"jetexp.{key}": json.dumps(value) for key, value in told.items()},
    )
    shutil.rmtree(parts)
    found = sum(part.jets for part in done if part.found)
    return BatchScores(output, jets, found, time.perf_counter() - started)


def _model_id(model_uri: str) -> str:
    """Name the model behind an address, which may move."""
    try:
        model = Model.load(model_uri)
    except (MlflowException, OSError, ValueError) as error:
        raise ModelError(f"{model_uri} cannot be read: {first_line(error)}.") from error
    if model.model_id is None:
        raise ModelError(f"{model_uri} has no model id: log it with MLflow 3.")
    return str(model.model_id)


def _blocks(batches: Iterable[Jets], size: int) -> Iterator[Jets]:
    """Cut batches of any size into blocks of one size, but for the last."""
    held: list[Jets] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += len(batch)
        if count < size:
            continue
        together = concatenate(held)
        whole = count - count % size
        for start in range(0, whole, size):
            yield together.between(start, start + size)
        held, count = [together.between(whole, count)], count - whole
    if count:
        yield concatenate(held)


@dataclass(frozen=True)
class _Part:
    """A block of jets, and where its scores are or belong."""

    path: Path
    jets: int
    fingerprint: str
    hashes: bytes
    found: bool


def _parts(
    blocks: Iterable[Jets], folder: Path, served: ServedSettings
) -> Iterator[tuple[_Part, Jets | None]]:
    """Name the parts; give those whose scores are not there yet with their jets."""
    for number, jets in enumerate(blocks):
        path, hashes = folder / f"{number:08d}.parquet", jet_hash(jets).astype("<u8").tobytes()
        fingerprint = hashlib.sha256(hashes).hexdigest()
        found = _is_of(path, fingerprint)
        if not found and served.inputs.need_charge and jets.constituent_charge is None:
            raise ModelError("This model looks at charges, which the jets of these files do not have.")
        yield _Part(path, len(jets), fingerprint, hashes, found), None if found else jets


def _scored_here(
    coming: Iterator[tuple[_Part, Jets | None]],
    served: ServedSettings,
    load_network: Callable[[], keras.Model],
) -> Generator[_Part, None, None]:
    """Score parts in this process, and prepare the next meanwhile."""
    prepared = ((one, None if jets is None else make_inputs(jets, served.inputs)) for one, jets in coming)
    with _ahead(prepared) as ready:
        # takes seconds, in which jets are prepared
        import_quietly("keras")
        forward = compiled(load_network())
        for one, inputs in ready:
            if inputs is not None:
                _write(one.path, _scores(forward, served, inputs), one.fingerprint)
            yield one


def _scored_by(
    cluster: Client, coming: Iterator[tuple[_Part, Jets | None]], address: str, folder: Path
) -> Generator[_Part, None, None]:
    """Have the workers of a cluster score parts: model and jets lie in the folder of the parts meanwhile."""
    check_workers(cluster, folder, _software)
    model = folder / "model"
    if not model.exists():
        with whole_folder(model) as temporary:
            mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(temporary))
    there: list[_Part] = []

    def next_part(running: Collection[_Part]) -> _Part | None:
        for one, jets in coming:
            if jets is not None:
                # of a command that was killed
                shutil.rmtree(_jets_of(one.path), ignore_errors=True)
                write_jets(jets, _jets_of(one.path))
                return one
            there.append(one)
        return None

    for one, ended in finished_tasks(
        _score_part, next_part, lambda one: (model.resolve(), one.path.resolve(), one.fingerprint), cluster
    ):
        ended.result()
        shutil.rmtree(_jets_of(one.path))
        yield one
    yield from there


def _jets_of(path: Path) -> Path:
    return path.with_suffix(".jets")


def _score_part(model: Path, path: Path, fingerprint: str) -> None:
    """Score one part, in a worker."""
    forward, served = _tagger(model)
    inputs = make_inputs(read_jets(_jets_of(path)), served.inputs)
    _write(path, _scores(forward, served, inputs), fingerprint)


@lru_cache(maxsize=1)
def _tagger(model: Path) -> tuple[ForwardPass, ServedSettings]:
    """Load a tagger, once a worker."""
    network, served = load_tagger(str(model))
    return compiled(network), served


def _software() -> dict[str, str]:
    return {"jetexp": __version__} | {name: version(name) for name in ("keras", "tensorflow", "numpy")}


@contextmanager
def _ahead(coming: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Make the first items in a thread at once, and further ones while those are worked on."""
    with ThreadPoolExecutor(1) as pool:
        futures = deque(pool.submit(next, coming, None) for _ in range(BLOCKS_AHEAD))

        def items() -> Iterator[Item]:
            while (item := futures.popleft().result()) is not None:
                futures.append(pool.submit(next, coming, None))
                yield item

        yield items()


def _scores(forward: ForwardPass, served: ServedSettings, inputs: Inputs) -> pa.Table:
    found = forward_in_batches(forward, inputs, len(served.classes))
    columns: dict[str, npt.NDArray[np.float32]] = dict(zip(served.classes, found.T, strict=True))
    columns[DISCRIMINANT] = found[:, served.classes.index(served.signal)]
    return pa.table(columns)


def _write(path: Path, table: pa.Table, fingerprint: str) -> None:
    with whole_file(path) as temporary:
        pq.write_table(table.replace_schema_metadata({FINGERPRINT: fingerprint}), temporary)


def _is_of(path: Path, fingerprint: str) -> bool:
    """Say whether a part is there, and of these jets."""
    if not path.exists():
        return False
    try:
        return (pq.read_schema(path).metadata or {}).get(FINGERPRINT.encode()) == fingerprint.encode()
    except (pa.ArrowException, OSError):
        return False


def _keep_only(parts: Path, key: dict[str, Any]) -> None:
    """Remove the parts that another model, or another size, left; say which the next are of."""
    told = parts / "key.json"
    try:
        same = json.loads(told.read_text()) == key
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(parts, ignore_errors=True)
        with whole_file(told) as temporary:
            temporary.write_text(json.dumps(key))


def _join(paths: list[Path], output: Path, metadata: dict[str, str]) -> None:
    """Put the parts together, one after the other."""
    schema = pq.read_schema(paths[0]).with_metadata(metadata)
    with whole_file(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for path in paths:
            writer.write_table(pq.read_table(path).replace_schema_metadata(metadata))
