import pytest
from invented_study import invent_rows
from matplotlib.colors import to_hex

from mskjax.study.loss_figures import choose, final_accuracy, fine_tuning, jigsaw, reconstruction
from mskjax.study.plates import looks

ROWS = [
    {"step": 3, "epoch": 1, "loss": 2.0, "validation_loss": 3.0, "validation_accuracy": 0.02, "best_step": 3},
    {"step": 6, "epoch": 2, "loss": 1.0, "validation_loss": 1.25, "validation_accuracy": 0.4, "best_step": 6},
    {"step": 9, "epoch": 3, "loss": 0.5, "validation_loss": 1.5, "validation_accuracy": 0.5, "best_step": 6},
]
UNVALIDATED = [{name: value for name, value in row.items() if "validation" not in name} for row in ROWS]


def lines(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_the_reconstruction_losses(canvases):
    plate = reconstruction(ROWS)
    (axes,) = canvases["figure_a1"].axes
    drawn = lines(axes)
    assert drawn["training"] == ([1, 2, 3], [2.0, 1.0, 0.5])
    assert drawn["validation"] == ([1, 2, 3], [3.0, 1.25, 1.5])
    assert drawn["kept, epoch 2"][0] == [2, 2]
    assert "3 epochs; the weights of epoch 2 were kept, those of the lowest validation loss (1.25)." in plate.caption


def test_the_jigsaw_accuracy_stands_against_chance(canvases):
    plate = jigsaw(ROWS, 50)
    loss, accuracy = canvases["figure_a2"].axes
    assert lines(loss)["training"][1] == [2.0, 1.0, 0.5]
    assert lines(accuracy)["validation"] == ([1, 2, 3], [0.02, 0.4, 0.5])
    assert lines(accuracy)["chance, 0.02"][1] == [0.02, 0.02]
    assert "chance, 2 %" in plate.caption
    assert "The weights kept tell 40.0 % of the held-out puzzles' orders." in plate.caption, "not the last epoch's 50 %"
    assert final_accuracy(ROWS) == 0.4


def test_pretexts_that_nothing_validates(canvases):
    assert final_accuracy(UNVALIDATED) is None
    plate = jigsaw(UNVALIDATED, 100)
    assert "chance, 1 %." in plate.caption
    assert "lowest training loss, as nothing was held out (1)." in plate.caption
    assert "validation" not in lines(canvases["figure_a2"].axes[0])


def test_a_logarithmic_axis_where_losses_span_much(canvases):
    reconstruction(ROWS)
    assert canvases["figure_a1"].axes[0].get_yscale() == "log", "0.5 to 3"
    reconstruction(ROWS[1:])
    assert canvases["figure_a1"].axes[0].get_yscale() == "linear", "0.5 to 1.5"


def test_the_choice_of_models_is_random_and_repeats():
    names = [f"cell_{i:03d}" for i in range(560)]
    chosen = choose(names)
    assert len(set(chosen)) == 50
    assert set(chosen) <= set(names)
    assert choose(names[::-1]) == chosen, "whatever the order of the folders"
    assert choose(names, seed=1) != chosen
    assert chosen != names[:50]
    assert choose(names[:7]) == names[:7]


def test_the_losses_of_many_models(canvases):
    runs = [("random", ROWS), ("jigsaw", ROWS[:2]), ("jigsaw", [])]
    plate = fine_tuning(runs, models=560)
    training, validation = canvases["figure_b1"].axes
    assert [list(line.get_ydata()) for line in training.lines] == [[2.0, 1.0, 0.5], [2.0, 1.0]]
    assert [list(line.get_ydata()) for line in validation.lines] == [[3.0, 1.25, 1.5], [3.0, 1.25]]
    colours = [to_hex(line.get_color()) for line in training.lines]
    assert colours == [looks([init])[init].colour.lower() for init in ("random", "jigsaw")]
    assert "for 2 randomly chosen of 560 models" in plate.caption, "a model without rows is not drawn"


@pytest.mark.parametrize("epochs", [1, 2])
def test_runs_of_few_epochs_are_seen(canvases, epochs):
    fine_tuning([("random", invent_rows(epochs))], models=1)
    (line,) = canvases["figure_b1"].axes[0].lines
    assert line.get_marker() == ("." if epochs == 1 else "")
