"""Evaluates a run on held-out cases of its dataset: Dice, RMS distance-to-agreement, muscle area and density.

    python -m launch.evaluate --workdir=RUN
    python -m launch.evaluate --workdir=RUN --split=validation --output=DIR --dataset=OTHER_DATASET

RUN/evaluation gets cases.csv (a row a case), summary.csv and summary.json, overlays/*.png from the worst case to the
best, and report.html, one file to open or to send. What is up to date is not made again.
"""

from absl import flags

from launch.main import run

WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of launch.train.", required=True)
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Which cases.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results. [WORKDIR/evaluation]")
DATASET = flags.DEFINE_string("dataset", None, "Dataset folder; another than the run's own needs an --output. [own]")


def main() -> None:
    """Evaluates, and prints the answer."""
    from mskjax.study.evaluation import evaluate
    from mskjax.study.evaluation_folder import answer

    output = evaluate(WORKDIR.value, SPLIT.value, OUTPUT.value, DATASET.value)
    print(answer(output))


if __name__ == "__main__":
    run(main)
