"""Disks that are full as a checkpoint is written; test_resume and test_start save and read them."""

import errno
import threading
from types import SimpleNamespace

import jax
import pytest

from mskjax.training import checkpoint
from mskjax.training.state import create

FULL = "RESOURCE_EXHAUSTED: Failed to write 488425 bytes to file 16: No space left on device [os_error_code='28']"


class Writes(threading.Thread):
    """As orbax's threads, which raise what they cannot write."""

    def run(self):
        raise ValueError(FULL)


def save(monkeypatch, folder, sentence):
    def fails(*_, **__):
        thread = Writes()
        thread.start()
        thread.join()
        raise ValueError(sentence)

    writer = SimpleNamespace(save=fails, latest_step=lambda: None, close=lambda: None)
    monkeypatch.setattr(checkpoint, "_open", lambda *_, **__: writer)
    with checkpoint.Checkpoints(folder) as checkpoints:
        checkpoints.save(create({}, {}, (), jax.random.key(0)))


def test_a_full_disk_is_told_of_once(tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    monkeypatch.setattr(Writes, "__module__", "orbax.checkpoint")
    with pytest.raises(OSError, match="No space left on device") as raised:
        save(monkeypatch, tmp_path, FULL)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))
    assert not printed
    monkeypatch.setattr(Writes, "__module__", "elsewhere")
    with pytest.raises(ValueError, match="another"):
        save(monkeypatch, tmp_path, "another")
    assert len(printed) == 1
