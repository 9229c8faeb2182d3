"""What is enough, and whether the published tables lead to the paper's own conclusions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_rows import network, reader, study

from mskjax.study.headline import COLUMNS, bootstrap_headline, headline, sentences
from mskjax.study.tables import BETTER, outcome

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "published"
SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, -0.015, 0.015, 0.005, -0.005, 0.012, -0.012, 0.0])
INITS = ["random", "classification", "segmentation", "jigsaw", "reconstruction"]


def frame(points, init="random"):
    """A Table 1 of (n, p of Dice, p of RMS-DTA), where every difference is for the worse."""
    rows = [
        {"metric": metric, "init": init, "n": n, "p": p, "difference": -0.1 * BETTER[metric], "non_finite": 0}
        for n, *ps in points
        for metric, p in zip(("dice", "rms_dta_cm"), ps, strict=True)
    ]
    return pd.DataFrame(rows)


def answer(points, alpha=0.001):
    (row,) = headline(frame(points), alpha).to_dict("records")
    return row["n"], row["reason"]


@pytest.fixture
def published():
    """The printed Table 1, with the directions that the paper's text gives to p < 0.001."""
    path = PUBLISHED / "study_a_table1_dunnett.csv"
    if not path.exists():
        pytest.skip(f"no {path}, the printed Table 1 of study A")
    table = pd.read_csv(path).rename(columns={"initialisation": "init"})
    table["metric"] = table["metric"].map({"dsc": "dice", "rms_dta": "rms_dta_cm"})
    table["p"] = table["p"].replace("<0.001", "0.0005").astype(float)
    # Up to n = 10 what differs is worse; from n = 25 on it is better ("all models trained on n >= 50 ... better").
    table["difference"] = np.where(table["n"] <= 10, -0.1, 0.1) * table["metric"].map(BETTER)
    return table.assign(non_finite=0)


def test_the_published_table_gives_the_papers_conclusion(published):
    """10 images with three pretexts, "not significantly different to trained observers" in both metrics; 25 else."""
    found = headline(published, 0.001).set_index("init")["n"].to_dict()
    expected = {"random": 25, "classification": 10, "segmentation": 10, "jigsaw": 10, "reconstruction": 25}
    assert found == expected
    reasons = headline(published, 0.001).set_index("init")["reason"]
    assert reasons["segmentation"] == "n = 5 is worse in RMS-DTA", "at n = 5 its Dice alone holds"
    assert reasons["random"] == "n = 10 is worse in Dice and RMS-DTA"


def test_the_published_outcomes_are_those_of_the_papers_text(published):
    published["outcome"] = [
        outcome(p, difference, BETTER[metric], 0.001)
        for p, difference, metric in zip(published["p"], published["difference"], published["metric"], strict=True)
    ]
    dice, distance = (published[published["metric"] == metric] for metric in ("dice", "rms_dta_cm"))
    assert set(dice.loc[dice["n"] >= 50, "outcome"]) == {"better"}
    assert set(distance.loc[distance["n"] >= 25, "outcome"]) == {""}
    assert dice.loc[(dice["n"] == 5) & (dice["outcome"] == ""), "init"].tolist() == ["segmentation"]


def test_published_table_2_finds_fault_with_the_density_of_random_networks_at_5_alone():
    path = PUBLISHED / "study_a_table2_dunnett.csv"
    if not path.exists():
        pytest.skip(f"no {path}, the printed Table 2 of study A")
    table = pd.read_csv(path)
    p = table["p"].replace("<0.001", "0.0005").astype(float)
    worse = table[[outcome(one, -1.0, BETTER["smd_hu"], 0.001) == "worse" for one in p]]
    assert worse[["measure", "initialisation", "n"]].to_numpy().tolist() == [["smd", "random", 5]]


@pytest.mark.parametrize(
    ("points", "expected", "reason"),
    [
        ([(5, 0.5, 0.5), (10, 0.5, 0.5)], 5, ""),
        ([(5, 1e-4, 0.5), (10, 0.5, 0.5)], 10, "n = 5 is worse in Dice"),
        ([(5, 0.5, 0.5), (10, 0.5, 1e-4), (25, 0.5, 0.5)], 25, "n = 10 is worse in RMS-DTA"),
        ([(25, 0.5, 0.5), (10, 0.5, 0.5), (5, 1e-4, 1e-4)], 10, "n = 5 is worse in Dice and RMS-DTA"),
        ([(5, 0.001, 0.001)], 5, ""),
        ([(5, np.nan, 0.5), (10, 0.5, 0.5)], 10, "n = 5 is untested in Dice"),
    ],
)
def test_smallest_n_from_which_on_nothing_is_worse(points, expected, reason):
    assert answer(points) == (expected, reason)


@pytest.mark.parametrize("points", [[(5, 0.5, 0.5), (10, 1e-4, 0.5)], [(5, 0.5, 0.5), (10, 0.5, np.nan)]])
def test_no_n_is_enough_where_the_largest_is_worse_or_untested(points):
    assert pd.isna(answer(points)[0])


def test_what_is_not_finite_is_counted_at_the_answer_or_else_at_the_largest_n():
    counted = {5: 1, 10: 2, 25: 4}  # in each of the two metrics
    enough, never = frame([(5, 1e-4, 0.5), (10, 0.5, 0.5), (25, 0.5, 0.5)]), frame([(5, 0.5, 0.5), (25, 1e-4, 0.5)])
    for table, expected in ((enough, 2 * 2), (never, 2 * 4)):
        found = headline(table.assign(non_finite=table["n"].map(counted)))
        assert found["non_finite"].tolist() == [expected]
        assert found[["smallest_n", "largest_n"]].to_numpy().tolist() == [[5, 25]]


