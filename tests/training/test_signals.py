import os
import signal
import sys

import pytest

from mskjax.training import signals
from mskjax.training.loop import Interrupted


@pytest.fixture
def hangup():
    """Has SIGHUP be handled so, whatever pytest was started by."""
    former = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_is_told_and_kept(name, status, capfd, hangup):
    hangup(other := lambda *_: None)  # and not the default one, which would end pytest
    with signals.caught() as caught:
        signal.raise_signal(signal.Signals[name])
        assert caught.signum == signal.Signals[name]
    assert capfd.readouterr().err == f"\n{name}: {signals.SAVES}\n"
    assert Interrupted(caught.signum).status == status
    assert signal.getsignal(signal.SIGHUP) is other


def test_a_closed_terminal_stays_ignored_where_it_is(capfd, hangup):
    hangup(signal.SIG_IGN)
    with signals.caught() as caught:
        signal.raise_signal(signal.SIGHUP)
    assert (caught.signum, capfd.readouterr().err) == (None, "")
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_ctrl_c_after_a_signal_interrupts_at_once(first):
    former = signal.getsignal(signal.SIGINT)
    with signals.caught() as caught:
        signal.raise_signal(signal.Signals[first])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert caught.signum == signal.Signals[first]
    assert signal.getsignal(signal.SIGINT) is former


def test_a_signal_is_heard_where_nobody_reads_what_is_told(monkeypatch):
    """As of a closed terminal, or `| head`: an error would come up in the midst of whatever is done, as of a save."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        with signals.caught() as caught:
            signal.raise_signal(signal.SIGTERM)
    assert caught.signum == signal.SIGTERM
