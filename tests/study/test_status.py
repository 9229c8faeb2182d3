import fcntl
import json
import math
import os
import time

import pytest
from study_cases import frame, study

from mskjax.study.data_efficiency import plan
from mskjax.study.status import left_s, progress, status, survey
from mskjax.training import lock

HOUR_S = 3600


@pytest.fixture
def cells():
    """Two initialisations, n of 2 and 4, two folds."""
    return plan(frame(8, 2), study("smoke", inits=("random", "jigsaw")))


def folder(study, name, epochs=0, minutes=10.0):
    """A run's folder with so many epochs behind it."""
    run = study / "cells" / name
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"checkpoint_minutes": minutes}))
    rows = [json.dumps({"step": 3 * epoch, "epoch": epoch}) for epoch in range(1, epochs + 1)]
    (run / "metrics.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return run


def finish(study, name, seconds):
    (folder(study, name) / "DONE").write_text(json.dumps({"step": 6, "seconds": seconds}))


def age(run, seconds):
    for path in run.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_folder_that_is_not_there_waits(tmp_path):
    assert progress(tmp_path / "cells" / "x").state == "waiting"


def test_a_held_lock_is_running_however_long_nothing_was_written(tmp_path):
    run = folder(tmp_path, "x", epochs=3)
    with lock.held(run):
        age(run, HOUR_S)
        assert (progress(run).state, progress(run).epoch) == ("running", 3)
    assert progress(run).state == "waiting"


def test_asking_keeps_nobody_out(tmp_path):
    run = folder(tmp_path, "x")
    (run / ".lock").touch()
    age(run, HOUR_S)
    assert progress(run).state == "waiting"
    with (run / ".lock").open("rb") as asked_by_another:
        fcntl.flock(asked_by_another, fcntl.LOCK_SH)
        assert progress(run).state == "waiting"
    with lock.held(run):
        pass


def test_a_lock_of_another_machine_is_believed_for_a_checkpoints_interval(tmp_path):
    """Its file is there, but this machine does not know who holds it."""
    run = folder(tmp_path, "x", epochs=3, minutes=10.0)
    (run / ".lock").touch()
    assert progress(run).state == "running"
    age(run, 11 * 60)
    assert progress(run).state == "running"
    age(run, 13 * 60)
    assert progress(run).state == "waiting"
    (run / "metrics.jsonl").touch()
    assert progress(run).state == "running"


def test_a_run_that_is_tried_again_has_not_failed(tmp_path):
    run = folder(tmp_path, "x", epochs=1)
    (run / "FAILED").write_text("the loss is not finite\nat step 7")
    assert (progress(run).state, progress(run).why) == ("failed", "the loss is not finite at step 7")
    with lock.held(run):
        assert progress(run).state == "running"
    (run / "DONE").write_text("{}")
    assert progress(run).state == "done"
    assert math.isnan(progress(run).seconds)


def test_a_last_row_cut_short_is_left_out(tmp_path):
    run = folder(tmp_path, "x", epochs=2)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "ep')
    assert progress(run).epoch == 2


def test_the_time_left(tmp_path, cells):
    """8 cells: n=2 took 10 and 20 s, and n=4 is not known: 15 s each; of those left, n=2 has 2 and n=4 has 4."""
    assert math.isnan(left_s(survey(tmp_path, cells)))
    small = [cell.name for cell in cells if cell.n == 2]
    large = [cell.name for cell in cells if cell.n == 4]
    finish(tmp_path, small[0], seconds=10.0)
    finish(tmp_path, small[1], seconds=20.0)
    assert left_s(survey(tmp_path, cells)) == 2 * 15 + 4 * 15
    finish(tmp_path, large[0], seconds=100.0)
    assert left_s(survey(tmp_path, cells)) == 2 * 15 + 3 * 100
    (folder(tmp_path, large[1]) / "FAILED").write_text("why")
    with lock.held(folder(tmp_path, small[2])), lock.held(folder(tmp_path, large[2])):
        assert left_s(survey(tmp_path, cells)) == (15 + 15 / 2 + 100 / 2 + 100) / 2
    for name in (small[3], large[3]):
        finish(tmp_path, name, seconds=1.0)
    for run in (small[2], large[2], large[1]):
        (tmp_path / "cells" / run / "DONE").write_text('{"seconds": 1.0}')
    assert left_s(survey(tmp_path, cells)) == 0


def test_the_table(tmp_path, cells):
    of = {(cell.init, cell.n, cell.fold): cell.name for cell in cells}
    finish(tmp_path, of["random", 4, 0], seconds=7200.0)
    finish(tmp_path, of["random", 4, 1], seconds=7200.0)
    (folder(tmp_path, of["jigsaw", 4, 1]) / "FAILED").write_text("the disk is full")
    pretext = tmp_path / "pretexts" / "jigsaw"
    pretext.mkdir(parents=True)
    (pretext / "DONE").write_text("{}")
    running = of["jigsaw", 4, 0]
    with lock.held(folder(tmp_path, running, epochs=1)):
        lines = status(tmp_path, cells).splitlines()
    assert lines == [
        "pretext jigsaw: done",
        "done of all  n=2        n=4        all",
        "random       0/2        2/2        2/4",
        "jigsaw       0/2  0/2 +1 !1  0/4 +1 !1",
        "all          0/4  2/4 +1 !1  2/8 +1 !1",
        "8 cells: 2 done, 1 running, 1 failed, 4 waiting (+ running, ! failed); about 9.0 h left with 1 cell at a time",
        f"{running}: running, 1 epoch",
        f"{of['jigsaw', 4, 1]}: failed, the disk is full",
    ]
    assert "one at a time, once it is started again" in status(tmp_path, cells)


def test_a_study_not_yet_begun_and_one_that_is_done(tmp_path, cells):
    assert "the time left is told once a cell is done" in status(tmp_path, cells)
    for cell in cells:
        finish(tmp_path, cell.name, seconds=1.0)
    assert status(tmp_path, cells).endswith("nothing is left to do\n")
    assert "8/8" in status(tmp_path, cells)


def test_a_long_list_is_cut(tmp_path):
    cells = plan(frame(8, 2), study("smoke", seeds=3))
    for cell in cells[:20]:
        (folder(tmp_path, cell.name) / "FAILED").write_text("why")
    lines = status(tmp_path, cells).splitlines()
    assert lines[-1] == "and 4 more failed"
    assert sum(": failed, why" in line for line in lines) == 16
