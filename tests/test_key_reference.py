"""The description of an experiment file is that of the classes that read it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from jetexp.cli import jetexp
from jetexp.experiment import Experiment
from jetexp.key_reference import sections

ROOT = Path(__file__).parent.parent


def test_the_document_is_what_the_command_prints():
    printed = CliRunner().invoke(jetexp, ["keys"]).output
    # jetexp keys > docs/experiment_file.md
    assert printed == (ROOT / "docs" / "experiment_file.md").read_text()


def test_every_key_is_described_where_it_stands():
    described = {(place, one.form): one for one in sections() for place in one.places}
    own = described["", ""]
    assert [key.name for key in own.keys] == list(Experiment.model_fields)
    for one in described.values():
        for key in one.keys:
            assert len(key.meaning) > 3, (one.places, key)
            assert key.form, (one.places, key)
    assert {"cnn", "pfn", "notebook", "boosted_trees", "logistic_regression", "mass_window"} == {
        form.removeprefix("kind: ") for place, form in described if place == "tagger"
    }
    assert {("jets", "source: file"), ("test", "source: pythia")} <= described.keys()
    assert {("tagger.attention", ""), ("references.training.augmentation", "")} <= described.keys()


def test_forms_limits_and_defaults_are_those_of_the_class():
    keys = {(one.places[0], key.name): key for one in sections() for key in one.keys}
    assert (keys["", "classes"].form, keys["", "classes"].default) == ("list of str, at least 2", "")
    assert (keys["", "seeds"].form, keys["", "seeds"].default) == ("int, from 1, to 1 000", "3")
    assert keys["split", "validation"].form == "float, above 0, below 1"
    assert keys["images", "scale"].form == "`gev`, `fraction`"
    assert keys["images", "channels"].form.startswith("list of `pt`, `charged`")
    assert keys["images", "channels"].default == "[pt]"
    assert (keys["", "gate"].form, keys["", "gate"].default) == ("see below", "{}")
    assert keys["", "references"].form == "list, see below"
    assert keys["search", "space"].form == "dictionary, see below"
    # of the class that it inherits from
    assert keys["images", "zoom"].meaning.startswith("Scale angles by the jet's pT over `reference_pt`")


def test_a_part_is_printed_and_one_that_is_not_there_is_told():
    done = CliRunner().invoke(jetexp, ["keys", "training"])
    assert done.exit_code == 0
    assert done.output.startswith("## `training`, `references.training`")
    assert "`learning_rate`" in done.output
    assert "`images`" not in done.output
    wrong = CliRunner().invoke(jetexp, ["keys", "trainings"])
    assert wrong.exit_code != 0
    assert str(wrong.exception).startswith("Nothing stands at 'trainings'")
