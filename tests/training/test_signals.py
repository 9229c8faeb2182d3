import os
import signal
import sys

from mskjax.training import signals


def test_a_signal_is_told_and_kept(capfd):
    with signals.caught() as caught:
        signal.raise_signal(signal.SIGTERM)
        assert caught.signum == signal.SIGTERM
    assert capfd.readouterr().err == f"\nSIGTERM: {signals.SAVES}\n"


def test_a_signal_is_heard_where_nobody_reads_what_is_told(monkeypatch):
    """As of a closed terminal, or `| head`: an error would come up in the midst of whatever is done, as of a save."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        with signals.caught() as caught:
            signal.raise_signal(signal.SIGTERM)
    assert caught.signum == signal.SIGTERM
