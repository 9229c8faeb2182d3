"""Evaluates a run or a study on held-out cases: Dice, RMS distance-to-agreement, muscle area and density.

    python -m launch.evaluate --workdir=RUN
    python -m launch.evaluate --workdir=RUN --split=validation --output=DIR --dataset=OTHER_DATASET
    python -m launch.evaluate --workdir=STUDY
    python -m launch.evaluate --workdir=STUDY --observers=READERS.csv

RUN/evaluation gets cases.csv (a row a case), summary.csv and summary.json, overlays/*.png from the worst case to the
best, and report.html, one file to open or to send. STUDY/evaluation gets cases.csv (a row a case and network or
reader), study A's tables as csv and LaTeX, its figures as png and pdf, and report.html; an unfinished study is
evaluated as far as it is. A CSV of readers' masks has a row a mask: case, reader, file. What is up to date stays.
"""

from absl import flags

from launch.main import run

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of launch.train or launch.sweep.", required=True)
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Which cases.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results. [WORKDIR/evaluation]")
DATASET = flags.DEFINE_string("dataset", None, "Dataset folder; another than the run's own needs an --output. [own]")
OBSERVERS = flags.DEFINE_string("observers", None, "CSV of readers' masks of a study. [config.observers, or phantoms']")


def main() -> None:
    """Evaluates, and prints the answer."""
    from mskjax.study import evaluation, evaluation_folder, results

    if results.is_study(WORKDIR.value):
        if SPLIT.value != "test":
            raise ValueError("a study is evaluated on its test cases; leave out --split")
        output = results.evaluate_study(WORKDIR.value, OUTPUT.value, DATASET.value, OBSERVERS.value)
        print(results.answer(output))
        return
    if OBSERVERS.value:
        raise ValueError(f"{WORKDIR.value} is a run; --observers is for studies of launch.sweep")
    output = evaluation.evaluate(WORKDIR.value, SPLIT.value, OUTPUT.value, DATASET.value)
    print(evaluation_folder.answer(output))


if __name__ == "__main__":
    run(main)
