"""Memory of one full-size cell of study A on its device, estimated in two ways, as one JSON line.

    python -m benchmarks.study_memory

FCN-ResNet101, 512x512, batch 4, 204 slices on the device, computing in bfloat16 and float32 with float32 parameters.
`estimate` is the state, the gradients and all that the derivative stores; `xla` is XLA's account of the compiled step
on the machine at hand: on a CPU, convolutions compute bfloat16 in float32. Nothing is trained. Figure to stay below:
80 GB.
"""

import argparse

from benchmarks.common import report
from configs.data_efficiency import get_config
from mskjax.study import memory
from mskjax.study.settings import plain

SLICES = 204


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    config, figures = plain(get_config()), {}
    for dtype in ("bfloat16", "float32"):
        config["task"]["model"]["dtype"] = dtype
        own = memory.of_run(config, SLICES)
        figures |= {
            f"{dtype}_stored_activations_gb": gigabytes(own.activations),
            f"{dtype}_estimate_gb": gigabytes(own.total),
            f"{dtype}_xla_gb": gigabytes(memory.by_xla(config, SLICES)),
        }
    report("study_memory", **figures)


def gigabytes(number: int) -> float:
    return round(number / 1e9, 2)


if __name__ == "__main__":
    main()
