import time

import numpy as np
import pandas as pd
import pytest
from invented_study import INITS, SIZES, invent_cases
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from mskjax.study.learning_curves import CURVES, caption, learning_curves, mean_of, parse_point, points, readers_mean
from mskjax.study.plates import looks

# Two-sided 95 % points of Student's t for 1 and 3 degrees of freedom, from printed tables.
T_1, T_3 = 12.706, 3.182


def table(*groups):
    """Rows of cases.csv; a group is its initialisation, n and the scores of its cases, a reader has the n None."""
    rows = [
        {
            "init": init,
            "n": n,
            "case_id": f"case_{i}",
            "reader": "anna" if n is None else "",
            "dice": value,
            "rms_dta_cm": value,
            "sma_cm2": 100 + value,
            "smd_hu": 30 + value,
            "reference_sma_cm2": 100.0,
            "reference_smd_hu": 30.0,
        }
        for init, n, values in groups
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows).astype({"n": "Int64", "reader": "str"})


def bars(figure):
    """What the error bars of a figure show: n and the height of low end, mean and high end, by initialisation."""
    axes = figure.axes[0]
    ticks = [int(label.get_text()) for label in axes.get_xticklabels()]
    found = {}
    for container in (one for one in axes.containers if isinstance(one, ErrorbarContainer)):
        middle, _, (segments,) = container.lines
        for x, y, ends in zip(*middle.get_data(), segments.get_segments(), strict=True):
            found[container.get_label(), ticks[round(x)]] = (ends[0, 1], y, ends[1, 1])
    return found


def test_error_bars_are_students_intervals():
    mean = mean_of(np.array([0.1, 0.2, 0.3, 0.4]))
    error = np.sqrt(0.05 / 3) / 2
    assert (mean.mean, mean.standard_error) == pytest.approx((0.25, error))
    assert (mean.low, mean.high) == pytest.approx((0.25 - T_3 * error, 0.25 + T_3 * error), abs=1e-4)


def test_drawn_error_bars_and_means(canvases):
    cases = table(("random", 5, [0.8, 0.9]), ("jigsaw", 5, [0.1, 0.2, 0.3, 0.4]), ("random", 10, [0.9, 0.9]))
    learning_curves(cases)
    found = bars(canvases["figure_3"])
    reach = T_3 * np.sqrt(0.05 / 3) / 2
    assert found["Random", 5] == pytest.approx((0.85 - T_1 * 0.05, 0.85, 0.85 + T_1 * 0.05), abs=1e-3)
    assert found["Jigsaw", 5] == pytest.approx((0.25 - reach, 0.25, 0.25 + reach), abs=1e-4)
    assert found["Random", 10] == pytest.approx((0.9, 0.9, 0.9))
    assert set(found) == {("Random", 5), ("Jigsaw", 5), ("Random", 10)}, "jigsaw has no model at n = 10"


def test_differences_are_prediction_minus_expert(canvases):
    learning_curves(table(("random", 5, [-3.0, -1.0])))
    for name in ("figure_5a", "figure_5b"):
        assert bars(canvases[name])["Random", 5][1] == pytest.approx(-2)


def test_the_readers_line_and_band(canvases):
    cases = table(("random", 5, [0.5, 0.6]), ("observers", None, [0.8, 0.9, 1.0]))
    learning_curves(cases)
    axes = canvases["figure_3"].axes[0]
    (line,) = [one for one in axes.lines if str(one.get_label()).startswith("Readers")]
    assert line.get_linestyle() == ":"
    assert line.get_ydata() == pytest.approx([0.9, 0.9])
    error = 0.1 / np.sqrt(3)
    (band,) = axes.patches
    assert (band.get_y(), band.get_height()) == pytest.approx((0.9 - error, 2 * error))
    assert line.get_label() == "Readers 0.900 ± 0.058"
    assert "over 3 outlines by 1 reader, the band its standard error: 0.900 ± 0.058." in caption(cases, CURVES[0])


