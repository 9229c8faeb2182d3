"""The threads that read ahead."""

import threading
import time


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("grain")]


def assert_gone():
    """They end soon after they are told to."""
    until = time.monotonic() + 5
    while readers() and time.monotonic() < until:
        time.sleep(0.01)
    assert not readers()
