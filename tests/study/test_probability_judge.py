"""What a cell of the classification study says of the slices that it has not trained on."""

import numpy as np
import pandas as pd
import pytest

from mskjax.study.probability_judge import ProbabilityJudge, read_probabilities

CONFIG = {"cell": {"train_cases": ["a"], "validation_cases": ["e", "b"], "test_cases": ["d", "c", "NA"]}}
CASES = ["a", "b", "c", "d", "e", "NA"]


def judge(batch_size=4, forward=None):
    """Of slices whose pixels are all ten times their row, by a network that takes a 64th."""
    squares = (np.arange(6)[:, None, None] * 10 + np.zeros((1, 8, 8))).astype(np.int16)
    asked = []

    def scale(variables, image_hu):
        asked.append(len(image_hu))
        return image_hu[:, 0, 0] * variables["times"]

    label = [0, 1, 0, 1, 0, 1]
    rows = {name: row for row, name in enumerate(CASES)}
    return ProbabilityJudge(forward or scale, squares, rows, label, batch_size), asked


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8])
def test_probabilities_of_validation_and_test_cases_in_their_order(batch_size, tmp_path):
    made, asked = judge(batch_size)
    made.judge(tmp_path, {"times": np.float32(1 / 64)}, CONFIG)
    expected = pd.DataFrame(
        {
            "case_id": ["e", "b", "d", "c", "NA"],
            "split": ["validation", "validation", "test", "test", "test"],
            "label": [0, 1, 1, 0, 1],
            "probability": [40 / 64, 10 / 64, 30 / 64, 20 / 64, 50 / 64],
        }
    )
    pd.testing.assert_frame_equal(read_probabilities(tmp_path), expected, check_exact=True, check_dtype=False)
    assert set(asked) == {batch_size}


def test_weights_that_predict_no_numbers_are_said(tmp_path):
    made, _ = judge(forward=lambda variables, image_hu: np.full(len(image_hu), np.nan))
    with pytest.raises(ValueError, match="predict values that are no numbers; train with a lower learning rate"):
        made.judge(tmp_path, {}, CONFIG)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_whole_is_refused(tmp_path):
    (tmp_path / "scores.csv").write_text("case_id,split\n")
    with pytest.raises(ValueError, match=f"scores.csv is not whole; delete {tmp_path} and train the cell again"):
        read_probabilities(tmp_path)
