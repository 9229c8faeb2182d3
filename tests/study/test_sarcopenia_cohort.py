"""What is said of the patients of a classification study."""

import pandas as pd

from configs.sarcopenia_classification import get_config
from mskjax.study.sarcopenia_cohort import notes

PARTS = (
    "Of 79 labelled patients, 18 of them sarcopenic, in each shuffle 54 train (12 of them sarcopenic), "
    "12 validate (3 of them sarcopenic), 13 test (3 of them sarcopenic)."
)


def cohort(patients=79, positive=18, **columns):
    labels = pd.array([int(i < positive) for i in range(patients)], "Int64")
    names = [f"p{i:02d}" for i in range(patients)]
    cases = {"case_id": [f"{name}_0" for name in names], "patient_id": names, "sarcopenia": labels, "sex": ""}
    return pd.DataFrame(cases).assign(**columns)


def study(**fields):
    config = get_config("init=random")
    config.update(fields)
    return config


def test_who_takes_part_and_whose_further_slices_do_not():
    """One patient has a second slice, another a second one without a label; one has no label at all."""
    further = [cohort(1, case_id="p00_1"), cohort(1, case_id="p00_2", sarcopenia=pd.NA)]
    stranger = cohort(1, case_id="x", patient_id="x", sarcopenia=pd.NA)
    assert notes(pd.concat([cohort(), *further, stranger]), study()) == [
        PARTS,
        "The sex of no patient is known, so that nothing is told by sex.",
        "2 cases without a label take no part, 1 of them further cases of patients who do.",
        "Patients have 1 to 2 labelled cases, which stay together; every one of them counts.",
    ]
    assert notes(pd.concat([cohort(), stranger]), study())[2:] == ["1 case without a label takes no part."]


def test_how_many_of_each_sex_are_in_each_part():
    """12 of 18 sarcopenic are men and 40 of 61 others: 36, 8 and 8 of 52 men, and 3 women where one is left over."""
    sex = ["M" if i < 12 or 18 <= i < 58 else "F" for i in range(79)]
    told = notes(cohort(sex=sex), study(stratify="label_and_sex"))
    assert told == [
        PARTS,
        "By sex 36 men (8 of them sarcopenic) and 18 women (4 of them sarcopenic) train, 8 men (2 of them sarcopenic) "
        "and 4 women (1 of them sarcopenic) validate, 8 men (2 of them sarcopenic) and 5 women (1 of them sarcopenic) "
        "test: shuffles are stratified by class and sex (config.stratify).",
    ]


def test_by_class_alone_the_sexes_vary_from_shuffle_to_shuffle():
    """One woman of 30: she is in the test of some shuffles and not of others."""
    cases = cohort(30, 10, sex=["F", *["M"] * 28, ""])
    told = notes(cases, study(shuffles=40, validation_fraction=0.2, test_fraction=0.3))[1]
    assert "0 to 1 women (0 to 1 of them sarcopenic)" in told
    assert "0 to 1 of unknown sex (0 of them sarcopenic) test" in told
    assert told.endswith("shuffles are stratified by class, and not by sex (config.stratify).")
