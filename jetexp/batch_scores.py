"""Files of jets scored by a registered model: in the order of the jets, block by block, and resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from jetexp.console import import_quietly, progress
from jetexp.errors import ModelError
from jetexp.file_summary import classes_in
from jetexp.files import whole_file
from jetexp.inference import ForwardPass, compiled, forward_in_batches
from jetexp.inputs import Inputs, make_inputs
from jetexp.jets.files import JetFiles
from jetexp.jets.sample import Jets, concatenate, jet_hash
from jetexp.jets.settings import JetFileSettings
from jetexp.mlflow_store import first_line
from jetexp.serving import DISCRIMINANT, ServedSettings, opened_tagger

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
    model_uri: str, settings: JetFileSettings, output: Path, *, block: int = BLOCK
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
    """
    started = time.perf_counter()
    model_id = _model_id(model_uri)
    parts = output.parent / f".{output.name}.parts"
    digest, paths, jets, found = hashlib.sha256(), [], 0, 0
    with (
        # by its id, as an alias may move meanwhile
        opened_tagger(f"models:/{model_id}") as (served, load_network),
        progress() as display,
    ):
        known = classes_in(settings)
        reader = JetFiles(known.settings, known.classes)
        _keep_only(parts, {MODEL_ID: model_id, "block": block})
        bar = display.add_task("scoring", total=known.jets or None, rate="")
        with _ahead(_parts(_blocks(reader.batches(), block), parts, served)) as prepared:
            # takes seconds, in which jets are prepared
            import_quietly("keras")
            forward = compiled(load_network())
            for one in prepared:
                digest.update(one.hashes)
                if one.inputs is None:
                    found += one.jets
                else:
                    _write(one.path, _scores(forward, served, one.inputs), one.fingerprint)
                paths.append(one.path)
                jets += one.jets
                rate = f"{jets / (time.perf_counter() - started):.0f} jets/s"
                display.update(bar, advance=one.jets, rate=rate)
    told: dict[str, Any] = {
        MODEL: model_uri,
        MODEL_ID: model_id,
        JETS: jets,
        FINGERPRINT: digest.hexdigest(),
        PROVENANCE: reader.provenance(),
    }
    _join(paths, output, {f"jetexp.{key}": json.dumps(value) for key, value in told.items()})
    shutil.rmtree(parts)
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
    """A block of jets; without inputs, if its scores are there already."""

    path: Path
    jets: int
    fingerprint: str
    hashes: bytes
    inputs: Inputs | None


def _parts(blocks: Iterable[Jets], folder: Path, served: ServedSettings) -> Iterator[_Part]:
    for number, jets in enumerate(blocks):
        path, hashes = folder / f"{number:08d}.parquet", jet_hash(jets).astype("<u8").tobytes()
        fingerprint = hashlib.sha256(hashes).hexdigest()
        if _is_of(path, fingerprint):
            yield _Part(path, len(jets), fingerprint, hashes, None)
            continue
        if served.inputs.need_charge and jets.constituent_charge is None:
            raise ModelError("This model looks at charges, which the jets of these files do not have.")
        yield _Part(path, len(jets), fingerprint, hashes, make_inputs(jets, served.inputs))


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