def test_points_of_one_size_stand_apart_in_colours_and_markers_of_their_own(canvases):
    learning_curves(invent_cases(sizes=(5, 10), repeats=(1, 1, 1), cases=3))
    containers = canvases["figure_3"].axes[0].containers
    places = sorted(float(one.lines[0].get_xdata()[0]) for one in containers)
    assert min(np.diff(places)) > 0.03
    assert max(np.abs(places)) < 0.5, "beside their own tick"
    markers = {one.get_label(): (to_hex(one.lines[0].get_color()), one.lines[0].get_marker()) for one in containers}
    assert markers == {look.name: (look.colour.lower(), look.marker) for look in looks(INITS).values()}
    assert len({colour for colour, _ in markers.values()}) == len({marker for _, marker in markers.values()}) == 5


def test_a_point_left_out_is_not_drawn_and_its_mean_is_told(canvases):
    cases = table(("random", 5, [1.6, 1.8]), ("random", 10, [0.4, 0.6]))
    made = {plate.name: plate for plate in learning_curves(cases, ("random:5", "jigsaw:5"))}
    for name in ("figure_4", "figure_5a"):
        assert set(bars(canvases[name])) == {("Random", 10)}
    for name in ("figure_3", "figure_5b"):
        assert set(bars(canvases[name])) == {("Random", 5), ("Random", 10)}
    assert "Random at n = 5 is not drawn; its mean ± standard error is 1.700 ± 0.100 cm." in made["figure_4"].caption
    assert "1.70 ± 0.10 HU" in made["figure_5a"].caption
    assert "not drawn" not in made["figure_3"].caption
    assert "Jigsaw" not in made["figure_4"].caption, "a point that the study lacks"


def test_points_left_out_are_given_by_initialisation_and_size():
    assert parse_point("random:5") == ("random", 5)
    for wrong in ("random", "random:", ":5", "random:five", "random:-5", ""):
        with pytest.raises(ValueError, match=r"leave_out holds '.*', which is no point; write .* random:5"):
            learning_curves(table(("random", 5, [0.5])), (wrong,))


def test_values_that_are_not_finite_are_counted_and_left_out_of_means(canvases):
    cases = table(("random", 5, [0.2, 0.4, np.inf]), ("jigsaw", 5, [np.nan, np.nan]), ("observers", None, [1, np.inf]))
    distance = CURVES[1]
    mean = points(cases, distance)["random", 5]
    assert (mean.values, mean.non_finite, mean.mean) == (3, 1, pytest.approx(0.3))
    text = caption(cases, distance)
    missed = "Not finite and left out of the means: Random, n = 5: 1 of 3; Jigsaw, n = 5: 2 of 2; readers: 1 of 2."
    assert text.endswith(missed)
    assert "the mean over 2 to 3 predictions" in text
    learning_curves(cases)
    assert set(bars(canvases["figure_4"])) == {("Random", 5)}
    assert bars(canvases["figure_4"])["Random", 5][1] == pytest.approx(0.3)
    assert "Not finite" not in caption(table(("random", 5, [0.5])), distance)


def test_without_readers(canvases):
    cases = table(("random", 5, [0.5, 0.6]))
    assert readers_mean(cases, CURVES[0]) is None
    assert "No readers were given." in learning_curves(cases)[0].caption
    assert not canvases["figure_3"].axes[0].patches


def test_a_single_prediction_has_a_mean_and_no_bar(canvases):
    (first, *_) = learning_curves(table(("random", 5, [0.5])))
    assert bars(canvases["figure_3"])["Random", 5] == (0.5, 0.5, 0.5)
    assert "the mean over 1 prediction;" in first.caption


def test_a_study_without_predictions_is_refused():
    with pytest.raises(ValueError, match="no predictions to draw; train at least one model"):
        learning_curves(table(("observers", None, [0.9])))


def test_figures_of_a_whole_study_are_quick():
    start = time.process_time()
    made = learning_curves(invent_cases(), ("random:5",))
    assert time.process_time() - start < 3 * len(made)
    assert [plate.name for plate in made] == ["figure_3", "figure_4", "figure_5a", "figure_5b"]
    assert "the mean over 592 predictions" in made[0].caption
    assert len(SIZES) == 7
