"""Which cells each process trains, of several that know nothing of each other."""

import pytest

from mskjax.study.shares import WHOLE, Share, parse


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_shares_hold_everything_once(count):
    items = list(range(12))
    parts = [Share(rank, count).of(items) for rank in range(count)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [5, 10, 20])
def test_every_share_has_something_of_what_the_list_repeats(count):
    """As cells repeat five initialisations: without turns, a process of five would have one of them alone."""
    items = [(repeat, init) for repeat in range(40) for init in range(5)]
    for rank in range(count):
        assert {init for _, init in Share(rank, count).of(items)} == set(range(5))


def test_a_share_by_rank_and_count():
    assert parse("0/1") == WHOLE
    assert parse("2/8") == Share(2, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "share '' is neither RANK/COUNT, such as 0/8, nor slurm"),
        ("one", "share 'one' is neither"),
        ("1/2/3", "share '1/2/3' is neither"),
        ("1/b", "share '1/b' is neither"),
        ("1.5/2", "share '1.5/2' is neither"),
        ("2/2", "share 2/2 is none; the first of 2 is 0/2"),
        ("-1/2", "share -1/2 is none; the first of 2 is 0/2"),
        ("0/0", "share 0/0 is none; COUNT of RANK/COUNT is 1 or more"),
    ],
)
def test_nonsense_is_refused(text, message):
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert str(refused.value).startswith(message)


def slurm(**variables):
    return parse("slurm", {"SLURM_JOB_ID": "7", **{f"SLURM_{name}": str(value) for name, value in variables.items()}})


def test_tasks_of_a_step():
    assert [slurm(STEP_NUM_TASKS=3, NTASKS=3, PROCID=k) for k in range(3)] == [Share(k, 3) for k in range(3)]


def test_the_script_of_a_job_is_one_process_however_many_tasks_srun_would_start():
    assert slurm(NTASKS=16, PROCID=0) == WHOLE


@pytest.mark.parametrize(("first", "step"), [(0, 1), (1, 1), (10, 5)])
def test_jobs_of_an_array_from_any_first_number_by_any_step(first, step):
    ids = range(first, first + 4 * step, step)
    array = {"ARRAY_TASK_COUNT": 4, "ARRAY_TASK_MIN": first, "ARRAY_TASK_STEP": step}
    assert [slurm(ARRAY_TASK_ID=k, **array) for k in ids] == [Share(k, 4) for k in range(4)]


def test_tasks_within_the_jobs_of_an_array():
    array = {"ARRAY_TASK_COUNT": 2, "ARRAY_TASK_MIN": 1, "STEP_NUM_TASKS": 3}
    assert [slurm(ARRAY_TASK_ID=job, PROCID=task, **array) for job in (1, 2) for task in range(3)] == [
        Share(k, 6) for k in range(6)
    ]


def test_an_array_with_gaps_is_refused():
    with pytest.raises(ValueError, match="share 5/3 is none"):
        slurm(ARRAY_TASK_ID=5, ARRAY_TASK_COUNT=3, ARRAY_TASK_MIN=0)


def test_without_a_job_slurm_is_refused():
    with pytest.raises(ValueError, match=r"there is no SLURM job .*; give the share as RANK/COUNT"):
        parse("slurm", {"SLURM_NTASKS": "4", "SLURM_PROCID": "1"})
