"""Training: a pure state, three compiled steps, one loop, and the run folder that they leave behind.

`train` makes or resumes a run, `load_run` predicts with a finished one. Both are imported when first used.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mskjax.training.loop import Interrupted
    from mskjax.training.predict import load_run
    from mskjax.training.run import train

__all__ = ["Interrupted", "load_run", "train"]
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__, submod_attrs={"loop": ["Interrupted"], "predict": ["load_run"], "run": ["train"]}
)
