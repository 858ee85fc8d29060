"""Finished fits on disk: found again when nothing changed, made again when anything did."""

import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import keras
import numpy as np
import pytest
from toys import toy_jets

import jetexp
from jetexp import fit_store
from jetexp.augmentation import AugmentationSettings
from jetexp.experiment import Experiment
from jetexp.fit_store import CODE, CODE_OF_KIND, FitStore, code_key, fit_key, package_key, search_key
from jetexp.images import ImageSettings
from jetexp.jets.settings import GenerationSettings
from jetexp.search_settings import Choices, SearchSettings
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import CnnSettings, PfnSettings, TrainingSettings
from jetexp.training import History

HISTORY = History(
    loss=(0.7, 0.123456789012345),
    accuracy=(0.5, 0.9),
    val_loss=(0.8, 1 / 3),
    val_accuracy=(0.5, 0.75),
    val_auc=(0.5, 0.875),
    seconds=(1.5, 0.5),
    best_epoch=2,
)
SIDE = CnnSettings(layers=2, width=4, dense=8, normalisation="batch", side_inputs=("mass",))
EXPERIMENT = Experiment(
    name="first",
    classes=("background", "signal"),
    signal="signal",
    jets=GenerationSettings(per_class=300, seed=11),
    images=ImageSettings(pixels=8),
    tagger=CnnSettings(layers=1),
    search=SearchSettings(space={"width": Choices(choices=(4, 8))}),
)


def small_network(seed=0):
    return build_network(SIDE, {"image": (8, 8, 1), "observables": (1,)}, 2, seed)


def scores(network):
    random = np.random.default_rng(0)
    images, masses = random.random((5, 8, 8, 1), np.float32), random.random((5, 1), np.float32) * 100
    return keras.ops.convert_to_numpy(network({"image": images, "observables": masses}, training=False))


def test_a_fit_comes_back_as_it_was_left(tmp_path):
    store, network = FitStore(tmp_path / "fits"), small_network()
    store.save("one", network, HISTORY)
    found, history = store.load("one")
    np.testing.assert_allclose(scores(found), scores(network), atol=1e-7)
    assert history == HISTORY
    assert list(history.steps()) == list(HISTORY.steps())


def test_a_network_that_was_fitted_comes_back_too(tmp_path):
    store, network = FitStore(tmp_path), small_network()
    network.compile("adam", "sparse_categorical_crossentropy")
    inputs = {"image": np.ones((4, 8, 8, 1), np.float32), "observables": np.ones((4, 1), np.float32)}
    network.fit(inputs, np.array([0, 1, 0, 1]), verbose=0)
    store.save("one", network, HISTORY)
    np.testing.assert_allclose(scores(store.load("one")[0]), scores(network), atol=1e-7)


def test_what_is_not_there_is_none(tmp_path, caplog):
    store = FitStore(tmp_path / "nowhere")
    assert store.load("one") is None
    assert store.load_search("one") is None
    assert not caplog.records
    assert not store.folder.exists()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil(path):
    """Overwrite the middle half."""
    content = bytearray(path.read_bytes())
    size = len(content)
    content[size // 4 : 3 * size // 4] = bytes(3 * size // 4 - size // 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "history.json").unlink(),
        lambda folder: (folder / "network.keras").unlink(),
        lambda folder: (folder / "history.json").write_text("[1, 2]"),
        lambda folder: (folder / "history.json").write_text('{"loss": [1.0]}'),
        lambda folder: cut(folder / "history.json"),
        lambda folder: cut(folder / "network.keras"),
        lambda folder: spoil(folder / "network.keras"),
    ],
    ids=["no history", "no network", "a list", "incomplete", "half a history", "half a network", "zeros"],
)
def test_a_damaged_fit_is_told_about_and_made_again(tmp_path, caplog, damage):
    store = FitStore(tmp_path)
    store.save("one", small_network(), HISTORY)
    damage(tmp_path / "one")
    assert store.load("one") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "made again" in caplog.text
    other = small_network(1)
    store.save("one", other, HISTORY)
    found, history = store.load("one")
    np.testing.assert_allclose(scores(found), scores(other), atol=1e-7)
    assert history == HISTORY
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_searches_come_back(tmp_path):
    store, content = (
        FitStore(tmp_path / "new"),
        {"trials": [{"width": 8, "val_auc": 0.1 + 0.2}], "best": None},
    )
    store.save_search("key", content)
    assert store.load_search("key") == content
    for text in ("{", "[1]", ""):
        (store.folder / "key.json").write_text(text)
        assert store.load_search("key") is None
    store.save_search("key", content)
    assert store.load_search("key") == content


@pytest.fixture(scope="module")
def jets():
    return toy_jets(20), toy_jets(10, seed=1)


def changed(settings, **changes):
    return settings.model_copy(update=changes)


