"""The ``jetexp`` command: parse, call, print."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jetexp import __version__
from jetexp.cli_options import (
    INTEGER,
    TEXT,
    YES,
    classes_option,
    dask_option,
    executions_option,
    half_width_option,
    jets_folder_option,
    new_test_sample_option,
    patience_option,
    unit_option,
    workers_option,
)
from jetexp.errors import JetexpError
from jetexp.stopping import first_signal_raises

if TYPE_CHECKING:
    from distributed import Client

    from jetexp.jets.settings import JetFileSettings

__all__ = ["jetexp", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jetexp")
@click.option("-v", "--verbose", is_flag=True, help="Show details.")
def jetexp(verbose: bool) -> None:
    """Tag LHC jets from their images, with every run tracked in MLflow."""
    from jetexp.console import set_up_logging

    set_up_logging(verbose=verbose)


@jetexp.command()
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--jets",
    type=TEXT,
    help="Take all jets from these files or stored samples: FILE, FILE,FILE or CLASS=FILE,CLASS=FILE.",
)
@click.option("--per-class", type=INTEGER, help="Jets of each class.")
@click.option("--trials", type=INTEGER, help="Trials of the search.")
@click.option("--epochs", type=INTEGER, help="Epochs of each trial and final fit.")
@click.option("--seeds", type=INTEGER, help="Final fits, each from a seed of its own.")
@click.option("--seed", type=INTEGER, help="First seed of search and fits.")
@new_test_sample_option
@click.option(
    "--fresh",
    is_flag=False,
    flag_value="yes",
    default=False,
    type=YES,
    help="Start over, though the same execution was interrupted.",
)
@executions_option
@patience_option
@click.option(
    "--chief",
    type=TEXT,
    metavar="HOST:PORT",
    help="Have workers, which are waited for at this address, make trials and final fits; see `jetexp work`.",
)
@jets_folder_option
@workers_option
def run(
    experiment: Path,
    jets_folder: Path,
    workers: int | None,
    new_test_sample: bool,
    executions: Path,
    patience: float,
    fresh: bool,
    chief: str | None,
    **overrides: Any,
) -> None:
    """Run the experiment of the file EXPERIMENT, from jets to registry; go on where it was interrupted."""
    from jetexp.console import import_quietly
    from jetexp.experiment_file import override, read_experiment
    from jetexp.starting import starting, stop_with_mlflow

    resolved = override(read_experiment(experiment), **overrides)
    # before anything slow is imported, which may outlive `mlflow run`
    with starting(executions), stop_with_mlflow():
        import_quietly("keras")
        from jetexp.pipeline import run_experiment
        from jetexp.tables import print_outcome

        outcome = run_experiment(
            resolved,
            jets_folder=jets_folder,
            workers=workers,
            new_test_sample=new_test_sample,
            executions=executions,
            fresh=fresh,
            patience=patience,
            chief_address=chief,
        )
    print_outcome(outcome)


@jetexp.command()
@click.option(
    "--chief",
    required=True,
    metavar="HOST:PORT",
    help="Where `jetexp run EXPERIMENT --chief HOST:PORT` waits for workers.",
)
@patience_option
@jets_folder_option
@workers_option
def work(chief: str, patience: float, jets_folder: Path, workers: int | None) -> None:
    """Make trials and final fits for a chief, on this machine, until there are no more."""
    from jetexp.console import import_quietly

    import_quietly("keras")
    from jetexp.worker import Worker

    with first_signal_raises():
        made = Worker(chief, jets_folder=jets_folder, processes=workers, patience=patience).run()
    click.echo(f"No more to do: {made} trials and fits were made here.")


@jetexp.command()
@click.argument("names", metavar="[EXPERIMENT]...", nargs=-1)
@click.option("--names", "listed", type=TEXT, help="The same, separated by commas.")
@click.option(
    "--fast",
    is_flag=False,
    flag_value="yes",
    default=False,
    type=YES,
    help="A tiny budget, to see that everything works; results in a folder of their own.",
)
@click.option(
    "--experiments",
    "experiments_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("experiments"),
    show_default=True,
    help="Where experiment files are.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("suite"),
    envvar="JETEXP_SUITE",
    show_default=True,
    show_envvar=True,
    help="Where finished fits, results and figures are kept.",
)
@jets_folder_option
@workers_option
def suite(
    names: tuple[str, ...],
    listed: str | None,
    fast: bool,
    experiments_folder: Path,
    folder: Path,
    jets_folder: Path,
    workers: int | None,
) -> None:
    """Run all experiments, or the named ones, and write one table; go on where it was interrupted."""
    from jetexp.console import import_quietly
    from jetexp.experiment_file import read_experiment

    wanted = [*names, *_names(listed)]
    import_quietly("keras")
    from jetexp import suite as suites

    experiments = [read_experiment(path) for path in suites.find_experiments(experiments_folder, wanted)]
    if not wanted:
        # files that only their owner has are asked for by name
        experiments = [one for one in experiments if one.jets.source == "pythia"]
    if fast:
        experiments, folder = [suites.fast(one) for one in experiments], folder / "fast"
    result = suites.run_suite(experiments, folder=folder, jets_folder=jets_folder, workers=workers)
    click.echo(result.table)
    click.echo(f"Table and figures: {folder}; run {result.run_id}")
    if result.failures:
        raise JetexpError(
            "These experiments failed: "
            + "; ".join(f"{name} ({reason})" for name, reason in result.failures.items())
        )


@jetexp.command()
@classes_option
@click.option("--per-class", type=click.IntRange(min=1), help="Jets of each class.  [default: 10000]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    help="Make all the jets that the experiment of this file needs; its classes and seeds go first.",
)
@jets_folder_option
@workers_option
@dask_option
@click.option(
    "--part",
    nargs=2,
    type=click.IntRange(min=0),
    metavar="NUMBER PARTS",
    help="Make one of so many parts of the events, from 0; the same command without this ends the sample.",
)
def generate(
    classes: str,
    per_class: int | None,
    seed: int,
    experiment: Path | None,
    jets_folder: Path,
    workers: int | None,
    dask: str | None,
    part: tuple[int, int] | None,
) -> None:
    """Make jets with Pythia 8 and FastJet, if they are not there yet."""
    from jetexp.experiment_file import override, read_experiment
    from jetexp.jets.production import generated_jets, make_part
    from jetexp.jets.settings import GenerationSettings

    asked = [(GenerationSettings(per_class=per_class or 10_000, seed=seed), tuple(_names(classes)))]
    if experiment is not None:
        asked = override(read_experiment(experiment), per_class=per_class).generated()
    with _cluster(dask) as cluster:
        for settings, names in asked:
            if part is not None:
                made = make_part(settings, names, jets_folder, *part, workers=cluster or workers)
                click.echo(f"Part {part[0]} of {part[1]}: {made} chunks of events made, in {jets_folder}.")
                continue
            jets = generated_jets(settings, names, jets_folder, workers=cluster or workers)
            counts = jets.class_counts
            click.echo(f"{len(jets)} jets {counts}, fingerprint {jets.fingerprint}, in {jets_folder}")


@jetexp.command()
@click.option("--format", "form", type=click.Choice(["ucl"]), default="ucl", show_default=True)
@click.option("--classes", default="QCD,W,top", show_default=True, help="Classes, separated by commas.")
@click.option("--per-class", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File; by default the notebook's name.")
@jets_folder_option
@workers_option
def export(
    form: str,
    classes: str,
    per_class: int,
    seed: int,
    output: Path | None,
    jets_folder: Path,
    workers: int | None,
) -> None:
    """Write jets, made if they are not there yet, in a public format."""
    from jetexp.jets.load import default_ucl_name, export_ucl, load_jets
    from jetexp.jets.settings import GenerationSettings

    settings = GenerationSettings(per_class=per_class, seed=seed)
    jets = load_jets(settings, _names(classes), jets_folder, workers=workers)
    path = output or Path(default_ucl_name(GenerationSettings().pt_range, per_class))
    export_ucl(jets, path)
    click.echo(f"{len(jets)} jets {jets.class_counts} written to {path}")


@jetexp.command()
@click.argument("place", required=False)
def keys(place: str | None) -> None:
    """Say what each key of an experiment file means, or those at PLACE, such as tagger or training."""
    from jetexp.key_reference import HEAD, as_markdown, sections

    described = sections()
    if place is None:
        click.echo(f"{HEAD}\n{as_markdown(described)}", nl=False)
        return
    chosen = [one for one in described if place in one.places]
    if not chosen:
        known = dict.fromkeys(name for one in described for name in one.places if name)
        raise JetexpError(f"Nothing stands at {place!r} in an experiment file; known are {', '.join(known)}.")
    click.echo(as_markdown(chosen), nl=False)


@jetexp.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@half_width_option
@unit_option
@click.option("--per-class", type=click.IntRange(min=1), help="Read no more jets of each class.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("mean_images.png"), show_default=True
)
def inspect(
    files: tuple[str, ...], half_width: float | None, unit: float, per_class: int | None, output: Path
) -> None:
    """Say what files of jets hold, and draw the mean image of each class."""
    from jetexp.file_summary import summarise_file
    from jetexp.files import whole_file
    from jetexp.plots import gallery
    from jetexp.tables import print_file

    summary = summarise_file(_jet_files(files, half_width, unit, per_class))
    print_file(", ".join(files), summary)
    figure = gallery.mean_images({one.name: one.mean_image for one in summary.classes}, summary.half_width)
    with whole_file(output) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    click.echo(f"Mean images in {output}.")


@jetexp.command()
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--runs", type=TEXT, help="The same, separated by commas.")
@click.option("--experiment-name", type=TEXT, help="MLflow experiment in which runs are looked up.")
@click.option(
    "--best", type=click.IntRange(min=1), help="The best executions of that experiment, this many at most."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json", "latex"]),
    default="table",
    show_default=True,
    help="What is printed.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("comparison.png"), show_default=True
)
def compare(
    names: tuple[str, ...],
    runs: str | None,
    experiment_name: str | None,
    best: int | None,
    form: str,
    output: Path,
) -> None:
    """Compare runs (ids, names or models:/ addresses): a table and a figure, kept in a run of their own."""
    wanted = [*names, *_names(runs)]
    if best is not None and experiment_name is None:
        raise click.UsageError("--best needs --experiment-name.")
    if not wanted and best is None:
        raise click.UsageError("Name at least one run, or give --experiment-name and --best.")
    from jetexp import comparison_tables
    from jetexp.compare import best_runs, compare_runs, record_comparison
    from jetexp.files import whole_file
    from jetexp.tables import print_comparison

    if best is not None and experiment_name is not None:
        wanted += best_runs(best, experiment_name)
    comparison = compare_runs(wanted, experiment_name=experiment_name)
    with whole_file(output) as temporary:
        comparison.figure.savefig(temporary, dpi=150, format="png")
    run_id = record_comparison(comparison)
    if form == "table":
        print_comparison(comparison)
        click.echo(f"Rejection curves: {output}; run {run_id}")
    elif form == "json":
        click.echo(json.dumps(comparison.to_dict(), indent=2))
    else:
        click.echo(getattr(comparison_tables, f"as_{form}")(comparison), nl=False)


@jetexp.command()
@click.argument("run_name", metavar="RUN")
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    default=Path("experiments/w_vs_qcd.yaml"),
    show_default=True,
)
@new_test_sample_option
@click.option("--dry-run", is_flag=True, help="Say what would be, and change nothing.")
@jets_folder_option
def promote(run_name: str, experiment: Path, new_test_sample: bool, dry_run: bool, jets_folder: Path) -> None:
    """Judge the model of RUN against the champion, and promote it if it wins."""
    from jetexp.console import import_quietly
    from jetexp.experiment_file import read_experiment

    resolved = read_experiment(experiment)
    import_quietly("keras")
    from jetexp.promotion import promote_run
    from jetexp.tables import print_verdict

    print_verdict(
        promote_run(
            resolved, run_name, jets_folder=jets_folder, new_test_sample=new_test_sample, dry_run=dry_run
        )
    )


@jetexp.command()
@click.argument("model")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@half_width_option
@unit_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("scores.parquet"), show_default=True
)
@dask_option
def score(
    model: str,
    files: tuple[str, ...],
    half_width: float | None,
    unit: float,
    output: Path,
    dask: str | None,
) -> None:
    """Score the jets of files with MODEL (models:/NAME@ALIAS); go on where it was interrupted."""
    from jetexp.batch_scores import score_files
    from jetexp.mlflow_store import check_reachable

    settings = _jet_files(files, half_width, unit)
    check_reachable()

    with _cluster(dask) as cluster:
        done = score_files(model, settings, output, cluster=cluster)
    before = f", {done.found} of them before" if done.found else ""
    click.echo(f"{done.jets} jets scored{before}: {output}, {done.seconds:.0f} s")


@jetexp.command()
@click.argument("name")
@click.option("--reason", type=TEXT, help="For the history.")
def rollback(name: str, reason: str | None) -> None:
    """Give the alias champion of the registered model NAME back to the champion before."""
    from jetexp.champion import roll_back
    from jetexp.mlflow_store import connect

    event = roll_back(connect(), name, reason=reason or "")
    click.echo(f"Version {event.version} of {name} is champion again, instead of {event.champion_before}.")


@jetexp.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def history(name: str, as_json: bool) -> None:
    """List every promotion and rollback of the registered model NAME."""
    from jetexp.history import aliases_of, events_of
    from jetexp.mlflow_store import connect
    from jetexp.registry import CHAMPION
    from jetexp.tables import print_history

    client = connect()
    events, champion = events_of(client, name), aliases_of(client, name).get(CHAMPION)
    if as_json:
        click.echo(json.dumps({"champion": champion, "events": [one.to_dict() for one in events]}, indent=2))
    else:
        print_history(name, events, champion)


@jetexp.command()
@executions_option
@patience_option
def deliver(executions: Path, patience: float) -> None:
    """Give MLflow what it has not got of executions that ended, or were killed, while it was away."""
    from jetexp.abandoned import deliver as deliver_all
    from jetexp.mlflow_store import connect

    deliveries = deliver_all(connect(), executions, patience=patience)
    for one in deliveries:
        click.echo(f"{one.home}: {one.items} items, {one.outcome}")
    if not deliveries:
        click.echo(f"Nothing waits in {executions}.")


def _jet_files(
    files: tuple[str, ...], half_width: float | None, unit: float, per_class: int | None = None
) -> JetFileSettings:
    from pydantic import ValidationError

    from jetexp.jets.settings import JetFileSettings

    try:
        return JetFileSettings(path=files, half_width=half_width, unit=unit, per_class=per_class)
    except ValidationError as error:
        reasons = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        raise JetexpError(f"{', '.join(map(repr, files))}: {reasons}.") from None


def _cluster(address: str | None) -> AbstractContextManager[Client | None]:
    """Connect to a Dask cluster, if one is given."""
    if not address:
        return nullcontext()
    from jetexp.cluster import connected

    return connected(address)


def _names(listed: str | None) -> list[str]:
    """Part names that are separated by commas."""
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


def _end_now(status: int) -> NoReturn:
    """End the process, which was told to stop: tearing down what is imported takes two seconds and more."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Run the command; a user's mistake is one sentence and status 2, without a traceback."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # its own keeps what was freed: half a gigabyte after a million jets
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # processes share an accelerator's memory only if none takes all of it at its start
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # or a missing GPU is told as an error
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it tells an address that is wrong in its own words too
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # or that many networks are compiled, as a warning
    try:
        # unwinds through every open run, which ends KILLED
        with first_signal_raises():
            jetexp.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _end_now(128 + signal.SIGINT)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            _end_now(stop.code)
        raise
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except JetexpError as error:
        logging.getLogger("jetexp").debug("", exc_info=error)
        click.echo(f"jetexp: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        from jetexp.files import is_full_disk

        # any library may be the one that finds it full
        if not is_full_disk(error):
            raise
        logging.getLogger("jetexp").debug("", exc_info=error)
        reason = (str(error).splitlines() or [""])[0]
        click.echo(f"jetexp: A disk is full: make room, and call the same again ({reason}).", err=True)
        sys.exit(2)
