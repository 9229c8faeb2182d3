"""What processes hear of each other, in one process whose devices stand for all of them."""

import numpy as np
import pytest

from mskjax.training import agreement, sharding
from mskjax.training.team import Team


@pytest.fixture
def together(monkeypatch):
    """Two rounds late, as one of several processes."""
    monkeypatch.setattr(sharding, "team", lambda mesh: Team(0, 2))
    return agreement.Agreement(sharding.make_mesh(8, 8), 2, behind=2)


def test_what_is_asked_is_heard_some_rounds_later(together):
    asked = [(0, 1), (15, 0), (0, 0), (0, 0), (2, 1)]
    heard = [together.on(np.array(numbers)).tolist() for numbers in asked]
    assert heard == [[0, 0], [0, 0], [0, 1], [15, 0], [0, 0]]


def test_what_has_been_done_is_not_heard_again(together):
    """A checkpoint stays due until all have heard of it, and is then saved once."""
    for _ in range(3):
        heard = together.on(np.array([0, 1]))
    assert heard.tolist() == [0, 1]
    together.forget()
    assert [together.on(np.array([0, 0])).tolist() for _ in range(4)] == [[0, 0]] * 4


def test_a_process_alone_hears_itself_at_once():
    alone = agreement.Agreement(sharding.make_mesh(1, 1), 2, behind=2)
    assert alone.on(np.array([15, 1])).tolist() == [15, 1]
