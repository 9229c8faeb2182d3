import html
import math
import re

import pandas as pd
import pytest

from mskjax.study import page, study_tables
from mskjax.study.plates import MINUS
from mskjax.study.study_tables import NOTHING


def dunnett_row(**values):
    row = {"metric": "rms_dta_cm", "init": "random", "n": 5, "values": 592, "non_finite": 0, "mean": 1.72}
    row |= {"control_mean": 0.318, "difference": 1.402, "hedges_g": 1.5, "difference_low": 1.1, "difference_high": 1.7}
    return row | {"p": 1e-9, "p_holm": 0.0123, "outcome": "worse", "reason": ""} | values


def test_table_1_has_the_papers_layout_and_marks():
    rows = [
        dunnett_row(),
        dunnett_row(n=10, p=0.0012, outcome="", non_finite=12),
        dunnett_row(init="jigsaw", n=10, p=0.0005, outcome="better", difference=-0.1),
        dunnett_row(init="jigsaw", n=5, p=math.nan, p_holm=math.nan, outcome="", reason="fewer than two finite values"),
    ]
    title, table = study_tables.dunnett_tables(pd.DataFrame(rows), "readers")
    assert "RMS-DTA (cm): networks against readers, mean 0.318 cm" in title
    assert re.findall(r"<th [^>]*>(.*?)</th>", table) == ["Initialisation", "n = 5", "n = 10"]
    random, jigsaw = re.findall(r"<tr>(<td.*?)</tr>", table)
    assert re.match(r"<td>Random</td><td class=\"worse\" title=\"[^\"]*\"><span>&lt;0.001</span>", random)
    assert "<small>+1.402</small><small>Holm 0.012</small></td>" in random
    assert "mean 1.720 cm, readers 0.318; difference +1.402, from +1.100 to +1.700 (95 %, bootstrap" in random
    assert "<span>0.0012</span><small>+1.402</small><small>Holm 0.012</small><small>12 not finite</small>" in random
    assert re.search(
        rf"<td class=\"better\" title=\"[^\"]*\"><span>&lt;0.001</span><small>{MINUS}0.100</small>", jigsaw
    )
    assert f"<span>{NOTHING}</span>" in jigsaw, "no p"
    assert "<small>fewer than two finite values</small>" in jigsaw


@pytest.mark.parametrize(
    ("p", "printed"),
    [
        (0.00099, "<0.001"),
        (0.001, "0.0010"),
        (0.0012, "0.0012"),
        (0.0384, "0.038"),
        (0.9999, "1.000"),
        (math.nan, NOTHING),
    ],
)
def test_p_is_printed_so_that_it_never_reads_as_the_level(p, printed):
    assert study_tables.p_value(p) == printed


def test_every_part_of_a_cell_is_escaped():
    hostile = "\"><i onclick='x'>&"
    text = page.table([hostile], [[page.Cell(hostile, [hostile], hostile, hostile), hostile]])
    assert "<i" not in text
    assert text.count(html.escape(hostile)) == 6


def test_columns_of_words_are_on_the_left_where_they_are_told():
    assert '<table class="words2">' in page.table(["Network", "Policy", "AUC"], [["a", "b", "0.5"]], words=2)
    assert ".words2 :is(th, td):nth-child(2)" in page.page("", [])
