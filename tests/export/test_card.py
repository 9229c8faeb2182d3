"""What the model card beside an export tells."""

import numpy as np
from exported_runs import SHAPE, write_run, write_slices

from mskjax.export import artifact
from mskjax.export.exporting import export
from mskjax.files import read_json, sha256, write_json
from mskjax.training import origin


def test_the_card_tells_what_is_known_and_what_is_not(program, run):
    file, said = program
    card = file.with_name("muscle.stablehlo.md").read_text()
    for told in (
        sha256(file),
        said.partition(": ")[2],
        "HU from -150 to 250",
        read_json(run / "provenance.json")["dataset"]["sha256"]["slices.npz"],
        "| counts | 4 slices, 4 patients, 1 train, 0 validation, 3 test |",
        "| best_validation_loss | 0.25 |",
        "| validation_dice | 0.4 |",
        "| begun with | random weights |",
        "| source revision | abc123 |",
        "| people, scanners, protocols, readers | unknown |",
        "no evaluation of these weights",
        "no medical device",
        "third lumbar vertebra",
    ):
        assert told in card, told


def test_the_card_tells_how_to_run_the_program(program, monkeypatch):
    """By lines that run as they stand."""
    file, _ = program
    card = file.with_name("muscle.stablehlo.md").read_text()
    lines = card.partition("```python\n")[2].partition("```")[0]
    with np.load(artifact.sample_path(file)) as sample:
        known = {"image_hu": sample["image_hu"], "spacing_mm": sample["spacing_mm"]}
        monkeypatch.chdir(file.parent)
        exec(lines, known)
        np.testing.assert_array_equal(known["outputs"]["mask"], sample["mask"])
    assert "JAX promises to read it for six months" in card


def test_what_a_run_knows_of_its_dataset_is_told_where_that_is_gone(tmp_path, caplog):
    dataset = write_slices(tmp_path / "dataset", "phantoms/images/phantom_0001.nii.gz")
    run = write_run(tmp_path / "run", dataset)
    about = origin.of_dataset(str(dataset), read_json(dataset / "dataset.json"))
    write_json(run / "provenance.json", {**read_json(run / "provenance.json"), "dataset": about})
    dataset.rename(tmp_path / "elsewhere")
    file = tmp_path / "muscle.stablehlo"
    export(run, file, "stablehlo", **SHAPE)
    assert artifact.load(file).about["learned_from_phantoms_only"] is True
    assert "the dataset of " in caplog.text and "is not where it was; a drawn slice alone is compared" in caplog.text
    card = file.with_name("muscle.stablehlo.md").read_text()
    assert "| counts | 4 slices, 4 patients, 1 train, 0 validation, 3 test |" in card
    assert "| drawn phantoms only | yes |" in card


def test_the_card_of_a_cell_tells_what_it_has_learned_from_and_scores(tmp_path):
    cell = {"train_cases": ["p0", "p1"], "validation_cases": ["p2"]}
    run = write_run(tmp_path / "cell", cell=cell)
    (run / "scores.csv").write_text("case_id,dice,rms_dta_cm\np3,0.5,1.0\np4,0.75,2.0\n")
    export(run, tmp_path / "muscle.safetensors", "safetensors")
    card = (tmp_path / "muscle.safetensors.md").read_text()
    assert (
        "| learned from, as a cell of a study | 2 of these cases; the weights were chosen by the loss on 1 other"
        in card
    )
    assert "Means over 2 test cases of the study, from scores.csv: dice 0.625, rms_dta_cm 1.5." in card
    assert "root mean square distance from the predicted boundary" in card and "no evaluation" not in card
    (run / "scores.csv").write_text("case_id,split,dice\np2,validation,0.1\np3,test,0.5\n")
    export(run, tmp_path / "muscle.safetensors", "safetensors")
    assert (
        "over 1 test cases of the study, from scores.csv: dice 0.5." in (tmp_path / "muscle.safetensors.md").read_text()
    )
