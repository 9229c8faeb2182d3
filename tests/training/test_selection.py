import jax
import jax.numpy as jnp
import pytest

from mskjax.training.state import create


def epochs(validation_losses, training_losses):
    """The selection after epochs of one step each, in which the weight is the number of the epoch."""
    selection = create({"w": jnp.zeros(())}, {}, (), jax.random.key(0)).selection
    for number, (validation, training) in enumerate(zip(validation_losses, training_losses, strict=True), 1):
        step = jnp.array(number)
        selection = selection.after_step(jnp.array(training), jnp.isfinite(training), step)
        selection = selection.after_epoch({"w": jnp.array(float(number))}, {}, jnp.array(validation), step)
    return selection


@pytest.mark.parametrize(
    ("validation", "training", "best_step", "flat"),
    [
        ([3.0, 2.0, 1.0], [3.0, 2.0, 1.0], 3, (0, 0)),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], 1, (2, 0)),
        ([2.0, 1.0, 1.0], [1.0, 1.0, 2.0], 2, (1, 2)),  # an equal loss is flat, and the first of equals is kept
        ([5.0, 1.0, 9.0], [1.0, 0.0, 0.0], 2, (1, 1)),
    ],
)
def test_best_weights_and_flat_epochs(validation, training, best_step, flat):
    selection = epochs(validation, training)
    assert (int(selection.best_step), float(selection.best_params["w"])) == (best_step, best_step)
    assert float(selection.best_loss) == min(validation)
    assert (int(selection.validation_flat), int(selection.training_flat)) == flat
    assert int(selection.nonfinite_step) == 0


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_broken_losses_choose_nothing_and_name_their_first_step(broken):
    selection = epochs([2.0, broken, broken], [1.0, 1.0, broken])
    assert float(selection.best_params["w"]) == 1
    assert float(selection.best_loss) == 2
    assert int(selection.nonfinite_step) == 2


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_steps():
    selection = create({}, {}, (), jax.random.key(0)).selection
    for step, loss in enumerate([1.0, 2.0, 6.0], 1):
        selection = selection.after_step(jnp.array(loss), jnp.array(True), jnp.array(step))
    selection = selection.after_epoch({}, {}, jnp.array(1.0), jnp.array(3))
    assert float(selection.best_training_loss) == 3
    assert int(selection.running_steps) == float(selection.running_loss) == 0
