from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from binormal import probabilities
from matplotlib.figure import Figure

from jetexp.evaluation.report import RejectionCurve, evaluate, summarise
from jetexp.plots.gallery import figures_of_parent, figures_of_run, rejection_comparison, search_overview

HISTORY = SimpleNamespace(
    loss=(0.7, 0.6, 0.5),
    accuracy=(0.6, 0.7, 0.75),
    val_loss=(0.65, 0.6, 0.62),
    val_accuracy=(0.62, 0.7, 0.69),
    best_epoch=2,
)
TRIALS = [
    SimpleNamespace(
        hyperparameters={"learning_rate": 10 ** -(2 + index / 3), "layers": 2 + index % 3, "schedule": kind},
        objective=None if index == 2 else 0.9 + 0.01 * np.sin(index),
        seconds=10.0 + index,
    )
    for index, kind in enumerate(["cosine", "constant", "cosine", "cosine"])
]


def evaluation(seed=0, classes=("QCD", "W"), images=True):
    scores, label = probabilities(300, 1.0, seed, len(classes))
    pixels = np.random.default_rng(seed).exponential(size=(len(label), 12, 12))
    return evaluate(
        scores, label, classes=classes, signal="W", part="test", images=pixels if images else None
    )


def rendered(figure):
    """Draw, at a resolution that is quick, and see that there is something."""
    figure.set_dpi(60)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    assert np.mean(pixels[..., :3].min(axis=2) < 200) > 0.005
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def label_overlaps(figure):
    """Find axis titles and labels that lie over one another, in a figure that was drawn."""
    boxes = []
    for axes in figure.axes:
        if axes.get_visible():
            shown = [axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title]
            boxes += [one.get_window_extent() for one in shown if one.get_text() and one.get_visible()]
    return [
        (first, second)
        for index, first in enumerate(boxes)
        for second in boxes[index + 1 :]
        if first.x0 < second.x1 - 1
        and second.x0 < first.x1 - 1
        and first.y0 < second.y1 - 1
        and second.y0 < first.y1 - 1
    ]


@pytest.mark.parametrize("classes", [("QCD", "W"), ("QCD", "W", "top")])
def test_the_parents_figures(classes):
    found = [evaluation(seed, classes) for seed in range(2)]
    before = dict(mpl.rcParams)
    figures = figures_of_parent(summarise(found), found, [HISTORY] * 2, TRIALS, best=1)
    assert dict(mpl.rcParams) == before
    of_pairs = {"against_rest", "pair_auc", "pair_rejection", "pair_rejection_curves"}
    assert set(figures) == (of_pairs if len(classes) > 2 else set()) | {
        "roc",
        "rejection",
        "scores",
        "thresholds",
        "confusion",
        "examples",
        "class_sums",
        "misidentified",
        "learning_curves",
        "search",
    }
    for name, figure in figures.items():
        assert isinstance(figure, Figure)
        rendered(figure)
        assert not label_overlaps(figure), name


def test_a_runs_figures_say_what_they_show():
    found = evaluation(images=False)
    figures = figures_of_run(found, HISTORY)
    assert set(figures) == {"roc", "rejection", "scores", "learning_curves"}
    assert any(f"{found.auc:.3f}"[:4] in text for text in texts(figures["roc"]))
    assert "random" in texts(figures["roc"])
    assert "random" in texts(figures["rejection"])
    assert figures["rejection"].axes[0].get_yscale() == "log"
    assert {"all jets", "true QCD", "true W"} <= set(texts(figures["scores"]))
    assert {"QCD score", "W score"} <= set(texts(figures["scores"]))
    assert "learning_curves" not in figures_of_run(found)


def test_roc_figure_draws_the_evaluations_own_curve():
    found = evaluation(images=False)
    line = figures_of_run(found)["roc"].axes[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), found.roc.background_efficiency)
    np.testing.assert_array_equal(line.get_ydata(), found.roc.signal_efficiency)


def test_misidentified_figure_carries_counts_and_similarities():
    found = evaluation()
    figure = figures_of_parent(summarise([found]), [found])["misidentified"]
    written = "\n".join(texts(figure))
    for kind in found.mistakes.kinds:
        assert f": {kind.count} jets" in written
        for value in kind.ssim:
            assert f"{value:.3f}" in written


def test_images_have_eta_on_the_horizontal_axis():
    scores, label = probabilities(10, 1.0, 0)
    pixels = np.zeros((20, 8, 8))
    pixels[:, 7, 2] = 1.0  # large eta, small phi
    found = evaluate(scores, label, classes=("QCD", "W"), signal="W", part="test", images=pixels)
    figure = figures_of_parent(summarise([found]), [found])["class_sums"]
    drawn = figure.axes[0].get_images()[0]
    # rows are phi, columns eta, the first row at the lower edge
    assert np.ma.filled(drawn.get_array(), 0)[2, 7] == 10
    assert drawn.origin == "lower"
    assert figure.axes[0].get_xlabel() == r"$\Delta\eta$"


