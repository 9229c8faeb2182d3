import numpy as np
import pytest

from mskjax.study import prediction


def test_the_threshold_is_crossed_not_touched():
    probability = np.array([[[0.0, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1.0]]], np.float32)
    mask = prediction.predict_mask(lambda image_hu, spacing_mm: probability, np.zeros((1, 4), np.int16), np.ones(2))
    np.testing.assert_array_equal(mask, [[False, False, True, True]])


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (3, 3), (10, 10), (1000, 10)])
def test_few_plain_lines_where_there_is_no_terminal(monkeypatch, count, lines):
    said = []
    monkeypatch.setattr(prediction.logging, "info", lambda text, *values: said.append(text % values))
    assert list(prediction.progress(range(5, 5 + count), "case")) == list(range(5, 5 + count))
    assert len(said) == lines
    assert said[-1] == f"predicted {count} of {count} cases"
