"""Plots: what every figure draws is what it was given, its axes say what they show, and its label says it in words."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ppvae import plots
from ppvae.diagnostics import uniformity
from ppvae.diagnostics.calibration import Uniform
from ppvae.diagnostics.cross_prediction import Crossing
from ppvae.diagnostics.khat import KHat
from ppvae.diagnostics.predictive_checks import PredictiveCheck
from ppvae.diagnostics.traversals import Traversal
from ppvae.plots import calibration, cells, cross_prediction, palette, predictive_checks, traversals
from ppvae.plots.khat import khat_map

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
IMAGES = {"truth": RNG.random((3, 4, 5)), "predicted": 2 * RNG.random((2, 4, 5))}
HISTORIES = {
    "pyro": [{"epoch": epoch, "loss": 90.0 - epoch} for epoch in range(4)],
    "numpyro": [{"epoch": epoch, "loss": 80.0 - epoch} for epoch in range(3)],
}
KHATS = KHat(
    (("pix",), ("pix", "fou")), np.array([[0.9, -np.inf, 0.1], [0.2, 0.1, 0.8]]), *[np.zeros((2, 3))] * 2, 1000
)
CHECKS = {
    "pix": Uniform("pix given fou", ("pix[0]", "pix[1]"), RNG.random((200, 2))),
    "fou": Uniform("fou given pix", ("fou[0]",), RNG.random((200, 1)) ** 3),
}
STATISTICS = {
    "pix": PredictiveCheck("pix given fou", ("mean", "sd"), np.array([0.5, 9.0]), RNG.random((250, 2))),
    "fou": PredictiveCheck("fou given pix", ("mean",), np.array([0.2]), RNG.random((250, 1))),
}
WALK = Traversal(
    ("z[1]", "z[0]"),
    np.array([[-2.0, 0.0, 2.0], [-1.9, 0.1, 2.1]]),
    {"pix": RNG.random((2, 3, 6)), "fou": RNG.random((2, 3, 5)), "colour": RNG.random((2, 3, 3, 2, 4))},
)
MEASURED = {"pix": RNG.random((4, 6)), "fou": np.where(RNG.random((4, 5)) < 0.3, np.nan, RNG.random((4, 5)))}
CROSSED = Crossing(
    (("pix",), ("fou",), ("pix", "fou")), MEASURED, {name: RNG.random((3, *x.shape)) for name, x in MEASURED.items()}
)
SCORES = np.array([[0.25, np.nan], [-0.5, 0.75]])

# Every function of the package that makes a figure, on small inputs.
MAKERS: dict[str, Callable[[], Figure]] = {
    "image_rows": lambda: plots.image_rows(IMAGES, "pix from fou"),
    "loss_curves": lambda: plots.loss_curves(HISTORIES, "MVAE"),
    "khat_map": lambda: khat_map(KHATS, "k-hat of MVAE"),
    "ecdf_figure": lambda: calibration.ecdf_figure(list(CHECKS.values())),
    "coverage_figure": lambda: calibration.coverage_figure(CHECKS),
    "predictive_figure": lambda: predictive_checks.predictive_figure(STATISTICS),
    "traversal_figure": lambda: traversals.traversal_figure(WALK, "pix", (2, 3)),
    "crossing_figure": lambda: cross_prediction.crossing_figure(CROSSED, [2, 0], {"pix": (2, 3)}),
    "heat_map": lambda: cross_prediction.heat_map(SCORES, ["pix", "fou"], ["a", "b"], "R²", "MVAE"),
}

every_figure = pytest.mark.parametrize("name", list(MAKERS))


@cache
def drawn(name: str) -> Figure:
    """The figure, laid out as it would be saved."""
    figure = MAKERS[name]()
    FigureCanvasAgg(figure).draw()
    return figure


def functions() -> set[str]:
    """The public functions that return a figure: all of them live in the room of plots."""
    files = [path for path in (ROOT / "ppvae").rglob("*.py") if "report" not in path.parts]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    found = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.returns and ast.unparse(n.returns) == "Figure"]
    return {node.name for node in found if not node.name.startswith("_")}


# What holds for all of them


def test_every_figure_is_tested_here() -> None:
    assert functions() == set(MAKERS)


@every_figure
def test_the_label_says_in_a_sentence_what_is_shown_with_numbers(name: str) -> None:
    label = drawn(name).get_label()
    assert label.endswith(".")
    assert 30 < len(label) < 400
    assert any(letter.isdigit() for letter in label)


@every_figure
def test_ticks_do_not_overlap(name: str) -> None:
    renderer = drawn(name).canvas.get_renderer()
    for axis in [one for axes in drawn(name).axes for one in (axes.xaxis, axes.yaxis)]:
        labels = [
            tick for tick in axis.get_ticklabels() if tick.get_text() and tick.get_visible() and not tick.get_rotation()
        ]
        boxes = [label.get_window_extent(renderer) for label in labels if axis.axes.axison]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2)), axis


@every_figure
def test_a_figure_stays_out_of_pyplot_and_is_let_go_with_its_last_name(name: str) -> None:
    from matplotlib import pyplot

    MAKERS[name]()
    assert pyplot.get_fignums() == []


def luminance(colour: str) -> float:
    """Relative luminance, as the Web Content Accessibility Guidelines 2.2 define it."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [*palette.COLOURS, palette.GREY])
