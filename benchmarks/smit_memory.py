"""Memory of a full-size step of SMIT's pretraining and of its fine-tuning on their device, as one JSON line.

    python -m benchmarks.smit_memory [--xla]

Pretraining on two views of 96^3 of six scans, fine-tuning on four crops of 96^3, computing in bfloat16 and float32 with
float32 parameters. `estimate` is the state, the gradients and all that the derivative stores; with `--xla` also XLA's
account of the compiled steps on the machine at hand, which takes minutes on a CPU, whose products, unlike a GPU's,
compute bfloat16 in float32. Nothing is trained. Figure to stay below: 40 GB for pretraining in bfloat16.
"""

import argparse

from benchmarks.common import report
from benchmarks.study_memory import gigabytes
from configs import smit_pretraining, smit_segmentation
from mskjax.study import memory
from mskjax.study.settings import plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xla", action="store_true", help="compile the steps, and tell XLA's account of them")
    xla, figures = parser.parse_args().xla, {}
    for name, made in (("pretraining", smit_pretraining), ("fine_tuning", smit_segmentation)):
        config = plain(made.get_config())
        for dtype in ("bfloat16", "float32"):
            config["task"]["model"]["dtype"] = dtype
            own = memory.of_run(config, 0)
            figures |= {
                f"{name}_{dtype}_stored_activations_gb": gigabytes(own.activations),
                f"{name}_{dtype}_estimate_gb": gigabytes(own.total),
            }
            if xla:
                figures[f"{name}_{dtype}_xla_gb"] = gigabytes(memory.by_xla(config, 0))
    report("smit_memory", **figures)


if __name__ == "__main__":
    main()
