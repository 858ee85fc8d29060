"""Many experiments, one table; what is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.experiment_file import validated
from jetexp.files import whole_file
from jetexp.fit_store import FitStore, package_key, software
from jetexp.jets.files import found_files
from jetexp.jets.settings import JetFileSettings
from jetexp.pipeline import Outcome, run_experiment
from jetexp.results import figures_of_results
from jetexp.sentences import markdown_table, sentence
from jetexp.tracking import MlflowRecorder, open_parent

__all__ = ["ExperimentResult", "SuiteResult", "fast", "find_experiments", "run_suite"]

logger = logging.getLogger(__name__)

# the budget of a fast suite, which shows that everything works and measures nothing
FAST_JETS = 160
FAST_SMALLEST = 8
FAST_FRACTION = 300


@dataclass(frozen=True)
class ExperimentResult:
    """What one experiment of the suite came to.

    Attributes
    ----------
    name : str
        Of the experiment.
    description : str
        What it shows.
    key : str
        Of its settings, its files of jets, the package's code and Keras: the result of others is not taken
        for its own.
    run_id : str
        Its parent run.
    rows : list of dict
        Its results, one a tagger and variant.
    comparisons : dict of str to str
        Sentences, by what is compared.
    seconds : float
        Wall time of the execution that finished it; fits that were there already took none.
    """

    name: str
    description: str
    key: str
    run_id: str
    rows: list[dict[str, Any]]
    comparisons: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class SuiteResult:
    """What a suite came to.

    Attributes
    ----------
    results : tuple of ExperimentResult
        Of the experiments that ended well.
    failures : dict of str to str
        Why the others did not, by name.
    table : str
        All results in Markdown.
    run_id : str
        The suite's own run.
    """

    results: tuple[ExperimentResult, ...]
    failures: dict[str, str]
    table: str
    run_id: str


def find_experiments(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Find experiment files.

    Parameters
    ----------
    folder : Path
        Holds one YAML file an experiment.
    names : sequence of str
        Those wanted, in this order; by default all, by name.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    JetexpError
        If there is none, or none of a name.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if not found:
        raise JetexpError(f"There is no experiment file in {folder}.")
    for name in names:
        if name not in found:
            raise JetexpError(f"There is no experiment {name!r} in {folder}; there are {', '.join(found)}.")
    return [found[name] for name in names or found]


def fast(experiment: Experiment) -> Experiment:
    """Cut an experiment down to a tiny budget, with every part still in it.

    Parameters
    ----------
    experiment : Experiment
        As read from its file.

    Returns
    -------
    Experiment
        Few jets, one trial, one epoch; two seeds at most, one where there are variants.
    """
    seeds = 1 if experiment.variants else 2
    return validated(_cut(experiment.content(), seeds), f"experiment {experiment.name}, made fast")


def _cut(content: Any, seeds: int) -> Any:
    if isinstance(content, list):
        return [_cut(one, seeds) for one in content]
    if not isinstance(content, dict):
        return content
    result = {key: _cut(value, seeds) for key, value in content.items()}
    limits = {"per_class": FAST_JETS, "trials": 1, "epochs": 1, "seeds": seeds, "pileup": 5.0}
    for key, limit in limits.items():
        if isinstance(result.get(key), int | float):
            result[key] = min(result[key], limit)
    if isinstance(result.get("train_per_class"), int):
        result["train_per_class"] = max(FAST_SMALLEST, result["train_per_class"] // FAST_FRACTION)
    return result


def run_suite(
    experiments: Sequence[Experiment], *, folder: Path, jets_folder: Path, workers: int | None = None
) -> SuiteResult:
    """Run experiments one after the other; one that fails does not keep the others from running.

    A suite measures: no model is registered.

    Parameters
    ----------
    experiments : sequence of Experiment
        What to do.
    folder : Path
        Where finished fits and results are kept, ``table.md``, and the figures.
    jets_folder : Path
        Where generated jets are kept.
    workers : int, optional
        Processes that generate jets; by default one a core.

    Returns
    -------
    SuiteResult
        Results, failures, and the table of all results that the folder holds, of earlier suites too.
    """
    results: list[ExperimentResult] = []
    failures: dict[str, str] = {}
    with open_parent("suite", "suite", description="All experiments, one table.") as parent, _runs_apart():
        for experiment in experiments:
            known = _read_result(folder, experiment)
            if known is not None:
                logger.info("%s is finished: run %s", experiment.name, known.run_id)
                results.append(known)
                continue
            logger.info("%s: %s", experiment.name, experiment.description)
            try:
                results.append(_run(experiment, folder, jets_folder, workers))
            except Exception as error:
                told = isinstance(error, JetexpError)
                failures[experiment.name] = str(error) if told else f"{type(error).__name__}: {error}"
                logger.warning("%s failed: %s", experiment.name, error, exc_info=not told)
            _write_table(folder, failures, parent)
        table = _write_table(folder, failures, parent)
        parent.result("failures", failures)
    return SuiteResult(tuple(results), failures, table, parent.run_id)


@contextmanager
def _runs_apart() -> Iterator[None]:
    """Let each experiment open a run of its own, though `mlflow run` opened one for the suite."""
    opened = os.environ.pop("MLFLOW_RUN_ID", None)
    try:
        yield
    finally:
        if opened is not None:
            os.environ["MLFLOW_RUN_ID"] = opened


def _run(experiment: Experiment, folder: Path, jets_folder: Path, workers: int | None) -> ExperimentResult:
    started = time.perf_counter()
    outcome = run_experiment(
        experiment.model_copy(update={"registered_model": None}),
        jets_folder=jets_folder,
        workers=workers,
        store=FitStore(folder / "fits"),
    )
    result = ExperimentResult(
        name=experiment.name,
        description=experiment.description,
        key=_key(experiment),
        run_id=outcome.run_id,
        rows=[one.to_dict() for one in outcome.results],
        comparisons={name: sentence(one) for name, one in outcome.comparisons.items()},
        seconds=time.perf_counter() - started,
    )
    _save_figures(outcome, folder)
    with whole_file(folder / f"{experiment.name}.json") as temporary:
        temporary.write_text(json.dumps(vars(result), indent=1), encoding="utf-8")
    return result


def _save_figures(outcome: Outcome, folder: Path) -> None:
    for name, figure in figures_of_results(outcome.results).items():
        with whole_file(folder / f"{outcome.experiment.name}_{name}.png") as temporary:
            figure.savefig(temporary, dpi=200)


def _key(experiment: Experiment) -> str:
    sources = [one for one in (experiment.jets, experiment.test) if isinstance(one, JetFileSettings)]
    content = {
        "experiment": experiment.model_dump(mode="json", exclude={"description"}),
        "files": [_state(path) for one in sources for _, path in found_files(one)],
        "code": package_key(),
        "versions": software(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Say of a file, or of those in a folder, what changes when one is written anew."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    states = [(one, one.stat()) for one in files]
    return [(str(one), state.st_size, state.st_mtime_ns) for one, state in states]


def _read_result(folder: Path, experiment: Experiment) -> ExperimentResult | None:
    """Look up whether an experiment is finished, with these very settings, jets and code."""
    result = _stored(folder / f"{experiment.name}.json")
    try:
        return result if result is not None and result.key == _key(experiment) else None
    except (JetexpError, OSError):
        # its jets are gone, which running it tells
        return None


def _stored(path: Path) -> ExperimentResult | None:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ExperimentResult(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s cannot be read, so its experiment counts as not run: %s", path, error)
        return None


def _write_table(folder: Path, failures: Mapping[str, str], parent: MlflowRecorder) -> str:
    """Write all results but those of what fails now, a section each, to the folder and to the suite's run."""
    paths = [path for path in sorted(folder.glob("*.json")) if path.stem not in failures]
    sections = []
    for one in filter(None, map(_stored, paths)):
        sentences = "".join(f"\n{name}: {text}.\n" for name, text in one.comparisons.items())
        heading = f"## {one.name}\n\n{one.description}\n\n{markdown_table(one.rows)}{sentences}"
        sections.append(f"{heading}\n{one.seconds / 60:.1f} minutes, run {one.run_id}.\n")
    table = "\n".join(sections)
    with whole_file(folder / "table.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    parent.text("table.md", table)
    return table
