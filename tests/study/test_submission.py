"""A study as an array of jobs, of submitit's executor for this machine."""

import json
import pickle
from contextlib import nullcontext

import pytest
from small_study import begin, config

from mskjax.files import write_json
from mskjax.study import submission, sweep
from mskjax.study.settings import plain
from mskjax.study.shares import Share
from mskjax.study.submission import Task, submit
from mskjax.training import ahead

pytest.importorskip("submitit")


def test_a_job_trains_its_share_and_is_submitted_again_as_it_is(squares, tmp_path, monkeypatch):
    from submitit.helpers import DelayedSubmission

    asked = []
    monkeypatch.setattr(submission, "sweep", lambda *arguments: asked.append(arguments) or {"cell": "why"})
    task = pickle.loads(pickle.dumps(Task(plain(config(squares)), tmp_path, Share(1, 3))))
    assert task() == {"cell": "why"}
    assert asked == [(plain(config(squares)), tmp_path, Share(1, 3))]
    again = task.checkpoint()
    assert isinstance(again, DelayedSubmission)
    assert again.function == task


class Executor:
    """Takes parameters and tasks as submitit does, and keeps them."""

    def __init__(self, folder, cluster, **options):
        self.parameters, self.tasks = {}, []
        Executor.made = self

    def update_parameters(self, **parameters):
        self.parameters |= parameters

    def batch(self):
        from contextlib import nullcontext

        return nullcontext()

    def submit(self, task):
        self.tasks.append(task)
        return type("Job", (), {"job_id": f"7_{len(self.tasks) - 1}"})


def test_parameters_and_shares(squares, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("submitit.AutoExecutor", Executor)
    given = ["slurm_partition=gpu", "gpus_per_node=1", "mem_gb=7.5", "slurm_time=1-00:00:00", "slurm_comment=a=b"]
    with caplog.at_level("INFO", "absl"):
        jobs = submit(config(squares), tmp_path / "study", 3, "slurm", given)
    assert len(jobs) == 3
    assert Executor.made.parameters == {
        "name": "mskjax",
        "timeout_min": 1440,
        "slurm_partition": "gpu",
        "gpus_per_node": 1,
        "mem_gb": 7.5,
        "slurm_time": "1-00:00:00",
        "slurm_comment": "a=b",
    }
    assert [task.share for task in Executor.made.tasks] == [Share(0, 3), Share(1, 3), Share(2, 3)]
    assert "submitted 3 jobs, 7_0 to 7_2; their logs are in" in caplog.text


@pytest.mark.parametrize(
    ("cluster", "given", "message"),
    [
        ("local", ["gpu"], "job parameter 'gpu' is no name=value, such as timeout_min=600"),
        ("local", ["queue=gpu"], "submitit takes no such jobs: Parameter 'queue' need to be prefixed"),
        ("local", ["slurm_partitoin=gpu"], "submitit takes no such jobs: Unknown argument 'partitoin'"),
        ("local", ["timeout_min=long"], 'submitit takes no such jobs: Parameter "timeout_min" expected type'),
        ("slurm", [], 'submitit takes no such jobs: Could not detect "srun"'),
    ],
)
def test_what_submitit_refuses_is_one_sentence_and_leaves_nothing(
    cluster, given, message, squares, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no srun
    with pytest.raises(ValueError) as refused:
        submit(config(squares), tmp_path / "study", 2, cluster, given)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "study").exists()


def test_a_study_that_cannot_be_run_is_not_submitted(squares, tmp_path):
    with pytest.raises(ValueError, match="8 patients in 2 folds leave 4 to train on"):
        submit(config(squares, sizes=(7,)), tmp_path / "study", 2, "local", [])
    assert not (tmp_path / "study").exists()


def test_jobs_on_this_machine(squares, pretrained, tmp_path, monkeypatch):
    """Of a study whose cells are done, so that the jobs have nothing to train; they look at every cell all the same."""
    workdir, study = begin(pretrained, tmp_path / "study"), config(squares, devices=1)

    def end(steps, arrays, jobs, mesh, caught):
        for job in jobs:
            write_json(job.workdir / "config.json", job.config)
            write_json(job.workdir / "DONE", {})
            job.close()

    monkeypatch.setattr(sweep, "fit", end)
    monkeypatch.setattr(ahead, "compiled", lambda steps, *_: nullcontext(steps))
    sweep.sweep(study, workdir)
    jobs = submit(study, workdir, 2, "local", ["timeout_min=5"])
    assert [job.result() for job in jobs] == [{}, {}]
    assert "12 cells, of which 0 are to be trained here" in jobs[0].stderr()
    assert len(json.loads((workdir / "provenance.json").read_text())["starts"]) >= 2
