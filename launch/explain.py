"""Explains what a run of classification decided: which parts of a slice spoke for it, by Grad-CAM and LIME.

    python -m launch.explain --run=RUN
    python -m launch.explain --run=RUN --cases=patient_7,patient_12 --method=grad_cam --target=1
    python -m launch.explain --run=RUN --layer=conv4_block24_concat --samples=500 --norandomised --output=DIR

DIR, or else RUN/explanations, where the report of a study looks for pictures, gets one a case (the slice, its mask's
outline where there is one, and each map over it), maps.npz, the maps as arrays, explanations.csv (case_id, split,
label, probability, decision, threshold, method, layer, explained, share_inside, share_by_chance, rank_correlation,
structural_similarity, undefined) and explanations.json, of weights and dataset. Explained is the decision, at the
threshold that validation data chose, or `--target`. --layer takes Keras's names, conv5_block16_1_relu or mixed9_1, but
for input and padding layers and DenseNet's pool2_conv to pool4_conv, which make pool2_pool to pool4_pool here.

share_by_chance is the mask's area over the slice's; the last three columns compare the map with one of the same network
with fresh weights: near 1, the map shows the image and not what the network has learned. LIME takes `--samples` forward
passes a case, and as many again with fresh weights, which `--norandomised` leaves out.
"""

from absl import flags

from launch.main import run

RUN = flags.DEFINE_string("run", None, "Run of launch.train of the task classification.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the pictures and the table. [RUN/explanations]")
CASES = flags.DEFINE_list("cases", [], "Case ids of the dataset. [all of --split]")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Which cases, where none are named.")
METHOD = flags.DEFINE_list("method", ["grad_cam", "lime"], "One or both of grad_cam, lime.")
LAYER = flags.DEFINE_string("layer", None, "For Grad-CAM: Keras's name, or a submodule's path. [the last feature map]")
SAMPLES = flags.DEFINE_integer("samples", 1000, "Perturbations of each image for LIME.", lower_bound=1)
TARGET = flags.DEFINE_enum("target", "decision", ["decision", "0", "1"], "Class to explain: 1 is sarcopenic.")
RANDOMISED = flags.DEFINE_boolean("randomised", True, "Whether to compare with maps of fresh weights.")
DATASET = flags.DEFINE_string("dataset", None, "Dataset folder, where it is not the run's own. [own]")


def main() -> None:
    """Explains, and prints a summary."""
    from pathlib import Path

    from mskjax.study import explanation_summary, explanations

    output = Path(OUTPUT.value or Path(RUN.value) / "explanations")
    table = explanations.explain(
        RUN.value,
        output,
        cases=CASES.value,
        methods=METHOD.value,
        layer=LAYER.value,
        samples=SAMPLES.value,
        split=SPLIT.value,
        dataset=DATASET.value,
        target=None if TARGET.value == "decision" else int(TARGET.value),
        randomised=RANDOMISED.value,
    )
    print(explanation_summary.summary(table))
    print(f"pictures and table: {output}")


if __name__ == "__main__":
    run(main)