def test_colours_stand_out_on_white_and_on_black(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 3
    assert (luminance(colour) + 0.05) / 0.05 >= 3


# What each draws


def images(axes: Axes) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in axes.images]


def test_rows_of_images_share_one_scale_and_bear_their_names() -> None:
    figure = drawn("image_rows")
    assert len(figure.axes) == 6
    for axes, (label, row) in zip((figure.axes[:3], figure.axes[3:]), IMAGES.items(), strict=True):
        assert axes[0].get_ylabel() == label
        for axis, image in zip(axes, row, strict=False):
            np.testing.assert_array_equal(images(axis)[0], image)
            assert axis.images[0].get_clim() == (0, IMAGES["predicted"].max())
    assert images(figure.axes[5]) == []


def test_single_numbers_are_points_and_long_series_curves() -> None:
    measured = {"one": RNG.random((4, 1)), "walk": RNG.random((4, 2, 50))}
    predicted = {name: RNG.random((3, *x.shape)) for name, x in measured.items()}
    figure = cross_prediction.crossing_figure(Crossing((("one",), ("walk",), ("one", "walk")), measured, predicted))
    one, walk = figure.axes[:2]
    assert [line.get_marker() for line in one.lines] == ["o", "o"]
    low, high = one.get_ylim()
    assert low < min(measured["one"].min(), predicted["one"].min())
    assert high > max(measured["one"].max(), predicted["one"].max())
    assert len(walk.lines) == 2
    assert not walk.images
    assert cells.image_shape((2, 16)) == (2, 16)
    assert cells.image_shape((2, 17)) is None


def test_rows_of_images_take_channels_first_and_say_what_others_need() -> None:
    colours = RNG.random((2, 3, 4, 5))
    figure = plots.image_rows({"colours": colours, "grey": -RNG.random((2, 1, 4, 5))})
    low = figure.axes[2].images[0].get_clim()[0]
    np.testing.assert_allclose(
        images(figure.axes[0])[0], (np.moveaxis(colours[0], 0, -1) - low) / (colours.max() - low)
    )
    assert images(figure.axes[2])[0].shape == (4, 5)
    assert low < 0
    with pytest.raises(ValueError, match=r"row 'flat' has shape \(2, 20\), and images are .*moveaxis"):
        plots.image_rows({"flat": RNG.random((2, 20))})


def test_loss_curves_are_the_histories() -> None:
    (axis,) = drawn("loss_curves").axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "loss, nats per item")
    for line, (label, history) in zip(axis.lines, HISTORIES.items(), strict=True):
        assert line.get_label() == label
        np.testing.assert_array_equal(line.get_xydata(), [[entry["epoch"], entry["loss"]] for entry in history])
    assert "pyro from 90.0 to 87.0" in drawn("loss_curves").get_label()


