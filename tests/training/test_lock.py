"""A run folder is one process's at a time; the other holder here is a true second process."""

import errno
import subprocess
import sys

import pytest

from mskjax.training import lock

HOLDER = """
import sys
from pathlib import Path
from mskjax.training import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder `run`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_holder_is_refused_until_the_first_is_killed(holder, tmp_path):
    with (
        pytest.raises(BlockingIOError, match="run is being trained in by another command; wait"),
        lock.held(tmp_path / "run"),
    ):
        pass
    assert (tmp_path / "run" / ".lock").exists()
    holder.kill()
    holder.wait()
    with lock.held(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_stays_when_it_was_there_or_holds_something(tmp_path):
    with lock.held(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with lock.held(tmp_path / "used"):
        (tmp_path / "used" / "file").touch()
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["file"]
    (tmp_path / "made").mkdir()
    with lock.held(tmp_path / "made"):
        pass
    assert (tmp_path / "made").is_dir()


def test_a_lock_whose_file_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    """The last holder removes its file while the next one has it open."""
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: (tmp_path / ".lock").unlink())
    with pytest.raises(BlockingIOError), lock.held(tmp_path):
        pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with lock.held(tmp_path):
        assert "cannot be locked (No locks available)" in caplog.text
