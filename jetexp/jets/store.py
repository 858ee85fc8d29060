"""Jets on disk: a folder of Parquet parts and a manifest with their checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jetexp.errors import JetFileError
from jetexp.files import whole_folder
from jetexp.jets.collection import collect, in_blocks
from jetexp.jets.sample import Jets
from jetexp.jets.table import read_table, write_table

__all__ = [
    "JETS_PER_PART",
    "MANIFEST",
    "Manifest",
    "Part",
    "read_jets",
    "read_manifest",
    "read_parts",
    "write_jets",
]

MANIFEST = "manifest.json"
JETS_PER_PART = 50_000
MAXIMUM_MANIFEST = 10_000_000


class Part(BaseModel):
    """One Parquet file of a stored sample."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str = Field(pattern=r"^part-[0-9]{5,9}\.parquet$")
    jets: int = Field(ge=1)
    bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a stored sample holds, as its manifest.json says it.

    Attributes
    ----------
    form : int
        Version of this form of storage.
    classes : list of str
        Names of the classes, in the order of the labels.
    counts : dict
        Number of jets of each class.
    constituents : int
        Total number of constituents.
    fingerprint : str
        SHA-256 over the content, as ``Jets.fingerprint``.
    parts : list of Part
        The Parquet files in order.
    provenance : dict
        Source, settings, seed and software versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    form: int
    classes: list[str] = Field(min_length=1)
    counts: dict[str, int]
    constituents: int = Field(ge=0)
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    parts: list[Part] = Field(min_length=1)
    provenance: dict[str, Any]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_jets(jets: Jets, folder: str | Path) -> None:
    """Store jets as a folder, whole or not at all.

    Parameters
    ----------
    jets : Jets
        At least one jet.
    folder : str or Path
        The folder to make; one that is there already stays as it is.

    Raises
    ------
    JetexpError
        If the folder cannot be written or the disk is full.
    ValueError
        If there are no jets.
    """
    if not len(jets):
        raise ValueError("there are no jets to store")
    with whole_folder(folder) as temporary:
        parts = []
        for number, piece in enumerate(in_blocks(jets, JETS_PER_PART)):
            path = temporary / f"part-{number:05d}.parquet"
            write_table(piece, path)
            size, digest = path.stat().st_size, _sha256(path)
            parts.append(Part(file=path.name, jets=len(piece), bytes=size, sha256=digest))
        manifest = Manifest(
            form=1,
            classes=list(jets.classes),
            counts=jets.class_counts,
            constituents=len(jets.constituent_pt),
            fingerprint=jets.fingerprint,
            parts=parts,
            provenance=jets.provenance,
        )
        (temporary / MANIFEST).write_text(json.dumps(manifest.model_dump(), indent=2) + "\n")


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check the manifest of a stored sample.

    Parameters
    ----------
    folder : str or Path
        As written by ``write_jets``.

    Returns
    -------
    Manifest
        Validated.

    Raises
    ------
    JetFileError
        If there is none, or it is not one of ours.
    """
    path = Path(folder) / MANIFEST
    try:
        if path.stat().st_size > MAXIMUM_MANIFEST:
            raise JetFileError(f"{path} is over {MAXIMUM_MANIFEST} bytes long: no manifest of jets.")
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise JetFileError(f"{folder} holds no jets: it has no {MANIFEST}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise JetFileError(
            f"{path} is no manifest of jets: {key + ': ' if key else ''}{first['msg']}."
        ) from None
    except OSError as error:
        raise JetFileError(f"{path} cannot be read: {error.strerror}.") from error
    if manifest.form != 1:
        raise JetFileError(f"{path} is of form {manifest.form}; this version of jetexp reads form 1.")
    return manifest


def read_jets(folder: str | Path, *, scratch: Path | None = None) -> Jets:
    """Read a stored sample, its checksums verified.

    Parameters
    ----------
    folder : str or Path
        As written by ``write_jets``.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        With the provenance that was stored.

    Raises
    ------
    JetFileError
        If a file is missing, damaged, or not what the manifest says.
    """
    manifest = read_manifest(folder)
    return collect(read_parts(folder, manifest), scratch, provenance=lambda: manifest.provenance)


def read_parts(folder: str | Path, manifest: Manifest) -> Iterator[Jets]:
    """Read a stored sample part by part, its checksums verified.

    Parameters
    ----------
    folder : str or Path
        As written by ``write_jets``.
    manifest : Manifest
        Of it.

    Yields
    ------
    Jets
        One part after the other, without provenance.

    Raises
    ------
    JetFileError
        If a file is missing, damaged, or not what the manifest says; that their number is another is told
        after the last.
    """
    folder, counts = Path(folder), dict.fromkeys(manifest.classes, 0)
    for part in manifest.parts:
        jets = _read_part(folder, part, tuple(manifest.classes))
        counts = {name: counts[name] + number for name, number in jets.class_counts.items()}
        yield jets
    if counts != manifest.counts:
        raise JetFileError(f"{folder} holds {counts} jets, but {MANIFEST} says {manifest.counts}.")


def _read_part(folder: Path, part: Part, classes: tuple[str, ...]) -> Jets:
    path = folder / part.file
    try:
        size, digest = path.stat().st_size, _sha256(path)
    except FileNotFoundError:
        raise JetFileError(f"{path} is missing, but {MANIFEST} names it.") from None
    except OSError as error:
        raise JetFileError(f"{path} cannot be read: {error.strerror}.") from error
    if (size, digest) != (part.bytes, part.sha256):
        raise JetFileError(f"{path} is damaged: its checksum is not the one in {MANIFEST}.")
    jets = read_table(path, classes)
    if len(jets) != part.jets:
        raise JetFileError(f"{path} holds {len(jets)} jets, but {MANIFEST} says {part.jets}.")
    return jets
