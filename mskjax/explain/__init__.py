"""Which pixels a network's answer rests on: `grad_cam` and `lime` give maps [b, h, w] for images.

Both leave the network as it is. How much of a map lies in a mask, and whether it depends on what the network has
learned at all, is told by `mskjax.explain.attribution`.
"""

from mskjax.explain.grad_cam import grad_cam
from mskjax.explain.lime import lime

__all__ = ["grad_cam", "lime"]
