"""Options that several commands share, and types of values that MLproject may pass as empty texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = [
    "INTEGER",
    "TEXT",
    "YES",
    "classes_option",
    "dask_option",
    "executions_option",
    "half_width_option",
    "jets_folder_option",
    "new_test_sample_option",
    "patience_option",
    "unit_option",
    "workers_option",
]


class _OptionalInteger(click.ParamType):
    """A whole number, or nothing: MLproject passes an empty text where nothing was given."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value is None or isinstance(value, int):
            return value
        if not value.strip():
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number.", param, ctx)


class _OptionalText(click.ParamType):
    """Text, or nothing where it is empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | None:
        return value.strip() or None if isinstance(value, str) else value


class _Yes(click.ParamType):
    """Yes or no; MLproject passes an empty text for no."""

    name = "yes|no"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        if isinstance(value, bool):
            return value
        if value.strip() not in ("yes", "no", ""):
            self.fail(f"{value!r} is neither yes nor no; without either, the option goes last.", param, ctx)
        return bool(value.strip() == "yes")


INTEGER, TEXT, YES = _OptionalInteger(), _OptionalText(), _Yes()
jets_folder_option = click.option(
    "--jets-folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("jets"),
    envvar="JETEXP_JETS",
    show_default=True,
    show_envvar=True,
    help="Where generated jets are kept.",
)
workers_option = click.option(
    "--workers",
    type=INTEGER,
    help="Processes that generate jets and fit networks; by default one a core, and one fit at a time where "
    "there is an accelerator.",
)
dask_option = click.option(
    "--dask",
    type=TEXT,
    metavar="ADDRESS",
    help="Have the workers of a Dask cluster do it: its scheduler, such as tcp://host:8786.",
)
new_test_sample_option = click.option(
    "--new-test-sample", is_flag=True, help="Let the registered model take these test jets as its own."
)
classes_option = click.option(
    "--classes", default="QCD,W", show_default=True, help="Classes, separated by commas: QCD, W, top."
)
half_width_option = click.option(
    "--half-width",
    type=click.FloatRange(0, 10, min_open=True),
    help="Half the side of images, in eta and phi, where the file does not say it.",
)
unit_option = click.option(
    "--unit",
    type=click.FloatRange(0, 1e12, min_open=True),
    default=1.0,
    show_default=True,
    help="What a pixel or momentum of 1 is in GeV, where the file does not say it.",
)


executions_option = click.option(
    "--executions",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("executions"),
    envvar="JETEXP_EXECUTIONS",
    show_default=True,
    show_envvar=True,
    help="Where what an interrupted execution has finished is kept, and what MLflow has not got yet.",
)
patience_option = click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=600.0,
    envvar="JETEXP_PATIENCE",
    show_default=True,
    show_envvar=True,
    help="Seconds that an MLflow which is away is waited for, where nothing can go on without it.",
)
