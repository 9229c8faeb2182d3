import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from mskjax.study import latex
from mskjax.study.tables import C_COLUMNS, D_COLUMNS, DUNNETT_COLUMNS


def dunnett_rows(*rows):
    filled = {
        "p_holm": np.nan,
        "values": 592,
        "non_finite": 0,
        "control_values": 182,
        "control_non_finite": 0,
        "reason": "",
    }
    return pd.DataFrame([filled | row for row in rows], columns=pd.Index(DUNNETT_COLUMNS))


TABLE_1 = dunnett_rows(
    {"metric": "dice", "init": "random", "n": 5, "p": 1e-9, "p_holm": 1e-8, "outcome": "worse"},
    {"metric": "dice", "init": "random", "n": 10, "p": 0.03849, "outcome": ""},
    {"metric": "dice", "init": "my_50%", "n": 10, "p": 0.00099, "p_holm": 0.001, "outcome": "better"},
    {
        "metric": "rms_dta_cm",
        "init": "random",
        "n": 5,
        "p": np.nan,
        "outcome": "",
        "reason": "no variance in any group",
    },
    {"metric": "rms_dta_cm", "init": "random", "n": 10, "p": 0.99999, "outcome": "", "non_finite": 3},
    {"metric": "rms_dta_cm", "init": "my_50%", "n": 10, "p": 0.0010001, "outcome": "", "control_non_finite": 2},
)
COUNTS = {"p_holm": np.nan, "values": 592, "other_values": 592, "non_finite": 0, "other_non_finite": 0}
TABLE_C = pd.DataFrame(
    [
        COUNTS
        | {"n": 5, "init": "random", "other_init": "segmentation", "p": 1e-9, "p_holm": 9e-4, "other_non_finite": 4},
        COUNTS | {"n": 5, "init": "random", "other_init": "jigsaw", "p": 0.26944, "other_non_finite": 1},
        COUNTS
        | {"n": 5, "init": "segmentation", "other_init": "jigsaw", "p": np.nan, "non_finite": 4, "other_non_finite": 1},
        COUNTS | {"n": 10, "init": "random", "other_init": "jigsaw", "p": 0.00005},
    ],
    columns=pd.Index(C_COLUMNS),
)
TABLE_D = pd.DataFrame(
    [
        COUNTS | {"init": "random", "n": 5, "other_n": 125, "p": 0.0009, "p_holm": 0.0027},
        COUNTS | {"init": "random", "n": 100, "other_n": 125, "p": 0.21871},
        COUNTS | {"init": "jigsaw", "n": 100, "other_n": 125, "p": 0.0805},
    ],
    columns=pd.Index(D_COLUMNS),
)


def body(text):
    """The cells of the rows between the rules."""
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r" \\")]
    return [re.split(r" ?(?<!\\)& ?", line) for line in lines]


def caption(text):
    return next(line for line in text.splitlines() if line.startswith(r"\caption"))


def test_table_1_is_laid_out_and_marked_as_in_the_paper():
    assert body(latex.table_1(TABLE_1, 0.001)) == [
        ["Source Task", "$n = 5$", "$n = 10$"],
        [r"\multicolumn{3}{l}{DSC}"],
        ["Rand. Init.", r"\underline{$p < 0.001$}$^\dagger$", "$0.038$"],
        [r"my\_50\%", "--", r"\textbf{\boldmath $p < 0.001$}"],
        [r"\multicolumn{3}{l}{RMS-DTA}"],
        ["Rand. Init.", "--", "$1.000$"],
        [r"my\_50\%", "--", "$0.001$"],
    ]


def test_caption_of_table_1_says_test_control_alpha_and_what_was_left_out():
    said = caption(latex.table_1(TABLE_1, 0.001))
    for part in (
        "Dunnett's",
        "readers (control)",
        "$p < 0.001$",
        "0 of 1776 predictions and 0 of 182 control values in DSC",
        "3 of 1776 predictions and 0 of 182 control values in RMS-DTA",
        "-- is no test (no variance in any group)",
    ):
        assert part in said


def test_table_2_names_its_own_metrics_and_control():
    text = latex.table_2(TABLE_1.replace({"metric": {"dice": "smd_hu", "rms_dta_cm": "sma_cm2"}}), 0.01)
    assert [row[0] for row in body(text) if len(row) == 1] == [r"\multicolumn{3}{l}{SMD}", r"\multicolumn{3}{l}{SMA}"]
    assert "expert (control)" in caption(text)
    assert "$p < 0.01$" in caption(text)


def test_appendix_c_is_a_square_for_each_n():
    assert body(latex.appendix_c(TABLE_C, 0.001)) == [
        ["", "Rand. Init.", "Segmentation", "Jigsaw"],
        [r"\multicolumn{4}{l}{$n = 5$}"],
        ["Rand. Init.", "1.0", r"****$^\dagger$", "$0.2694$"],
        ["Segmentation", r"****$^\dagger$", "1.0", "--"],
        ["Jigsaw", "$0.2694$", "--", "1.0"],
        [r"\multicolumn{4}{l}{$n = 10$}"],
        ["Rand. Init.", "1.0", "--", "****"],
        ["Segmentation", "--", "1.0", "--"],
        ["Jigsaw", "****", "--", "1.0"],
    ]


def test_captions_of_the_appendices_count_each_group_once():
    # At n = 5 three groups and at n = 10 two; segmentation has 4 infinite distances and jigsaw 1.
    assert f"Infinite distances, 5 of {5 * 592}, rank as the largest" in caption(latex.appendix_c(TABLE_C, 0.001))
    assert f"0 of {5 * 592}" in caption(latex.appendix_d(TABLE_D, 0.001))


def test_appendix_d_has_the_papers_columns():
    text = latex.appendix_d(TABLE_D, 0.001)
    assert body(text) == [
        ["Source Task", "$n = 5$", "$n = 100$"],
        ["Rand. Init.", "****", "$0.2187$"],
        ["Jigsaw", "--", "$0.0805$"],
    ]
    assert "the largest of the same initialisation, $n = 125$" in caption(text)


def test_a_small_p_above_a_smaller_alpha_is_not_printed_as_0():
    assert "$p < 0.0001$" in latex.appendix_c(TABLE_C, 1e-6)


def test_every_sign_of_latex_is_escaped():
    assert latex.escape(r"a_b%c&d#e$f{g}~h^i\j<k>") == (
        r"a\_b\%c\&d\#e\$f\{g\}\textasciitilde{}h\textasciicircum{}i\textbackslash{}j$<$k$>$"
    )


TEXTS = [
    latex.table_1(TABLE_1, 0.001),
    latex.table_1(TABLE_1.iloc[:0], 0.001),
    latex.appendix_c(TABLE_C, 0.001),
    latex.appendix_c(TABLE_C.iloc[:0], 0.001),
    latex.appendix_d(TABLE_D, 0.001),
    latex.appendix_d(TABLE_D.iloc[:0], 0.001),
]


@pytest.mark.parametrize("text", TEXTS)
def test_rows_are_as_long_as_the_header_and_braces_close(text):
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    columns = re.search(r"\\begin\{tabular\}\{(l c*|lc*)\}", text)
    assert columns
    assert {len(row) for row in body(text)} <= {1, len(columns[1])}


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_tables_compile_with_booktabs_alone(tmp_path):
    source = "\n".join([r"\documentclass{article}\usepackage{booktabs}\begin{document}", *TEXTS, r"\end{document}"])
    (tmp_path / "tables.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
