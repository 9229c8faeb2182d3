import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_cases import frame, study

from configs import jigsaw, reconstruction, segmentation
from configs.data_efficiency import get_config
from mskjax.study import cohort
from mskjax.study.data_efficiency import (
    checked,
    notes,
    plain,
    plan,
    pretext_config,
    pretext_split,
    pretexts,
    run_config,
)

SETTINGS = settings(max_examples=20, deadline=None)
SMALL = {"sizes": (1, 2, 4), "folds": 3, "inits": ("random", "jigsaw")}


@pytest.fixture(scope="module")
def cells():
    """Those of the paper: 204 patients, of whom 37 are held out."""
    return plan(frame(167, 37), get_config())


def test_the_paper_has_560_cells(cells):
    """Section A: 4 folds x 2 draws x 2 seeds = 16 models for each n and initialisation; 5 x 7 x 16 = 560."""
    assert len(cells) == len({cell.name for cell in cells}) == 560
    assert set(Counter((cell.init, cell.n) for cell in cells).values()) == {16}
    assert {cell.n for cell in cells} == {5, 10, 25, 50, 75, 100, 125}
    assert {cell.init for cell in cells} == {"random", "classification", "segmentation", "reconstruction", "jigsaw"}
    assert cells[0].name == "random_n125_fold0_draw0_seed0"


def test_each_trains_on_n_patients_and_validates_on_its_whole_fold(cells):
    folds = {cell.fold: set(cell.validation_cases) for cell in cells}
    assert sorted(map(len, folds.values())) == [41, 42, 42, 42]
    assert set().union(*folds.values()) == {f"p{number:03d}_0" for number in range(167)}
    for cell in cells:
        assert len(set(cell.train_cases)) == len(cell.train_cases) == cell.n
        assert set(cell.validation_cases) == folds[cell.fold]
        assert not set(cell.train_cases) & folds[cell.fold]


def test_subsets_are_nested_and_shared_by_seeds_and_initialisations(cells):
    subsets = {(cell.fold, cell.draw, cell.n): set(cell.train_cases) for cell in cells}
    assert len({(c.fold, c.draw, c.n, c.train_cases) for c in cells}) == len(subsets) == 4 * 2 * 7
    for (fold, draw, n), subset in subsets.items():
        assert all(subset < other for (f, d, m), other in subsets.items() if (f, d) == (fold, draw) and m > n)


def test_draws_are_independent(cells):
    """Of two independent draws of 25 of 125 patients, 5 are expected to agree, hypergeometrically; sd 1.8."""
    of = {(c.fold, c.draw): set(c.train_cases) for c in cells if c.n == 25}
    shared = [len(of[fold, 0] & of[fold, 1]) for fold in range(4)]
    assert all(0 <= number <= 13 for number in shared)
    assert len({frozenset(subset) for subset in of.values()}) == 8


def test_a_study_that_is_stopped_early_has_whole_curves_and_equal_cells_are_neighbours(cells):
    for repeat in range(4):
        part = cells[140 * repeat : 140 * (repeat + 1)]
        assert {(cell.seed, cell.draw) for cell in part} == {divmod(repeat, 2)}
        assert [cell.n for cell in part] == [n for n in (125, 100, 75, 50, 25, 10, 5) for _ in range(20)]


@SETTINGS
@given(st.integers(8, 30), st.integers(1, 3), st.integers(2, 4), st.integers(0, 2**40), st.randoms())
def test_patients_stay_whole_and_the_order_of_rows_does_not_matter(patients, slices, folds, seed, random):
    cases = frame(patients, test=3, slices=slices)
    config = study(**{**SMALL, "folds": folds, "seed": seed})
    cells = plan(cases, config)
    shuffled = cases.iloc[random.sample(range(len(cases)), len(cases))]
    assert plan(shuffled, config) == cells
    sizes = {len(cell.validation_cases) for cell in cells}
    assert max(sizes) - min(sizes) <= slices
    for cell in cells:
        patient_of = [{case.partition("_")[0] for case in side} for side in (cell.train_cases, cell.validation_cases)]
        assert not patient_of[0] & patient_of[1]
        assert len(patient_of[0]) == cell.n
        assert len(cell.train_cases) == cell.n * slices
        assert not {case for case in cell.train_cases + cell.validation_cases if case >= f"p{patients:03d}"}


@SETTINGS
@given(st.integers(0, 1000), st.sampled_from(["sizes", "inits", "draws", "seeds"]))
def test_more_of_anything_leaves_the_other_cells_as_they_are(seed, what):
    more = {"sizes": (1, 2, 3, 4, 6), "inits": ("segmentation", "random", "jigsaw"), "draws": 3, "seeds": 5}[what]
    cases, fewer = frame(12, 2), study(**SMALL, seed=seed)
    config = study(**{**SMALL, "seed": seed, what: more})
    assert set(plan(cases, fewer)) < set(plan(cases, config))


