"""Pairs finished one after another, or by processes of their own."""

import os
from functools import partial
from pathlib import Path

from pair_files import pair

from mskjax.data import volume_cases
from mskjax.data.pair_loop import Finished, finish_all
from mskjax.data.pairs import Pair
from mskjax.data.volume_cases import VolumeCase, VolumeOptions


def finish_or_die(one: Pair, folder: Path) -> Finished[VolumeCase]:
    if one.image.name == "dies":
        os._exit(9)
    return volume_cases.finish(one, b"key", folder, VolumeOptions((2.0, 2.0, 2.0)))


def test_a_process_that_dies_fails_its_pair_alone(cohort, caplog):
    """And the others come out as without processes, whose remarks are logged here."""
    pairs = [pair(cohort), Pair(Path("dies")), pair(cohort, 1), Pair(Path("nowhere")), pair(cohort, 2)]
    expected, _ = finish_all([pairs[i] for i in (0, 2, 4)], partial(finish_or_die, folder=cohort / "one"))
    finish_all(pairs[:1], finish := partial(finish_or_die, folder=cohort / "two"))
    (cut,) = (cohort / "two/volumes").iterdir()
    cut.write_bytes(cut.read_bytes()[:-1])
    good, failed = finish_all(pairs, finish, workers=2)
    assert list(good) == [0, 2, 4]
    assert [one.case for one in good.values()] == [one.case for one in expected.values()]
    assert caplog.messages == [f"{cut} was altered since it was written; it is made anew"]
    assert failed["dies"].startswith("its process died, of too little memory most likely; give fewer --workers")
    assert failed["nowhere"].startswith("does not exist; correct its path")


def test_what_fails_is_told_in_one_line(caplog):
    def finish(one: Pair) -> Finished[str]:
        if one.image.name == "fails":
            raise MemoryError(f"{one.image}  is\ntoo large")
        return Finished(one.image.name, f"print of {one.image.name}", False)

    with caplog.at_level("INFO"):
        good, failed = finish_all([Pair(Path(name)) for name in ("a", "fails", "b")], finish)
    assert good == {0: Finished("a", "print of a", False), 2: Finished("b", "print of b", False)}
    assert failed == {"fails": "is too large"}
    assert caplog.messages[-1] == "prepared 2 of 3 cases, 1 failed"