def test_the_key_changes_with_whatever_a_fit_depends_on(jets):
    one, (train, validation) = EXPERIMENT.taggers[0], jets
    charge = np.ones(len(train.constituent_pt), np.int8)
    keys = [
        fit_key(EXPERIMENT, one, 0, train, validation),
        fit_key(EXPERIMENT, one, 1, train, validation),
        fit_key(changed(EXPERIMENT, signal="background"), one, 0, train, validation),
        fit_key(EXPERIMENT, one, 0, validation, train),
        fit_key(EXPERIMENT, one, 0, train.take(slice(0, 19)), validation),
        fit_key(EXPERIMENT, one, 0, train, validation.take(slice(1, 10))),
        fit_key(EXPERIMENT, one, 0, replace(train, label=1 - train.label), validation),
        fit_key(EXPERIMENT, one, 0, replace(train, constituent_charge=charge), validation),
    ]
    for name, values in {
        "tagger": (
            PfnSettings(),
            changed(one.tagger, layers=2),
            changed(one.tagger, dropout=0.2),
            changed(one.tagger, side_inputs=("mass",)),
        ),
        "images": (changed(one.images, zoom=False), changed(one.images, channels=("pt", "count"))),
        "training": (
            changed(one.training, epochs=11),
            changed(one.training, average=0.5),
            changed(one.training, augmentation=AugmentationSettings()),
            changed(one.training, augmentation=AugmentationSettings(flip=True)),
        ),
    }.items():
        keys += [fit_key(EXPERIMENT, replace(one, **{name: value}), 0, train, validation) for value in values]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 20 and set(key) <= set("0123456789abcdef") for key in keys)


def test_names_and_whatever_else_is_of_no_matter_leave_the_key_alone(jets):
    one, (train, validation) = EXPERIMENT.taggers[0], jets
    key = fit_key(EXPERIMENT, one, 0, train, validation)
    other = changed(EXPERIMENT, name="second", description="Another.", seeds=7, ensemble=True, search=None)
    assert fit_key(other, one, 0, train, validation) == key
    assert fit_key(EXPERIMENT, replace(one, name="pfn", seeds=9, seed=5), 0, train, validation) == key
    assert fit_key(EXPERIMENT, one, 0, replace(train, provenance={"a": 1}), validation) == key
    assert fit_key(EXPERIMENT, one, 0, toy_jets(20), validation) == key


def test_the_key_of_a_search(jets):
    train, validation = jets
    key = search_key(EXPERIMENT, train, validation)
    same = changed(EXPERIMENT, name="second", description="Another.", seeds=7, ensemble=True)
    assert search_key(same, train, validation) == key
    others = [
        search_key(changed(EXPERIMENT, **changes), train, validation)
        for changes in (
            {"seed": 1},
            {"signal": "background"},
            {"search": changed(EXPERIMENT.search, trials=7)},
            {"search": changed(EXPERIMENT.search, space={"width": Choices(choices=(4,))})},
            {"tagger": CnnSettings(layers=2)},
            {"training": TrainingSettings(epochs=3)},
            {"images": ImageSettings(pixels=9)},
        )
    ]
    others.append(search_key(EXPERIMENT, validation, train))
    assert len({key, *others}) == 9


@pytest.fixture
def copy_of_code(tmp_path, monkeypatch):
    """Make ``code_key`` read a copy of the code."""
    for name in {*CODE, *chain(*CODE_OF_KIND.values())}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(Path(jetexp.__file__).parent / name, tmp_path / name)
    monkeypatch.setattr(fit_store, "__file__", str(tmp_path / "fit_store.py"))
    return tmp_path


def test_comments_docstrings_and_layout_are_no_code(copy_of_code):
    key = code_key.__wrapped__("pfn")
    assert key == code_key("pfn")
    path = copy_of_code / "taggers" / "pfn.py"
    code = path.read_text()
    first = code.splitlines()[0]
    assert first.startswith('"""')
    for harmless in (
        code.replace(first, '"""Something else."""'),
        code.replace('"""Build a particle flow network', '"""Make a particle flow network'),
        "# a comment\n\n\n" + code,
        code.replace(
            "    fraction = constituents[..., 2:3]\n",
            "    fraction = (  # here it begins\n        constituents[..., 2:3]\n    )\n",
        ),
    ):
        assert harmless != code
        path.write_text(harmless)
        assert code_key.__wrapped__("pfn") == key


@pytest.mark.parametrize("kind", CODE_OF_KIND)
def test_a_fit_depends_on_all_code_that_makes_it_and_on_no_other(copy_of_code, kind):
    key = code_key.__wrapped__(kind)
    for name in {*CODE, *chain(*CODE_OF_KIND.values())}:
        path = copy_of_code / name
        code = path.read_text()
        path.write_text(code + "\nNEW = 1\n")
        assert (code_key.__wrapped__(kind) != key) == (name in (*CODE, *CODE_OF_KIND[kind])), name
        path.write_text(code)
    assert code_key.__wrapped__(kind) == key


def test_a_result_depends_on_all_code(copy_of_code):
    key = package_key.__wrapped__()
    assert key != code_key("cnn")
    path = copy_of_code / "evaluation" / "roc.py"
    path.parent.mkdir()
    path.write_text("")
    assert package_key.__wrapped__() != key
