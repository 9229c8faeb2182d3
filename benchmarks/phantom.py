"""Times 100 phantom slices of 256x256 (to stay under 10 s on 2 cores), a volume, and ten simulated readers of a slice.

Each is made once, as its time is spent in many small steps; seconds of the clock and of the processor.
"""

import time
from collections.abc import Callable

from benchmarks import common
from mskjax.data import phantom


def seconds(name: str, function: Callable[[], object]) -> dict[str, float]:
    clock, processor = time.perf_counter(), time.process_time()
    function()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return {f"{name}_s": round(clock, 2), f"{name}_processor_s": round(processor, 2)}


if __name__ == "__main__":
    one = phantom.slices(1)
    figures = seconds("slices_100_of_256", lambda: phantom.slices(100))
    figures |= seconds("volume_of_104x128x128", lambda: phantom.volumes(1))
    figures |= seconds("ten_readers_of_a_slice", lambda: phantom.observers(one))
    common.report("phantom", **figures)
