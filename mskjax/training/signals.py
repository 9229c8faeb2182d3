"""SIGTERM, SIGINT and SIGHUP as a flag: the loop ends its step, saves and leaves.

Schedulers, Ctrl-C and a terminal or connection that is closed expect so.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SAVES = "this step is ended, compilation included, then all is saved and the command ends; Ctrl-C ends it at once"


class Caught:
    """The signal that has come, None so far; `then` says what happens when one does."""

    signum: int | None = None

    def __init__(self, then: str = SAVES):
        self.then = then

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Takes in a signal, and says so, as a step may take a minute; a second Ctrl-C interrupts at once."""
        self.signum = signum
        told = f"\n{signal.Signals(signum).name}: {self.then}\n"
        # Whoever read what is told may be gone; an error here would come up wherever the main thread is just now.
        with suppress(OSError):
            os.write(sys.stderr.fileno(), told.encode())
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def caught(then: str = SAVES) -> Iterator[Caught]:
    """Catches SIGTERM, SIGINT and SIGHUP in its block; off the main thread, where Python forbids that, nothing.

    A SIGHUP that is ignored, as under nohup, stays so.
    A block within such a block yields the same flag, so that a signal is heard whichever of the two was asked for it.
    """
    catcher = Caught(then)
    if threading.current_thread() is not threading.main_thread():
        yield catcher
        return
    if isinstance(outer := signal.getsignal(signal.SIGTERM), Caught):
        yield outer
        return
    signums = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signums.remove(signal.SIGHUP)
    former = {signum: signal.signal(signum, catcher) for signum in signums}
    try:
        yield catcher
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
