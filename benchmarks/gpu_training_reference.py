"""Times training of torchvision's FCN-ResNet101 at the asking of benchmarks.gpu_training, which runs it.

    python benchmarks/gpu_training_reference.py BATCH SIZE STEPS MODE BLOCKS BLOCKS BLOCKS BLOCKS

answers each line "augmented" or "bare" on its standard input by the seconds of one of STEPS training steps: slices that
lie on the device, windowed, in channels last; autocast to bfloat16; cross-entropy and soft Dice; fused Adam. The loss
with its derivative and the augmentation are compiled in MODE, or not for eager. Augmentation flips, rotates, scales and
deforms each slice with probability 1/2 in one `grid_sample`, as mskjax does.
"""

# pyright: reportMissingImports=false
import math
import sys
import time

import torch
from torch.nn import functional

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):  # which a CUDA build of torchvision misses beside a CPU build of torch
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision.models import resnet, segmentation  # noqa: E402
from torchvision.models._utils import IntermediateLayerGetter  # noqa: E402
from torchvision.models.segmentation.fcn import FCNHead  # noqa: E402

SLICES, SPACING_MM, DEVICE = 204, 0.8, "cuda" if torch.cuda.is_available() else "cpu"
WINDOW_HU, LEVEL_HU = 400.0, 50.0
MEAN, SD = ([[[value]] for value in row] for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
CONTROL_POINTS, ELASTIC_SD_MM = 16, 5.0


class Training:
    """The network, its optimiser and the slices that it learns from."""

    def __init__(self, batch: int, size: int, mode: str, blocks: list[int]) -> None:
        """On the GPU where there is one."""
        trunk = resnet.ResNet(resnet.Bottleneck, blocks, replace_stride_with_dilation=[False, True, True])
        network = segmentation.FCN(IntermediateLayerGetter(trunk, {"layer4": "out"}), FCNHead(2048, 1))
        self.network = network.to(DEVICE, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), 3e-4, fused=DEVICE == "cuda")
        self.image_hu = torch.randint(-1024, 1500, (SLICES, size, size), dtype=torch.int16, device=DEVICE)
        self.mask = torch.randint(0, 2, (SLICES, size, size), dtype=torch.uint8, device=DEVICE)
        self.batch = batch
        self.mean, self.sd = torch.tensor(MEAN, device=DEVICE), torch.tensor(SD, device=DEVICE)
        made = (lambda function: function) if mode == "eager" else torch.compile(mode=mode)
        self.loss, self.augment = made(self._loss), made(augment)

    def seconds(self, augmented: bool, steps: int) -> float:
        """Seconds of a step."""
        finish()
        start = time.perf_counter()
        for _ in range(steps):
            self.step(augmented)
        finish()
        return (time.perf_counter() - start) / steps

    def step(self, augmented: bool) -> None:
        """One update on slices drawn at random."""
        rows = torch.randint(0, SLICES, (self.batch,), device=DEVICE)
        image_hu, mask = self.image_hu[rows].float(), self.mask[rows].float()
        if augmented:
            image_hu, mask = self.augment(image_hu, mask)
        self.loss(image_hu, mask).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _loss(self, image_hu: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        image = ((image_hu - LEVEL_HU) / WINDOW_HU + 0.5).clamp(0, 1)[:, None].expand(-1, 3, -1, -1)
        image = (image - self.mean) / self.sd
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = self.network(image.contiguous(memory_format=torch.channels_last))["out"]
        logits = logits[:, 0].float()
        overlap = (torch.sigmoid(logits) * mask).sum((1, 2))
        soft_dice = (2 * overlap + 1) / (torch.sigmoid(logits).sum((1, 2)) + mask.sum((1, 2)) + 1)
        return functional.binary_cross_entropy_with_logits(logits, mask) + (1 - soft_dice).mean()


def augment(image_hu: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both at the same places: the image bilinearly, air around it, and the mask's nearest pixel."""
    batch, size, _ = image_hu.shape
    flip, rotates, scales, deforms = (torch.rand(4, batch, device=DEVICE) < 0.5).float()
    angle = rotates * math.radians(20) * symmetric(batch)
    scale = 1 + scales * 0.1 * symmetric(batch)
    cosine, sine, mirror = torch.cos(angle) / scale, torch.sin(angle) / scale, 1 - 2 * flip
    nought = torch.zeros_like(angle)
    rows = [torch.stack(row, 1) for row in ((mirror * cosine, -mirror * sine, nought), (sine, cosine, nought))]
    grid = functional.affine_grid(torch.stack(rows, 1), [batch, 1, size, size], align_corners=False)
    control = torch.randn(batch, 2, CONTROL_POINTS, CONTROL_POINTS, device=DEVICE) * deforms[:, None, None, None]
    control = control * (ELASTIC_SD_MM / SPACING_MM * 2 / size)
    elastic = functional.interpolate(control, (size, size), mode="bilinear", align_corners=False)
    grid = grid + elastic.permute(0, 2, 3, 1)
    image = functional.grid_sample(image_hu[:, None] + 1024, grid, "bilinear", align_corners=False) - 1024
    return image[:, 0], functional.grid_sample(mask[:, None], grid, "nearest", align_corners=False)[:, 0]


def symmetric(count: int) -> torch.Tensor:
    """Uniform random numbers from -1 to 1."""
    return 2 * torch.rand(count, device=DEVICE) - 1


def finish() -> None:
    """Waits for the device."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    if DEVICE == "cpu" and sys.argv[4] != "eager":
        sys.exit("this torch sees no GPU; name with --peers a Python with a build of torch that does")
    batch, size, steps = map(int, sys.argv[1:4])
    torch.backends.cudnn.benchmark = True
    training = Training(batch, size, sys.argv[4], [int(blocks) for blocks in sys.argv[5:]])
    for line in sys.stdin:
        print(training.seconds(line.strip() == "augmented", steps), flush=True)
