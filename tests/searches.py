"""A search in the home of an execution, which can be stopped in any of its trials."""

from __future__ import annotations

from pathlib import Path

from toys import toy_jets, toy_parts

from jetexp.execution import open_execution
from jetexp.experiment import Experiment
from jetexp.images import ImageSettings
from jetexp.jets.settings import GenerationSettings
from jetexp.parts import JetParts
from jetexp.search import search
from jetexp.search_settings import Range, SearchSettings
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.tracking import open_parent

PARTS = toy_parts(120, 60)
JETS = {"": JetParts(toy_jets(30, 1), toy_jets(20, 2), toy_jets(20, 3))}


def searching(search: SearchSettings) -> Experiment:
    """Give an experiment on toy jets that searches."""
    return Experiment(
        name="toy",
        classes=("background", "signal"),
        signal="signal",
        jets=GenerationSettings(),
        images=ImageSettings(pixels=12),
        tagger=CnnSettings(width=4, dense=8),
        training=TrainingSettings(batch_size=64),
        search=search,
    )


def experiment(trials: int = 4) -> Experiment:
    """Give one whose oracle follows from what its trials reached."""
    space = {"learning_rate": Range(min=1e-4, max=1e-1, scale="log"), "layers": Range(min=1, max=2)}
    return searching(SearchSettings(method="bayesian", trials=trials, epochs=1, space=space))


def execute(folder: Path, stop_in: str = "", fresh: bool = False, asked: Experiment | None = None):
    """Search, stopped in a trial perhaps; give the parent's id, the result, and the trials that were made."""
    made: list[str] = []

    def on_trial_end(child, network, scores):
        made.append(child.name)
        if child.name == stop_in:
            raise KeyboardInterrupt

    asked = asked or experiment()
    found, parent = None, None
    try:
        with (
            open_execution(folder / "executions", asked, JETS, fresh=fresh) as home,
            open_parent("toy", "parent", execution=home) as parent,
        ):
            found = search(
                asked,
                PARTS,
                recorder=parent,
                on_trial_end=on_trial_end,
            )
    except KeyboardInterrupt:
        assert stop_in
    return parent.run_id, found, made


def homes(folder: Path) -> list[str]:
    return sorted(one.name for one in (folder / "executions").glob("*"))
