"""Experiment files: what is read, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jetexp import score_blocks, serving
from jetexp.errors import ExperimentError
from jetexp.experiment import COLUMNS_BESIDE_CLASSES, Experiment
from jetexp.experiment_file import override, read_experiment
from jetexp.jets.settings import GenerationSettings, JetFileSettings
from jetexp.taggers.settings import CnnSettings, MassWindowSettings, PfnSettings

ROOT = Path(__file__).parent.parent
DEFAULT = ROOT / "experiments" / "w_vs_qcd.yaml"


@pytest.fixture
def edited(tmp_path: Path):
    """Give a function that writes the default experiment with one piece of text replaced."""

    def edit(old: str, new: str) -> Path:
        text = DEFAULT.read_text()
        assert old in text
        path = tmp_path / "edited.yaml"
        path.write_text(text.replace(old, new, 1))
        return path

    return edit


def test_no_class_may_be_called_like_a_column_of_the_answers() -> None:
    columns = (serving.DISCRIMINANT, serving.SELECTED, score_blocks.SOURCE, score_blocks.ROW)
    assert columns == COLUMNS_BESIDE_CLASSES


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_of_the_project_is_valid(path: Path) -> None:
    experiment = read_experiment(path)
    assert experiment.name == path.stem
    assert experiment.description


def test_the_resolved_experiment_reads_back_as_itself(tmp_path: Path) -> None:
    experiment = read_experiment(DEFAULT)
    (tmp_path / "resolved.yaml").write_text(experiment.yaml())
    assert read_experiment(tmp_path / "resolved.yaml") == experiment


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials", "trails", r"unknown key 'search.trails'; did you mean 'trials'\?"),
        ("pixels", "pixles", r"unknown key 'images.pixles'; did you mean 'pixels'\?"),
        ("per_class", "perclass", r"unknown key 'jets.perclass'; did you mean 'per_class'\?"),
        ("name: w_vs_qcd\n", "", "key 'name' is missing"),
        ("per_class: 10000", "per_class: many", "'jets.per_class'.*integer.*\"many\" was given"),
        ("per_class: 10000", "per_class: 0", "'jets.per_class'.*greater than or equal to 1.*0 was given"),
        ("centre: true", "centre: 1", "'images.centre'.*boolean.*1 was given"),
        ("validation: 0.25", "validation: 1.25", "'split.validation'.*less than 1.*1.25 was given"),
        ("validation: 0.25", "validation: 0.8", "leave no jets to train on"),
        ("signal: W", "signal: Z", "signal 'Z' is not among the classes"),
        ("classes: [QCD, W]", "classes: [W, W]", "one class twice"),
        ("classes: [QCD, W]", "classes: [row, W]", "class 'row' would have the name of another column"),
        ("kind: cnn", "kind: mlp", "'cnn', 'notebook'"),
        (
            "kind: boosted_trees",
            "kind: pfn, latnt: [8]",
            r"'references.0.tagger.latnt'; did you mean 'latent'\?",
        ),
        (
            "{min: 2.0e-3, max: 5.0e-3",
            "{min: 2.0e-3, mx: 5.0e-3",
            "key 'search.space.learning_rate.max' is missing",
        ),
        ("seed: 4", "seed: 1", "another seed"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_remedy(edited, old: str, new: str, message: str) -> None:
    path = edited(old, new)
    with pytest.raises(ExperimentError, match=message) as raised:
        read_experiment(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_no_trial_and_an_impossible_space_are_refused(tmp_path: Path) -> None:
    content = read_experiment(DEFAULT)
    for key, value, message in [
        ("trials", "0", "'search.trials'.*greater than or equal to 1"),
        ("space", "{flavour: {min: 0, max: 1}}", "search.space.flavour is no setting"),
        ("space", "{learning_rate: {min: 0.1, max: 5.0}}", "search.space.learning_rate holds 5.0"),
        ("space", "{learning_rate: 0.1}", "'search.space.learning_rate'.*0.1 was given"),
        ("space", "{learning_rate: {min: 0.1, max: 0.01}}", "min must be below max"),
        ("space", "{layers: {choices: [2, 2.5]}}", "search.space.layers holds 2.5"),
    ]:
        text = content.model_copy(update={"search": None}).yaml()
        search = {"trials": "2", "space": "{layers: {choices: [2, 3]}}"} | {key: value}
        path = tmp_path / "search.yaml"
        path.write_text(f"{text}search: {{trials: {search['trials']}, space: {search['space']}}}\n")
        with pytest.raises(ExperimentError, match=message):
            read_experiment(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds nothing"),
        ("- a\n- b\n", "holds list"),
        ("name: [unclosed\n", "line 2: not a YAML experiment file"),
        ("name: a\nname: b\n", "line 2: .*'name' stands twice"),
        ("a: &x 1\nb: *x\n", "aliases are not used"),
        ("name: !!python/object/apply:os.system ['true']\n", "not a YAML experiment file"),
        ("name: 2020-01-01\n", "only numbers, text and lists"),
        ("[" * 5000, "not a YAML experiment file"),
    ],
)
def test_what_is_no_experiment_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ExperimentError, match=message):
        read_experiment(path)


def test_missing_binary_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="There is no experiment file"):
        read_experiment(tmp_path / "absent.yaml")
    with pytest.raises(ExperimentError, match="cannot be read"):
        read_experiment(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match="UTF-8"):
        read_experiment(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ExperimentError, match="bytes long"):
        read_experiment(tmp_path / "huge.yaml")


def test_numbers_with_an_exponent_need_no_dot(edited) -> None:
    assert read_experiment(edited("seed: 0}", "seed: 0}  # 1e-3")).split.seed == 0
    path = edited("signal: W", "signal: W\ngate: {confidence: 9e-1}")
    assert read_experiment(path).gate.confidence == pytest.approx(0.9)


def test_overrides() -> None:
    experiment = read_experiment(DEFAULT)
    assert override(experiment) == experiment
    small = override(experiment, per_class=50, trials=2, epochs=1, seeds=1, seed=7)
    assert isinstance(small.jets, GenerationSettings)
    assert small.jets.per_class == 50
    assert small.test is not None
    assert small.test.per_class == 50
    assert small.search is not None
    assert (small.search.trials, small.search.epochs, small.training.epochs) == (2, 1, 1)
    assert (small.seeds, small.seed) == (1, 7)
    larger = override(experiment, per_class=20_000)
    assert larger.test == experiment.test
    other = override(experiment, jets="own.npz", per_class=10)
    assert other.jets == JetFileSettings(path="own.npz", per_class=10)
    assert other.test is None
    with pytest.raises(ExperimentError, match=r"'seeds'.*greater than or equal to 1"):
        override(experiment, seeds=0)


def test_hyperparameters_are_set_by_name() -> None:
    experiment: Experiment = read_experiment(DEFAULT).with_hyperparameters(
        {"layers": 2, "learning_rate": 0.01}
    )
    assert isinstance(experiment.tagger, CnnSettings)
    assert experiment.tagger.layers == 2
    assert experiment.training.learning_rate == 0.01
    with pytest.raises(KeyError):
        experiment.with_hyperparameters({"kind": "notebook"})


def changed(tmp_path: Path, text: str) -> Path:
    """Write the default experiment without search and registry, and with more keys."""
    experiment = read_experiment(DEFAULT)
    bare = experiment.model_copy(update={"search": None, "registered_model": None, "references": ()})
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(bare.yaml()) | (yaml.safe_load(text) or {})))
    return path


def test_references_take_what_they_do_not_set_from_the_experiment(tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        "references:\n"
        "- {tagger: {kind: boosted_trees}, seeds: 4}\n"
        "- {name: other, tagger: {kind: cnn, width: 4}, images: {pixels: 12}, seeds: 2}\n"
        "- {tagger: {kind: pfn}, training: {epochs: 3}}\n",
    )
    experiment = read_experiment(path)
    own, trees, other, pfn = experiment.taggers
    assert [one.name for one in experiment.taggers] == ["cnn", "boosted_trees", "other", "pfn"]
    assert trees.is_classical
    assert trees.seeds == 1
    assert other.images.pixels == 12
    assert (other.training, other.seeds) == (own.training, 2)
    assert (pfn.images, pfn.training.epochs, pfn.seeds) == (own.images, 3, own.seeds)


def test_variants_change_single_keys_and_replace_what_is_of_another_kind(tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        "variants:\n"
        "  coarse: {images: {pixels: 12}, seeds: 1}\n"
        "  plain: {training: {augmentation: null}, test: null}\n"
        "  other: {tagger: {kind: pfn}}\n",
    )
    experiment = read_experiment(path)
    coarse, plain, other = (experiment.variant(name) for name in ("coarse", "plain", "other"))
    assert (coarse.images.pixels, coarse.images.compress, coarse.seeds) == (12, experiment.images.compress, 1)
    assert coarse.training == experiment.training
    assert experiment.training.augmentation is not None
    assert plain.training.augmentation is None
    assert plain.test is None
    assert other.tagger == PfnSettings()
    assert not any(one.variants for one in (coarse, plain, other))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("references: [{tagger: {kind: cnn}}]\n", "every tagger needs a name of its own, and cnn, cnn"),
        ("references: [{name: ensemble, tagger: {kind: pfn}}]\n", "name of its own"),
        ("variants: {wide: {images: {pixles: 3}}}\n", "variants.wide: images.pixles"),
        ("variants: {wide: {}}\nregistered_model: m\n", "with variants registers no model"),
        (
            "search: {space: {learning_rate: {min: 0.001, max: 0.01}}}\nvariants: {wide: {}}\n",
            "variants.wide: a variant has no search",
        ),
        ("train_per_class: 1\n", "'train_per_class'.*greater than or equal to 2"),
        ("calibration: magic\n", "'calibration'.*magic"),
    ],
)
def test_mistakes_in_references_and_variants_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        read_experiment(changed(tmp_path, text))


def test_what_cannot_be_served_cannot_be_registered(edited) -> None:
    with pytest.raises(ExperimentError, match=r"carry no charges, and images.channels need them"):
        read_experiment(edited("  compress: true", "  channels: [charged, neutral]\n  compress: true"))


def test_a_classical_tagger_is_neither_searched_nor_joined_nor_registered(tmp_path: Path) -> None:
    content = read_experiment(changed(tmp_path, "")).model_copy(
        update={"tagger": MassWindowSettings(), "ensemble": False}
    )
    for line, key in [("ensemble: true", "ensemble"), ("registered_model: m", "registered_model")]:
        path = tmp_path / "classical.yaml"
        text = content.yaml().replace("ensemble: false\n", "")
        path.write_text(f"{text}{line}\n")
        with pytest.raises(ExperimentError, match=f"{key} goes with a network, and mass_window is none"):
            read_experiment(path)


def test_a_mass_window_among_three_classes_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    content = read_experiment(ROOT / "experiments" / "three_classes.yaml").content()
    content["references"].append({"name": "window", "tagger": {"kind": "mass_window"}})
    path = tmp_path / "three.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ExperimentError, match="window: a mass window tells two classes apart, not 3"):
        read_experiment(path)


def test_a_test_sample_of_the_same_collisions_is_refused(tmp_path: Path) -> None:
    content = read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml").content()
    content["test"] |= {"seed": content["jets"]["seed"], "soft_drop": {}}
    path = tmp_path / "same.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ExperimentError, match="seed is 1 as that of jets: the same collisions"):
        read_experiment(path)


def test_the_samples_that_an_experiment_needs_are_named_once_each() -> None:
    def samples(name: str) -> list[tuple[int, int, float]]:
        asked = override(read_experiment(Path("experiments") / f"{name}.yaml"), per_class=50).generated()
        assert all(classes == ("QCD", "W") for _, classes in asked)
        # what is groomed is the same sample as what is not
        assert all(one == one.of_stored() for one, _ in asked)
        return [(one.per_class, one.seed, one.pileup) for one, _ in asked]

    assert samples("w_vs_qcd") == [(50, 1, 0.0), (50, 4, 0.0)]
    assert samples("pileup") == [(50, seed, pileup) for pileup in (0.0, 20.0, 60.0) for seed in (1, 4)]
