import itertools

from mskjax.training import progress
from mskjax.training.progress import Progress


def test_the_time_left_is_by_the_mean_of_all_epochs_but_the_first(monkeypatch, caplog):
    """Which is of compilation; 10, 30 and 20 s: 20 s in the mean for each of the seven that are left."""
    caplog.set_level("INFO")
    clock = itertools.accumulate([0, 300, 10, 30, 20])
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    now = [next(clock)]
    with Progress(11, steps_per_epoch=2) as shown:
        for epoch, seconds in enumerate(clock, 1):
            now[0] = seconds
            shown.epoch({"epoch": epoch, "loss": 1.0, "best_training_loss": 1.0})
    told = [record.message.split("; ")[1] for record in caplog.records]
    assert told == [
        "300.0 s with compilation",
        "10.0 s, at most 01:30 left",
        "30.0 s, at most 02:40 left",
        "20.0 s, at most 02:20 left",
    ]