def test_limits_are_drawn_as_arrows_and_no_background_as_an_empty_curve():
    label = np.repeat([0, 1], 100)
    found = evaluate(np.eye(2)[label], label, classes=("QCD", "W"), signal="W", part="test")
    figures = figures_of_run(found)
    assert any(text.startswith(r"$\varepsilon_S$ = 50 %: > ") for text in texts(figures["rejection"]))
    for figure in figures.values():
        rendered(figure)
    parent = figures_of_parent(summarise([found, found]), [found, found])
    rendered(parent["rejection"])
    rendered(parent["roc"])


def test_comparison_draws_the_ratio_to_the_first():
    efficiency = np.array([0.2, 0.5, 1.0])
    rejection = np.array([100.0, 20.0, 1.0])
    first = RejectionCurve(efficiency, rejection, rejection, rejection)
    second = RejectionCurve(efficiency, 2 * rejection, 2 * rejection, 2 * rejection)
    figure = rejection_comparison({"_first": first, "x" * 60: second}, title="test")
    ratios = [line.get_ydata() for line in figure.axes[1].get_lines() if len(line.get_ydata()) == 3]
    np.testing.assert_allclose(ratios[0], 1)
    np.testing.assert_allclose(ratios[1], 2)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0].strip() == "_first"
    assert len(labels[1]) <= 32
    rendered(figure)
    with pytest.raises(ValueError, match="no curve"):
        rejection_comparison({})


def test_a_comparison_of_many_has_its_legend_outside_and_no_two_lines_alike():
    efficiency = np.array([0.2, 0.5, 1.0])
    rejection = np.array([100.0, 20.0, 1.0])
    curves = {
        f"tagger {number}": RejectionCurve(efficiency, *[number * rejection] * 3) for number in range(1, 12)
    }
    figure = rendered(rejection_comparison(curves))
    assert figure.axes[0].get_legend() is None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*curves, "random"]
    lines = figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines)
    solid = [line for line in lines if line.get_linestyle() == "-"]
    assert len(solid) == 5
    below, above = figure.axes[0].get_window_extent(), legend.get_window_extent()
    assert above.y0 >= below.y1


def test_comparison_of_runs_without_common_signal_efficiencies():
    low, high, none = (
        RejectionCurve(*np.array([[at, at + 0.1], [9.0, 8.0], [8.0, 7.0], [10.0, 9.0]]))
        for at in (0.2, 0.6, 0.8)
    )
    empty = RejectionCurve(*np.empty((4, 0)))
    rendered(rejection_comparison({"low": low, "high": high, "third": none, "empty": empty}))
    rendered(rejection_comparison({"empty": empty, "low": low}))


@pytest.mark.parametrize("objective", ["val_auc", "val_loss"])
def test_search_overview_shows_the_best_so_far(objective):
    figure = search_overview(TRIALS, objective)
    reached = np.array([np.nan if trial.objective is None else trial.objective for trial in TRIALS])
    choose = np.nanmax if objective == "val_auc" else np.nanmin
    steps = next(line for line in figure.axes[0].get_lines() if line.get_label() == "best so far")
    np.testing.assert_allclose(
        steps.get_ydata(), [choose(reached[: index + 1]) for index in range(len(reached))]
    )
    named = {axes.get_xlabel() for axes in figure.axes if axes.get_visible()}
    assert named == {"trial", "layers", "learning_rate", "schedule", "time of the trial (s)"}
    measured = {"val_auc": "validation AUC", "val_loss": "validation loss"}[objective]
    assert {axes.get_ylabel() for axes in figure.axes} == {measured, ""}
    rendered(figure)
    assert not label_overlaps(figure)


def test_search_overview_says_where_the_best_lies_at_the_edge():
    figure = rendered(search_overview(TRIALS, edges={"layers": "upper"}))
    told = {axes.get_xlabel(): axes.get_title("right") for axes in figure.axes}
    assert told["layers"] == "best at the upper edge"
    assert told["learning_rate"] == told["schedule"] == ""


def test_search_overview_of_failures_and_of_one_trial():
    failed = SimpleNamespace(hyperparameters={"layers": 2}, objective=None, seconds=1.0)
    rendered(search_overview([failed, failed]))
    rendered(search_overview([SimpleNamespace(hyperparameters={}, objective=0.9, seconds=1.0)]))
    with pytest.raises(ValueError, match="no trial"):
        search_overview([])


def test_one_epoch_is_still_a_curve():
    history = SimpleNamespace(
        loss=(0.7,), accuracy=(0.6,), val_loss=(0.65,), val_accuracy=(0.6,), best_epoch=1
    )
    rendered(figures_of_run(evaluation(images=False), history)["learning_curves"])
