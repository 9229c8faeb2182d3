"""Makes smit.npz and names.json: what SMIT's official code gives for volumes of 32 voxels a side.

    python tests/golden/smit/make_smit.py FOLDER

FOLDER is a copy of The-Veeraraghavan-Lab/SMIT at commit 5d81399; torch, monai, timm 0.9, einops and ml_collections are
needed, none of them by the tests, which read the files and rebuild the weights by `fabricate.array`. Everything is
float32, channels come first, DropPath is off. `segmenter/*` are outputs in evaluation for two classes, `train/*` its
logits in training; `pretraining/*` one evaluation of the losses for two views in one batch, in epoch 45 of 500, with
the centres before and after, and the gradients of some parameters.
"""

import json
import sys
from pathlib import Path

import fabricate
import monai.networks.blocks
import numpy as np
import torch

FILE = Path(__file__).with_name("smit.npz")
EPOCH = 45
GRADIENTS = (
    "transformer.mask_token",
    "transformer.patch_embed.proj.weight",
    "transformer.layers.0.blocks.1.attn.relative_position_bias_table",
    "transformer.layers.1.blocks.1.attn.proj.bias",
    "transformer.layers.2.blocks.3.mlp.fc1.bias",
    "transformer.layers.3.downsample.norm.weight",
    "norm.weight",
    "head_cls.mlp.0.bias",
    "head_group.mlp.4.bias",
)


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    monai.networks.blocks.UnetrUpOnlyBlock = object  # is imported there and in no release; what is used is defined
    from models import Trans
    from models.configs_Trans import get_3DTransSmall_config_Unetr

    config = get_3DTransSmall_config_Unetr()
    config.img_size, config.drop_path_rate = (fabricate.SIDE,) * 3, 0.0
    segmenter = Trans.Trans_Unetr(config, out_channels=2)
    student = Trans.Trans_SMIT_pre_train_Student_No_Share(config)
    teacher = Trans.Trans_SMIT_pre_train_Teacher_No_Share(config)
    names = {
        name: {key: list(value.shape) for key, value in module.state_dict().items()}
        for name, module in (("segmenter", segmenter), ("student", student))
    }
    fabricate.NAMES.write_text(json.dumps(names, indent=0) + "\n")
    found = {**of_segmenter(segmenter), **of_pretraining(student, teacher)}
    np.savez_compressed(FILE, **{name: np.asarray(value, np.float32) for name, value in found.items()})


def fill(module: torch.nn.Module, network: str, prefix: str = "") -> torch.nn.Module:
    made = fabricate.tensors(network, prefix)
    own = module.state_dict()
    for name, value in own.items():
        if not name.endswith("relative_position_index"):
            value.copy_(torch.from_numpy(made[name]))
    return module


def volumes(*numbers: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([fabricate.volume(number) for number in numbers]))[:, None]


def of_segmenter(segmenter: torch.nn.Module) -> dict[str, np.ndarray]:
    fill(segmenter, "segmenter").eval()
    image = volumes(0)
    with torch.no_grad():
        bottleneck, stages = segmenter.transformer(image)
        logits = segmenter(image)
        trained = segmenter.train()(volumes(0, 1))
    statistics = segmenter.state_dict()["decoder2.conv_block.norm1.running_var"]
    return {
        "segmenter/bottleneck": bottleneck,
        **{f"segmenter/stage{number}": stage[:, :, ::2, ::2, ::2] for number, stage in enumerate(stages)},
        "segmenter/logits": logits[..., ::2],
        "train/logits": trained[..., ::4],
        "train/decoder2.conv_block.norm1.running_var": statistics,
    }


def of_pretraining(student: torch.nn.Module, teacher: torch.nn.Module) -> dict[str, np.ndarray]:
    fill(student, "student", "student.").train()
    fill(teacher, "student", "teacher.").train()
    loss = cls_patch_loss()
    for name in ("center", "center2"):
        center = getattr(loss, name)
        center.copy_(torch.from_numpy(0.02 * fabricate.array(name, tuple(center.shape))))
    found = {"center_before": loss.center[..., ::8].clone(), "center2_before": loss.center2[..., ::8].clone()}
    image, blocks = volumes(1, 2), torch.from_numpy(np.stack([fabricate.mask(1), fabricate.mask(2)]).astype(int))
    tokens, voxels = (enlarge(blocks, factor) for factor in (8, 16))
    (image_logits, patch_logits), rebuilt = student(image, tokens)
    with torch.no_grad():
        targets = teacher(image)
    patch, of_image = loss((image_logits, patch_logits), targets, blocks, EPOCH, 2)
    reconstruction = (torch.abs(image - rebuilt) * voxels[:, None]).sum() / (voxels.sum() + 1e-5)
    (total := patch + of_image + reconstruction).backward()
    gradients = {name: value.grad for name, value in student.named_parameters() if name in GRADIENTS}
    found |= {
        "student_image_logits": image_logits.detach()[..., ::8],
        "student_patch_logits": patch_logits.detach()[..., ::32],
        "teacher_image_logits": targets[0][..., ::8],
        "teacher_patch_logits": targets[1][..., ::32],
        "reconstruction": rebuilt.detach()[..., ::4],
        "losses": torch.stack([patch, of_image, reconstruction, total]).detach(),
        "center_after": loss.center[..., ::8],
        "center2_after": loss.center2[..., ::8],
        **{f"gradient/{name}": gradients[name] for name in GRADIENTS},
    }
    return {f"pretraining/{name}": value for name, value in found.items()}


def cls_patch_loss() -> torch.nn.Module:
    """The class of the training script, which cannot be imported as it trains; it moves masks to a GPU."""
    source = (Path(sys.argv[1]) / "train_self_supervised.py").read_text()
    begin, end = source.index("class Cls_Patch_Loss"), source.index("def parse_option")
    scope = {"nn": torch.nn, "torch": torch, "np": np, "F": torch.nn.functional}
    exec(source[begin:end].replace(".cuda()", ""), scope)
    schedule = {"lambda1": 0.1, "lambda2": 0.1, "mim_start_epoch": 30}  # as the script sets them, but for the weights
    return scope["Cls_Patch_Loss"](8192, 8192, 2, 0, 0.04, 0.07, 0.04, 0.07, 30, 500, **schedule)


def enlarge(blocks: torch.Tensor, factor: int) -> torch.Tensor:
    for axis in (1, 2, 3):
        blocks = blocks.repeat_interleave(factor, axis)
    return blocks


if __name__ == "__main__":
    main()
