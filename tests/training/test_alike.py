"""How a team finds out whether its folder is one for all; two threads stand for its processes."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from mskjax.training import alike
from mskjax.training.team import Team

NFS_REMEMBERS_S = 60  # that a name is not there; acdirmax of nfs(5)


@pytest.fixture
def refusals(monkeypatch):
    """What two processes are refused with, each with a folder of its own or the same; None where they are not."""
    barrier, own, said = threading.Barrier(2), threading.local(), {}

    def gather(number):
        said[own.index] = number
        barrier.wait(timeout=10)
        told = np.array([said[0], said[1]])
        barrier.wait(timeout=10)
        return told

    def refusal(index, workdir):
        own.index = index
        try:
            alike.check_workdir(Team(index, 2), workdir)
        except ValueError as error:
            return str(error)
        return None

    def check(*workdirs):
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(refusal, range(2), workdirs))

    asked = SimpleNamespace(process_allgather=gather, broadcast_one_to_all=lambda number: gather(number)[0])
    monkeypatch.setattr(alike, "multihost_utils", asked)
    return check


def test_a_folder_that_is_one_for_all_is_left_as_it_was(refusals, tmp_path):
    assert refusals(tmp_path / "made" / "for" / "it", tmp_path / "made" / "for" / "it") == [None, None]
    assert list(tmp_path.iterdir()) == []
    assert refusals(tmp_path, tmp_path) == [None, None]
    assert tmp_path.is_dir()


def test_folders_that_are_not_one_are_refused_by_all(refusals, tmp_path, monkeypatch):
    monkeypatch.setattr(alike, "SEEN_WITHIN_S", 0.2)
    assert refusals(tmp_path / "one", tmp_path / "other") == [
        f"process 1 does not find in its --workdir, {tmp_path / name} here, what the first has written to its own; "
        "give all the same --workdir on a shared file system"
        for name in ("one", "other")
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_none_sees_in_time_is_not_found(refusals, tmp_path, monkeypatch):
    monkeypatch.setattr(alike, "_appears", lambda path: False)
    assert None not in refusals(tmp_path, tmp_path)


def test_what_others_put_into_a_new_folder_meanwhile_stays(refusals, tmp_path, monkeypatch):
    """As `srun --output` does, or a second team."""
    appears = alike._appears
    monkeypatch.setattr(alike, "_appears", lambda path: appears(path) and path.with_name("job.out").write_text("a") > 0)
    assert refusals(tmp_path / "a" / "b", tmp_path / "a" / "b") == [None, None]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "job.out"]


def test_teams_at_once_look_each_for_a_file_of_their_own(refusals, tmp_path, monkeypatch):
    looked_for, appears = [], alike._appears
    monkeypatch.setattr(alike, "_appears", lambda path: looked_for.append(path) or appears(path))
    for _ in range(2):
        assert refusals(tmp_path, tmp_path) == [None, None]
    assert len(set(looked_for)) == len(looked_for) == 2


def test_a_file_is_looked_for_among_those_of_its_folder(tmp_path, monkeypatch):
    """Asked for by its name, a client of NFS would answer from memory."""
    (shown := tmp_path / "shown").touch()
    stat = os.stat

    def remembered(path, *arguments, **options):
        if str(path) == str(shown):
            raise FileNotFoundError(errno.ENOENT, path)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", remembered)
    assert not shown.exists()
    assert alike._appears(shown)


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_file_is_waited_for_longer_than_a_file_system_remembers_its_absence(is_shared, tmp_path, monkeypatch):
    passed_s, shown = 0.0, tmp_path / "new" / "shown"

    def sleep(seconds):
        nonlocal passed_s
        passed_s += seconds
        if is_shared and passed_s > NFS_REMEMBERS_S + 5 and not shown.parent.is_dir():
            shown.parent.mkdir()
            shown.touch()

    monkeypatch.setattr(alike, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: passed_s))
    assert alike._appears(shown) is is_shared
    assert passed_s < 2 * NFS_REMEMBERS_S


def test_a_process_that_is_gone_meanwhile_is_told_of(monkeypatch):
    def fails(_):
        raise ValueError("Gloo AllGather failed\nConnection reset by peer")

    monkeypatch.setattr(alike.multihost_utils, "process_allgather", fails)
    with pytest.raises(ValueError, match=r"^another process has failed meanwhile \(Gloo .* by peer\); start all again"):
        alike.other(alike.Team(0, 2), 1)
