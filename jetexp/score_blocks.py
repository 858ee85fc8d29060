"""Blocks of jets scored by a tagger, here or by the workers of a cluster, and kept until all are."""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import mlflow
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jetexp import __version__
from jetexp.cluster import check_workers
from jetexp.console import import_quietly
from jetexp.errors import ModelError
from jetexp.files import whole_file, whole_folder
from jetexp.inference import ForwardPass, compiled, forward_in_batches
from jetexp.inputs import Inputs, make_inputs
from jetexp.jets.sample import Jets, jet_hash
from jetexp.jets.store import read_jets, write_jets
from jetexp.serving import DISCRIMINANT, ServedSettings, load_tagger
from jetexp.workers import finished_tasks

if TYPE_CHECKING:
    import keras
    from distributed import Client

__all__ = ["FINGERPRINT", "Part", "parts_of", "scored_by", "scored_here"]

Item = TypeVar("Item")

# blocks that are prepared while another is scored, or while the network is loaded
BLOCKS_AHEAD = 3
# key of the metadata of a part's file
FINGERPRINT = "jets_fingerprint"
# columns that say where a jet was read
SOURCE, ROW = "source", "row"


@dataclass(frozen=True)
class Part:
    """A block of jets, and where its scores are or belong.

    Attributes
    ----------
    path : Path
        The file of its scores.
    jets : int
        Number of its jets.
    fingerprint : str
        Of the jets.
    hashes : bytes
        Of each jet.
    found : bool
        Whether the scores were there already.
    """

    path: Path
    jets: int
    fingerprint: str
    hashes: bytes
    found: bool

    @property
    def rows(self) -> Path:
        """The file of where its jets were read."""
        return self.path.with_suffix(".rows")


def parts_of(
    blocks: Iterable[Jets], folder: Path, served: ServedSettings
) -> Iterator[tuple[Part, Jets | None]]:
    """Name the parts of a file.

    Parameters
    ----------
    blocks : iterable of Jets
        The jets, block by block.
    folder : Path
        Where scores of parts are kept.
    served : ServedSettings
        Of the tagger that scores.

    Yields
    ------
    Part
        In order.
    Jets or None
        Its jets, if its scores are not there yet.

    Raises
    ------
    ModelError
        If the tagger needs charges that the jets have not.
    """
    for number, jets in enumerate(blocks):
        path, hashes = folder / f"{number:08d}.parquet", jet_hash(jets).astype("<u8").tobytes()
        fingerprint = hashlib.sha256(hashes).hexdigest()
        found = _is_of(path, fingerprint)
        if not found and served.inputs.need_charge and jets.constituent_charge is None:
            raise ModelError("This model looks at charges, which the jets of these files do not have.")
        part = Part(path, len(jets), fingerprint, hashes, found)
        pq.write_table(_places(jets), part.rows)
        yield part, None if found else jets


def scored_here(
    coming: Iterator[tuple[Part, Jets | None]],
    served: ServedSettings,
    load_network: Callable[[], keras.Model],
) -> Generator[Part, None, None]:
    """Score parts in this process, and prepare the next meanwhile.

    Parameters
    ----------
    coming : iterator of Part and Jets
        As :func:`parts_of` gives them.
    served : ServedSettings
        How inputs are made.
    load_network : callable
        Loads the network.

    Yields
    ------
    Part
        When its scores are there.
    """
    prepared = ((one, None if jets is None else make_inputs(jets, served.inputs)) for one, jets in coming)
    with _ahead(prepared) as ready:
        # takes seconds, in which jets are prepared
        import_quietly("keras")
        forward = compiled(load_network())
        for one, inputs in ready:
            if inputs is not None:
                _write(one.path, _scores(forward, served, inputs), one.fingerprint)
            yield one


def scored_by(
    cluster: Client, coming: Iterator[tuple[Part, Jets | None]], address: str, folder: Path
) -> Generator[Part, None, None]:
    """Have the workers of a cluster score parts: model and jets lie in the folder of the parts meanwhile.

    Parameters
    ----------
    cluster : distributed.Client
        Connected.
    coming : iterator of Part and Jets
        As :func:`parts_of` gives them.
    address : str
        Of the model, such as ``models:/m-...``.
    folder : Path
        Of the parts, which the workers must see.

    Yields
    ------
    Part
        When its scores are there, in any order.

    Raises
    ------
    JetexpError
        If the workers cannot do it.
    """
    check_workers(cluster, folder, _software)
    # workers outlive a command, and know a model by its folder
    model = folder / address.rsplit("/", 1)[-1]
    if not model.exists():
        with whole_folder(model) as temporary:
            mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(temporary))
    there: list[Part] = []

    def next_part(running: Collection[Part]) -> Part | None:
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


def _places(jets: Jets) -> pa.Table:
    """Say where jets were read; a name that many share is written once."""
    return pa.table({SOURCE: pa.array(jets.source, pa.string()).dictionary_encode(), ROW: jets.row})


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