def test_only_the_patients_count_and_not_their_slices():
    """Other names of the cases, in another order, and one slice more leave every patient where he was."""
    cases = frame(12, 2)
    renamed = cases.assign(case_id=[f"{90 - row}_{name}" for row, name in enumerate(cases["patient_id"])])
    renamed.loc[len(renamed)] = ["0_p005", "p005", "train"]
    former, latter = plan(cases, study(**SMALL)), plan(renamed, study(**SMALL))
    for one, other in zip(former, latter, strict=True):
        for name in ("train_cases", "validation_cases"):
            patients = [case.partition("_")[2] for case in getattr(other, name)]
            assert list(dict.fromkeys(patients)) == [case.partition("_")[0] for case in getattr(one, name)]


def test_the_seed_chooses_folds_subsets_and_the_pretexts_split():
    """Of three patients one validates; the seed says who, and which of the other two trains."""
    cases, chosen = frame(3, 1), set()
    for seed in range(60):
        config = study(sizes=(1,), folds=3, draws=1, seeds=1, inits=("random",), seed=seed)
        chosen |= {(*cell.validation_cases, *cell.train_cases) for cell in plan(cases, config) if cell.fold == 0}
    assert len(chosen) == 3 * 2
    splits = {pretext_split(frame(20, 1), study(seed=seed))[1] for seed in range(5)}
    assert len(splits) > 1


def test_cells_draw_their_random_numbers_apart(cells):
    seeds = [cell.run_seed(0) for cell in cells]
    assert len(set(seeds)) == 560
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert cells[0].run_seed(1) != cells[0].run_seed(0)


def test_a_cells_run_is_that_of_launch_train(cells):
    config = study(dataset="data", epochs=7)
    runs = {cell.init: run_config(config, cell) for cell in cells[:5]}
    own = plain(segmentation.get_config())
    for cell in cells[:5]:
        run = runs[cell.init]
        assert list(run) == [*own, "cell"]
        assert run == json.loads(json.dumps(run))
        assert (run["task"], run["batch_size"], run["epochs"], run["dataset"]) == (own["task"], 4, 7, "data")
        assert run["cell"]["train_cases"] == list(cell.train_cases)
    for init in ("random", "classification", "segmentation"):
        published = plain(segmentation.get_config(f"init={init}"))
        assert [runs[init][name] for name in ("init_from", "fresh", "learning_rate")] == [
            published[name] for name in ("init_from", "fresh", "learning_rate")
        ]
    for init in ("reconstruction", "jigsaw"):
        assert (runs[init]["init_from"], runs[init]["learning_rate"]) == (f"pretexts/{init}", 3e-4)


def test_pretexts_run_as_their_own_configs_say():
    config = get_config()
    assert sorted(pretexts(config)) == ["jigsaw", "reconstruction"]
    assert pretexts(study(inits=("random", "jigsaw"))) == ["jigsaw"]
    for name, published in (("jigsaw", jigsaw), ("reconstruction", reconstruction)):
        run, own = pretext_config(config, name), plain(published.get_config())
        assert {**run, "seed": 0} == own
        assert pretext_config(study(seed=1), name)["seed"] != run["seed"]


@pytest.mark.parametrize(("asked", "taken"), [(0, 0), (1, 1), (3, 2), (8, 8), (12, 8)])
def test_a_pretext_takes_the_devices_that_its_batch_of_8_can_be_split_over(asked, taken):
    assert pretext_config(study(devices=asked), "jigsaw")["devices"] == taken


def test_pretexts_see_the_cohort_alone():
    """A tenth of 167 patients, rounded, validates; with 0 nobody does."""
    cases = frame(167, 37)
    train, validation = pretext_split(cases, get_config())
    assert (len(train), len(validation)) == (150, 17)
    assert sorted(train + validation) == [f"p{number:03d}_0" for number in range(167)]
    train, validation = pretext_split(cases, study(pretext_validation_fraction=0.0))
    assert (len(train), validation) == (167, ())
    train, validation = pretext_split(frame(5, 2, slices=3), study("smoke", pretext_validation_fraction=0.01))
    assert (len(train), len(validation)) == (12, 3)
    assert len({case.partition("_")[0] for case in validation}) == 1


def test_slices_may_stand_for_patients_and_the_report_says_so():
    cases = frame(1, 0, slices=30)
    cases.loc[cases.index[:6], "split"] = "test"
    config = study(sizes=(2, 12), slices_as_patients=True, inits=("random",))
    assert {len(cell.validation_cases) for cell in plan(cases, config)} == {6}
    assert "24 slices of 1 patient train and validate, 6 of 1 patient test, and 1 patient" in notes(cases, config)[0]
    assert "not on new patients" in notes(cases, config)[0]


def test_several_slices_a_patient_are_told_of():
    assert notes(frame(8, 2), get_config()) == []
    assert "1 to 3 slices, 3.0 on average" in notes(frame(8, 2, slices=3), get_config())[0]


