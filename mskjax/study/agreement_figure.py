"""The Bland-Altman plot of one initialisation and size of a study."""

from functools import partial

import pandas as pd

from mskjax.study import plates
from mskjax.study.case_scores import of_networks
from mskjax.study.figures import draw_agreement
from mskjax.study.plates import Plate


def agreement_figure(cases: pd.DataFrame, init: str, n: int) -> Plate:
    """All predictions of the models of `init` and `n` against the expert, in area and density.

    `cases` are rows of cases.csv. Raises `ValueError` where no such model has predicted anything.
    """
    networks = of_networks(cases)
    rows = networks.loc[(networks["init"] == init) & (networks["n"] == n)]
    if rows.empty:
        raise ValueError(f"no model of {init} with n = {n} has predicted anything; choose one that the study trained")
    whose = f"{plates.looks([init])[init].name}, n = {n}"
    caption = (
        f"{whose}: difference from the expert against the mean of both, for {len(rows)} predictions of "
        f"{rows['case_id'].nunique()} cases, several models a case. The solid line is the bias, the dashed lines are "
        "the 95 % limits of agreement."
    )
    draw = partial(draw_agreement, cases=rows, rows_are="predictions")
    description = "Bland-Altman plots of muscle area and density"
    return plates.make("bland_altman", "Agreement", description, caption, (10, 4.2), draw)
