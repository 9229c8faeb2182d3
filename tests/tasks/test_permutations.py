import itertools
import math
import re
import time

import numpy as np
import pytest

from mskjax.tasks.jigsaw import select_permutations


def distances(permutations):
    """The Hamming distances between all pairs of rows."""
    pairs = itertools.combinations(permutations, 2)
    return np.array([(first != second).sum() for first, second in pairs])


# As measured for greedy choices out of all 9!: both reach a mean of 8.155 of 9, and only one keeps every pair apart.
@pytest.mark.parametrize(("criterion", "closest"), [("minimum", 7), ("mean", 2)])
def test_fifty_of_nine_factorial(criterion, closest):
    select_permutations.cache_clear()
    start = time.perf_counter()
    permutations = select_permutations(50, criterion=criterion)
    assert time.perf_counter() - start < 10
    apart = distances(permutations)
    assert (apart.min(), round(float(apart.mean()), 3)) == (closest, 8.155)
    assert permutations.shape == (50, 9)
    np.testing.assert_array_equal(np.sort(permutations, 1), np.tile(np.arange(9), (50, 1)))


@pytest.mark.parametrize("tiles", [4, 5, 9])
def test_the_first_ones_differ_everywhere(tiles):
    """They make a Latin square, as by Hall's theorem any rows that differ everywhere can be completed to one."""
    assert (distances(select_permutations(tiles, tiles)) == tiles).all()


@pytest.mark.parametrize("criterion", ["minimum", "mean"])
def test_each_choice_is_the_farthest_from_those_before_and_the_first_of_equals(criterion):
    permutations = [tuple(row) for row in select_permutations(24, 4, criterion).tolist()]
    for count in range(1, 24):
        chosen = np.array(permutations[:count])

        def farness(candidate, chosen=chosen):
            apart = (chosen != candidate).sum(1)
            return (apart.min(), apart.sum()) if criterion == "minimum" else apart.sum()

        rest = sorted(set(itertools.permutations(range(4))) - set(permutations[:count]))
        assert permutations[count] == max(rest, key=farness)


@pytest.mark.parametrize("criterion", ["minimum", "mean"])
@pytest.mark.parametrize("tiles", [1, 2, 3, 4])
def test_all_permutations_can_be_taken_and_none_twice(tiles, criterion):
    permutations = select_permutations(math.factorial(tiles), tiles, criterion)
    assert sorted(map(tuple, permutations.tolist())) == list(itertools.permutations(range(tiles)))


def test_the_choice_depends_on_the_seed_alone():
    first = select_permutations(5, tiles=6, seed=1)
    select_permutations.cache_clear()
    np.testing.assert_array_equal(first, select_permutations(5, tiles=6, seed=1))
    assert not np.array_equal(first[0], select_permutations(5, tiles=6, seed=2)[0])


def test_a_choice_of_fewer_begins_that_of_more():
    np.testing.assert_array_equal(select_permutations(10, tiles=6), select_permutations(30, tiles=6)[:10])


def test_the_cached_array_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        select_permutations(3, tiles=3)[0] = 0
    assert select_permutations(3, tiles=3) is select_permutations(3, tiles=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 25, "tiles": 4}, "25 permutations of 4 tiles cannot be selected; use 1 to 24, which is all"),
        ({"count": 0}, "0 permutations of 9 tiles cannot be selected; use 1 to 362880, which is all"),
        ({"count": 5, "tiles": 11}, "permutations of 11 tiles cannot be selected; use 1 to 10 tiles"),
        ({"count": 5, "tiles": 0}, "permutations of 0 tiles"),
        ({"count": 5, "criterion": "maximum"}, "criterion 'maximum' is unknown; choose one of minimum, mean"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        select_permutations(**arguments)