REFUSED = {
    "too few patients": (frame(20, 2), {}, "20 patients in 4 folds leave 15 to train on.*asks for 125.*at most 15"),
    "one slice too few": (frame(166, 2), {}, "166 patients in 4 folds leave 124.*prepare more patients$"),
    "many slices of few": (frame(20, 2, slices=3), {}, "set config.slices_as_patients=True.*count its 60 slices"),
    "fewer than folds": (frame(3, 2), {"sizes": (1,)}, "3 patients cannot make 4 folds; lower config.folds"),
    "other table": (frame(20, 2).drop(columns="patient_id"), {}, "no column patient_id"),
    "unknown init": (frame(20, 2), {"inits": ("rand",)}, "'rand' is unknown; config.starts has .*random"),
    "init twice": (frame(20, 2), {"inits": ("random", "random")}, "each once"),
    "no init": (frame(20, 2), {"inits": ()}, "at least one initialisation"),
    "sizes descend": (frame(20, 2), {"sizes": (10, 5)}, r"config.sizes is \[10, 5\]"),
    "size twice": (frame(20, 2), {"sizes": (5, 5)}, "each larger than the one before"),
    "size 0": (frame(20, 2), {"sizes": (0, 5)}, "whole numbers above 0"),
    "no size": (frame(20, 2), {"sizes": ()}, "config.sizes"),
    "one fold": (frame(20, 2), {"folds": 1}, "config.folds is 1; it must be a whole number from 2 on"),
    "no draw": (frame(20, 2), {"draws": 0}, "config.draws is 0"),
    "negative seed": (frame(20, 2), {"seed": -1}, "config.seed is -1"),
    "no epoch": (frame(20, 2), {"epochs": 0}, "config.epochs is 0"),
    "fraction 1": (frame(20, 2), {"pretext_validation_fraction": 1.0}, "0 or more and below 1"),
    "kept otherwise": (frame(20, 2), {"keep": "all"}, "weights or predictions"),
    "passed over": (frame(20, 2), {"missing_weights": "ignore"}, "refuse or skip"),
}


@pytest.mark.parametrize(("cases", "fields", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_sentence(cases, fields, message):
    with pytest.raises(ValueError, match=message):
        plan(cases, study(**fields))


def test_a_test_patient_in_the_cohort_is_refused_by_name():
    cases = frame(20, 2, slices=2)
    cases.loc[0, "split"] = "test"
    with pytest.raises(ValueError, match=r"1 patient of the test cases also train or validate, such as p000;.*warn"):
        plan(cases, study(sizes=(1,)))
    assert plan(cases, study(sizes=(1,), slices_as_patients=True))


@pytest.mark.parametrize("empty", ["", None, float("nan")])
def test_a_case_without_a_patient_is_refused_by_name(empty):
    cases = frame(20, 2)
    cases["patient_id"] = cases["patient_id"].astype(object)
    cases.loc[7, "patient_id"] = empty
    with pytest.raises(ValueError, match="1 of 22 cases have no patient_id, such as p007_0"):
        plan(cases, study(sizes=(1,)))


def test_a_start_from_an_unknown_pretext_is_refused():
    config = plain(get_config())
    config["starts"]["jigsaw"]["init_from"] = "pretexts/puzzle"
    with pytest.raises(ValueError, match="'jigsaw' needs pretext 'puzzle'"):
        plan(frame(167, 37), config)


def test_a_pretext_needs_a_patient_to_train_on():
    with pytest.raises(ValueError, match=r"0\.9 of 3 patients leaves none to train"):
        pretext_split(frame(3, 1), study("smoke", pretext_validation_fraction=0.9))


def test_the_config_is_locked_and_its_strings_choose_networks():
    with pytest.raises(AttributeError):
        get_config().fold = 3
    models = [get_config(text).task.model for text in (None, "network=small", "smoke")]
    assert [(model.stage_sizes, model.width) for model in models] == [
        ((3, 4, 23, 3), 64),
        ((1, 1, 1, 1), 16),
        ((1, 1, 1, 1), 4),
    ]
    smoke = get_config("smoke")
    assert smoke.inits == ("random", "reconstruction", "jigsaw")
    assert len(plan(frame(8, 2), smoke)) == 3 * 2 * 2


def test_a_cohort_alone_is_planned_and_a_study_needs_test_cases():
    """All cases that are not of the split test may be learned from, also where there is no split."""
    cohort_alone, chosen = frame(20, 0), study(sizes=(1,))
    assert plan(cohort_alone, chosen) == plan(cohort_alone.drop(columns="split"), chosen)
    assert len({case for cell in plan(cohort_alone, chosen) for case in cell.validation_cases}) == 20
    with pytest.raises(ValueError, match="none of 20 cases is held out"):
        cohort.check_held_out(cohort_alone)
    cohort.check_held_out(frame(20, 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha", 5.0),
        ("alpha", 0.0),
        ("bootstrap_samples", -3),
        ("checkpoint_minutes", -1.0),
        ("leave_out", ("random5",)),
    ],
)
def test_options_of_results_are_checked_before_days_of_training(field, value):
    with pytest.raises(ValueError, match=f"config.{field} is .*; it must be "):
        checked(study(**{field: value}))
