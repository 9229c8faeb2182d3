import pytest

from mskjax.study.text import duration, size, table


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (208_180_996, "208.2 MB"),
        (116.58e9, "116.6 GB"),
        (2e15, "2000.0 TB"),
    ],
)
def test_bytes(number, shown):
    assert size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (345599, "96.0 h"),
        (345600, "4.0 days"),
    ],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_tables_align_words_left_and_numbers_right():
    assert table([["", "n=5"], ["random", 16], ["all", 1000]]) == "         n=5\nrandom    16\nall     1000"
