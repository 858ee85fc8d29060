"""Files of jets scored by a registered model: in the order of the jets, block by block, and resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from jetexp.console import progress
from jetexp.errors import ModelError
from jetexp.file_summary import classes_in
from jetexp.files import whole_file
from jetexp.fit_store import package_key
from jetexp.jets.files import JetFiles
from jetexp.jets.sample import Jets, concatenate
from jetexp.jets.settings import JetFileSettings
from jetexp.mlflow_store import first_line
from jetexp.score_blocks import FINGERPRINT, Part, parts_of, scored_by, scored_here
from jetexp.serving import opened_tagger

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["BatchScores", "score_files"]

# jets of one part; what an interruption loses at most
BLOCK = 20_000
# keys of the metadata of the file
MODEL, MODEL_ID, JETS, PROVENANCE = "model", "model_id", "jets", "provenance"


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
        The Parquet file: a column for the probability of each class, ``discriminant``, and where the jet was
        read, as jets that cannot be judged have no row: ``source``, the file (and the array, if each class
        has one), and ``row``, from 0. Its metadata name model, model id and the fingerprint of the jets.
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
    done: list[Part] = []
    with opened_tagger(address) as (served, load_network), progress() as display:
        known = classes_in(settings)
        reader = JetFiles(known.settings, known.classes)
        _keep_only(parts, {MODEL_ID: model_id, "block": block, "code": package_key()})
        bar = display.add_task("scoring", total=known.jets or None, rate="")
        coming = parts_of(_blocks(reader.batches(), block), parts, served)
        if cluster is None:
            scored = scored_here(coming, served, load_network)
        else:
            scored = scored_by(cluster, coming, address, parts)
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
        done,
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


def _keep_only(parts: Path, key: dict[str, Any]) -> None:
    """Remove the parts that another model, size or code left; say which the next are of."""
    told = parts / "key.json"
    try:
        same = json.loads(told.read_text()) == key
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(parts, ignore_errors=True)
        with whole_file(told) as temporary:
            temporary.write_text(json.dumps(key))


def _join(parts: list[Part], output: Path, metadata: dict[str, str]) -> None:
    """Put the parts together, one after the other."""

    def table(part: Part) -> pa.Table:
        scores, places = pq.read_table(part.path), pq.read_table(part.rows)
        for name in places.column_names:
            scores = scores.append_column(name, places[name])
        return scores.replace_schema_metadata(metadata)

    with whole_file(output) as temporary, pq.ParquetWriter(temporary, table(parts[0]).schema) as writer:
        for part in parts:
            writer.write_table(table(part))