def test_a_spike_of_the_loss_does_not_flatten_the_rest() -> None:
    losses = [5e6, *np.linspace(3000.0, 2500.0, 39)]
    history = [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses, 1)]
    (axis,) = plots.loss_curves({"mvae": history}).axes
    low, high = axis.get_ylim()
    assert 2400 < low < 2500
    assert 3000 < high < 3100
    assert axis.get_ylabel() == "loss, nats per item\n(up to 5e+06 above)"


def test_the_loss_of_held_out_items_is_dashed() -> None:
    history = [{"epoch": 1, "loss": 9.0, "validation_loss": 9.5}, {"epoch": 2, "loss": 7.0, "validation_loss": 11.0}]
    figure = plots.loss_curves({"mvae": history})
    training, held_out = figure.axes[0].lines
    assert (training.get_linestyle(), held_out.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(held_out.get_xydata(), [[1, 9.5], [2, 11.0]])
    assert "mvae from 9.0 to 7.0, mvae, held out from 9.5 to 11.0" in figure.get_label()


def test_the_map_of_khats_is_sorted_by_the_worst() -> None:
    axis, bar = drawn("khat_map").axes
    np.testing.assert_array_equal(images(axis)[0], [[-9.0, 0.1, 0.9], [0.1, 0.8, 0.2]])
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["pix  33%", "pix+fou  33%"]
    assert bar.get_ylabel() == "k-hat"


def test_distribution_functions_are_drawn_less_the_uniform_one_over_their_band() -> None:
    figure = drawn("ecdf_figure")
    assert [axis.get_title() for axis in figure.axes] == ["pix given fou", "fou given pix"]
    for axis, check in zip(figure.axes, CHECKS.values(), strict=True):
        assert axis.get_ylabel() == "ECDF − uniform"
        wanted = [[(values < edge).mean() - edge for edge in uniformity.EDGES] for values in check.values.T]
        np.testing.assert_allclose([line.get_ydata() for line in axis.lines], wanted, atol=1e-12)
        assert len(axis.collections) == 1
    assert "fou[0]" in figure.get_label()


def test_the_map_of_khats_changes_sides_at_the_threshold() -> None:
    result = KHat((("a",),), np.array([[0.69, 0.71]]), *np.zeros((2, 1, 2)), draws=100)
    image = khat_map(result).axes[0].images[0]
    (cold_red, _, cold_blue, _), (warm_red, _, warm_blue, _) = image.cmap(image.norm(np.array([0.69, 0.71])))
    assert cold_blue > cold_red
    assert warm_red > warm_blue


def test_coverage_is_marked_for_each_check_and_level() -> None:
    (axis,) = drawn("coverage_figure").axes
    assert axis.get_ylabel() == "coverage"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list(CHECKS)
    rates = [[float(rate) for rate in bars.lines[0].get_ydata()] for bars in axis.containers]
    np.testing.assert_allclose(rates, [[check.coverage(level)[0] for check in CHECKS.values()] for level in (0.5, 0.9)])
    assert f"50%: pix {rates[0][0]:.0%}, fou {rates[0][1]:.0%}" in drawn("coverage_figure").get_label()


def test_histograms_hold_all_replications_and_the_measured_value() -> None:
    figure = drawn("predictive_figure")
    assert len(figure.axes) == 4
    assert not figure.axes[3].axison
    panels = [("pix", 0), ("pix", 1), ("fou", 0)]
    for axis, (name, number) in zip(figure.axes, panels, strict=False):
        check = STATISTICS[name]
        assert axis.get_xlabel() == f"{name}: {check.names[number]}"
        assert sum(bar.get_height() for bar in axis.patches) == 250
        assert axis.lines[0].get_xdata()[0] == check.measured[number]
        assert axis.get_xlim()[0] < check.measured[number] < axis.get_xlim()[1]
    assert figure.axes[1].get_title() == "p < 0.004, in the tail"
    assert figure.axes[0].get_ylabel() == "replications"
    assert "sd (p < 0.004)" in figure.get_label()


def test_a_traversal_is_a_strip_of_images_with_the_latent_s_values() -> None:
    figure = drawn("traversal_figure")
    for row, axis in enumerate(figure.axes):
        (strip,) = images(axis)
        assert strip.shape == (2, 3 * 3 + 2)
        for step in range(3):
            np.testing.assert_array_equal(strip[:, 4 * step : 4 * step + 3].ravel(), WALK.decoded["pix"][row, step])
        assert np.ma.masked_invalid(strip)[:, 3::4].mask.all()
        assert [tick.get_text() for tick in axis.get_xticklabels()] == [f"{v:.1f}" for v in WALK.values[row]]
        np.testing.assert_array_equal(axis.get_xticks(), [1, 5, 9])
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["z[1]", "z[0]"]


def test_a_traversal_of_vectors_is_a_bundle_of_curves() -> None:
    figure = traversals.traversal_figure(WALK, "fou")
    assert len(figure.axes) == 3
    for row, axis in enumerate(figure.axes[:2]):
        np.testing.assert_array_equal([line.get_ydata() for line in axis.lines], WALK.decoded["fou"][row])
        assert axis.get_ylabel() == "fou"
    assert figure.axes[1].get_xlabel() == "element"
    assert figure.axes[2].get_ylabel() == "value of the latent"
    moves = np.ptp(WALK.decoded["fou"], axis=1).mean(1)
    assert f"z[1] {moves[0]:.2g}, z[0] {moves[1]:.2g}" in figure.get_label()


def test_three_channels_are_colours() -> None:
    figure = traversals.traversal_figure(WALK, "colour")
    values = WALK.decoded["colour"]
    wanted = np.moveaxis((values[0, 1] - values.min()) / np.ptp(values), 0, -1)
    np.testing.assert_allclose(images(figure.axes[0])[0][:, 5:9], wanted)


def test_cells_hold_what_was_measured_above_or_behind_what_was_predicted() -> None:
    figure = drawn("crossing_figure")
    grid = np.array(figure.axes).reshape(3, 2)
    assert [axis.get_ylabel() for axis in grid[:, 0]] == ["pix", "fou", "all"]
    assert [axis.get_title() for axis in grid[0]] == ["pix", "fou"]
    for row, (left, right) in enumerate(grid):
        (tiles,) = images(left)
        assert tiles.shape == (5, 7)
        np.testing.assert_array_equal(tiles[:2, :3].ravel(), MEASURED["pix"][2])
        np.testing.assert_array_equal(tiles[3:, 4:].ravel(), CROSSED.predicted["pix"][row, 0])
        truth, guess = (line.get_ydata() for line in right.lines)
        np.testing.assert_array_equal(truth, [*MEASURED["fou"][2], np.nan, *MEASURED["fou"][0]])
        np.testing.assert_array_equal(guess[6:], CROSSED.predicted["fou"][row, 0])
    assert f"all: pix {CROSSED.r2[2, 0]:.2f}, fou {CROSSED.r2[2, 1]:.2f}" in figure.get_label()


def test_a_heat_map_writes_each_score_in_its_cell_and_leaves_out_what_is_none() -> None:
    axis, bar = drawn("heat_map").axes
    assert (axis.get_xlabel(), axis.get_ylabel(), bar.get_ylabel()) == ("asked", "given", "R²")
    texts = {text.get_position(): text.get_text() for text in axis.texts}
    assert texts == {(0, 0): "0.25", (0, 1): "-0.50", (1, 1): "0.75"}
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["pix", "fou"]
    assert "fou: a -0.50, b 0.75" in drawn("heat_map").get_label()


# What is refused


def test_names_that_do_not_fit_the_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="2 row and 1 column names; match them"):
        cross_prediction.heat_map(SCORES, ["pix", "fou"], ["a"], "R²")


def test_a_modality_that_was_not_decoded_is_refused() -> None:
    with pytest.raises(ValueError, match="no modality 'mor' in the traversal; it has pix, fou, colour"):
        traversals.traversal_figure(WALK, "mor")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5,), None), ((4, 5), (4, 5)), ((1, 4, 5), (4, 5)), ((3, 4, 5), (4, 5, 3)), ((2, 4, 5), None), ((4, 1), (4, 1))],
)
def test_what_is_an_image(shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert cells.image_shape(shape) == expected


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"6 elements do not fill an image of shape \(2, 4\)"):
        traversals.traversal_figure(WALK, "pix", (2, 4))