def test_alpha_decides():
    assert answer([(5, 0.01, 0.5), (10, 0.5, 0.5)], alpha=0.001)[0] == 5
    assert answer([(5, 0.01, 0.5), (10, 0.5, 0.5)], alpha=0.05)[0] == 10


def test_significantly_better_is_enough_and_a_missing_metric_is_not():
    better = frame([(5, 1e-6, 1e-6)]).assign(difference=[0.1, -0.1])
    assert headline(better)["n"].tolist() == [5]
    assert headline(better[better["metric"] == "dice"])["n"].isna().all()
    assert headline(better[better["metric"] == "dice"])["reason"].tolist() == ["n = 5 is untested in RMS-DTA"]


def test_nothing_scored_has_no_answer():
    empty = headline(frame([(5, 0.5, 0.5)]).iloc[:0])
    assert list(empty.columns) == list(COLUMNS)
    assert sentences(empty) == []


@pytest.fixture(scope="module")
def cases():
    """Random networks are worse in Dice in every patient at n = 5, and like the readers on average at n = 10."""
    return study(
        reader("A", dice=0.9 + SPREAD, rms_dta_cm=0.3 + SPREAD),
        reader("B", dice=0.9 + SPREAD, rms_dta_cm=0.3 + SPREAD),
        network("random", 5, dice=0.88 + SPREAD, rms_dta_cm=0.3 - SPREAD),
        network("random", 10, dice=0.9 - SPREAD, rms_dta_cm=0.2 + SPREAD),
        network("jigsaw", 5, dice=0.95 + SPREAD, rms_dta_cm=[np.inf, *(0.3 + SPREAD[1:])]),
        network("jigsaw", 10, dice=0.9 + SPREAD, rms_dta_cm=0.35 + SPREAD),
    )


def test_bootstrap_over_patients_decides_by_its_interval(cases):
    found = bootstrap_headline(cases)
    assert list(found.columns) == list(COLUMNS)
    assert found["init"].tolist() == ["random", "jigsaw"]
    assert found["n"].tolist() == [10, pd.NA]
    assert found["reason"].tolist() == ["n = 5 is worse in Dice", "n = 10 is worse in RMS-DTA"]


def test_bootstrap_without_readers_or_with_one_patient_shows_nothing(cases):
    alone = bootstrap_headline(cases[cases["reader"] == ""])
    assert alone["n"].isna().all()
    assert set(alone["reason"]) == {"n = 10 is untested in Dice and RMS-DTA"}
    assert bootstrap_headline(cases, {f"c{i}": "p" for i in range(12)})["n"].isna().all()
    assert len(bootstrap_headline(cases[cases["reader"] != ""])) == 0


def test_samples_too_few_for_alpha_are_made_up_for_and_too_small_an_alpha_is_refused(cases):
    pd.testing.assert_frame_equal(bootstrap_headline(cases, samples=10), bootstrap_headline(cases, samples=20_000))
    with pytest.raises(ValueError, match="an alpha of 1e-05 takes too many bootstrap samples; set 0"):
        bootstrap_headline(cases, alpha=1e-5)


def test_a_few_samples_do_not_find_worse_what_chance_can_turn():
    """Networks are better in one of eight patients alone, who outweighs the others in 1 of 15 samples."""
    dice = 0.7 + np.array([-0.03] * 7 + [0.05])
    cases = study(reader("A", dice=np.full(8, 0.7)), network("random", 5, dice=dice))
    assert bootstrap_headline(cases, alpha=0.01, samples=2)["n"].tolist() == [5]


@pytest.mark.parametrize(("alpha", "least"), [(0.001, 11), (0.01, 8), (0.05, 6)])
def test_patients_too_few_for_alpha_are_not_tested(alpha, least):
    """All of 10 patients lie on one side of 0 by chance with 2 / 2^10, which is above 0.001; all of 11 with less."""
    for count in (least - 1, least):
        worse = network("random", 5, dice=np.linspace(0.5, 0.6, count))
        found = bootstrap_headline(study(reader("A", dice=np.full(count, 0.9)), worse), alpha=alpha)
        verdict = "worse in Dice" if count == least else "untested in Dice and RMS-DTA"
        assert found["reason"].tolist() == [f"n = 5 is {verdict}"]


def test_missed_muscles_at_the_answer_are_counted(cases):
    enough = cases[(cases["init"] != "jigsaw") | (cases["n"] != 10)]
    found = bootstrap_headline(enough).set_index("init")
    assert found.loc["jigsaw", ["n", "non_finite"]].tolist() == [5, 1]
    assert "1 value that is not finite is left out" in sentences(bootstrap_headline(enough))[0]


def test_sentences_start_with_the_fewest_outlines_and_end_with_what_enough_means():
    parts = [
        frame([(5, 1e-4, 0.5), (10, 1e-4, 0.5)], "random"),
        frame([(5, 1e-4, 0.5), (10, 0.5, 0.5)], "segmentation"),
        frame([(5, 0.5, 0.5), (10, 0.5, 0.5)], "atlas"),
    ]
    *told, meaning = sentences(headline(pd.concat(parts)))
    assert told == [
        "With atlas pretraining 5 outlines, the fewest tried, are enough.",
        "With COCO segmentation pretraining 10 outlines are enough (n = 5 is worse in Dice).",
        "From random weights not even 10 outlines, the most tried, are shown to be enough (n = 10 is worse in Dice).",
    ]
    assert "Dunnett, alpha 0.001" in meaning
    assert "no proof of being as good" in meaning
