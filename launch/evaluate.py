"""Evaluates a run or a study on held-out cases: masks by Dice, distance, area and density; decisions by AUC and more.

    python -m launch.evaluate --workdir=RUN
    python -m launch.evaluate --workdir=RUN --split=validation --output=DIR --dataset=OTHER_DATASET
    python -m launch.evaluate --workdir=STUDY
    python -m launch.evaluate --workdir=STUDY --observers=READERS.csv

RUN/evaluation gets cases.csv (a row a case), summary.csv and summary.json, overlays/*.png from the worst case to the
best, and report.html, one file to open or to send. Of a run of classification, cases.csv holds label, probability and
the decision at the threshold that the validation cases chose, and a figure of ROC and calibration takes the overlays'
place. STUDY/evaluation gets cases.csv (a row a case and network or reader), the study's tables as csv and LaTeX, its
figures as png and pdf, and report.html; an unfinished study is evaluated as far as it is. A CSV of readers' masks has
a row a mask: case, reader, file. What is up to date stays.
"""

from pathlib import Path

from absl import flags

from launch.main import run

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of launch.train or launch.sweep.", required=True)
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Which cases.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results. [WORKDIR/evaluation]")
DATASET = flags.DEFINE_string("dataset", None, "Dataset folder; another than the run's own needs an --output. [own]")
OBSERVERS = flags.DEFINE_string("observers", None, "CSV of readers' masks of a study. [config.observers, or phantoms']")


def main() -> None:
    """Evaluates, and prints the answer."""
    from mskjax.study import classification_evaluation, evaluation, evaluation_folder, study_folder

    if study_folder.is_study(WORKDIR.value):
        print(study_folder.answer(_evaluate_study(study_folder.kind_name(WORKDIR.value))))
        return
    if OBSERVERS.value:
        raise ValueError(f"{WORKDIR.value} is a run; --observers is for studies of launch.sweep")
    what = WORKDIR.value, SPLIT.value, OUTPUT.value, DATASET.value
    if classification_evaluation.is_classification(WORKDIR.value):
        print(classification_evaluation.answer(classification_evaluation.evaluate(*what)))
    else:
        print(evaluation_folder.answer(evaluation.evaluate(*what)))


def _evaluate_study(kind: str) -> Path:
    from mskjax.study import results, sarcopenia_results, sarcopenia_segmentation_results

    if SPLIT.value != "test":
        raise ValueError("a study is evaluated on its test cases; leave out --split")
    where = WORKDIR.value, OUTPUT.value, DATASET.value
    if kind == "data_efficiency":
        return results.evaluate_study(*where, OBSERVERS.value)
    if OBSERVERS.value:
        raise ValueError("readers of --observers are compared in studies of configs/data_efficiency.py; leave it out")
    made = {"sarcopenia_segmentation": sarcopenia_segmentation_results}.get(kind, sarcopenia_results)
    return made.evaluate_study(*where)


if __name__ == "__main__":
    run(main)
