import dataclasses
import html
import math
import re

import numpy as np
import pandas as pd
import pytest
from invented_study import invent_cases

from mskjax.study import agreement, agreement_figure, plates, study_notes, study_report, study_tables, tables
from mskjax.study.plates import MINUS, Plate
from mskjax.study.study_findings import StudyFindings
from mskjax.study.study_tables import NOTHING

NAMES = [*(f"figure_{part}" for part in ("2", "3", "4", "5a", "5b", "a1", "a2", "b1")), "bland_altman"]
PLATES = [Plate(name, name.upper(), f"{name} seen", f"Caption of {name}.", b"png", b"pdf") for name in NAMES]
HOSTILE = '<b onload="x">&\'</b>'


def headline(**sizes):
    """Rows of the headline: of each initialisation the n by Dunnett's test and by the bootstrap."""
    rows = [
        {"init": init, "method": method, "n": n, "smallest_n": 5, "largest_n": 20, "alpha": 0.001, "reason": reason}
        for init, (dunnett, bootstrap, reason) in sizes.items()
        for method, n in (("Dunnett", dunnett), ("patient bootstrap", bootstrap))
    ]
    columns = ["init", "method", "n", "smallest_n", "largest_n", "alpha", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"n": "Int64"})


@pytest.fixture(scope="module")
def whole():
    cases = invent_cases(("random", "segmentation", "jigsaw"), (5, 20), repeats=(2, 1, 1), cases=6, readers=4)
    sizes = {"random": (None, None, "n = 20 is worse in Dice"), "segmentation": (5, 20, ""), "jigsaw": (20, 20, "")}
    return StudyFindings(
        study="trial",
        dataset="/data/cohort",
        cases=cases,
        headline=headline(**sizes),
        table_1=tables.table_1(cases, samples=50),
        table_2=tables.table_2(cases, samples=50),
        appendix_c=tables.appendix_c(cases),
        appendix_d=tables.appendix_d(cases),
        agreement=agreement.agreement(cases),
        plates=PLATES,
        alpha=0.001,
        planned_models=12,
        jigsaw_accuracy=0.5,
        readers_command="python -m launch.evaluate --observers=readers.csv",
        provenance={"config": {"folds": 4}, "sha256": {"slices.npz": "abc"}},
    )


def words(findings):
    """The text of the page as people see it."""
    body = study_report.render(findings).partition("<body>")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def without(findings, init):
    return findings.cases[findings.cases["init"] != init]


def test_the_answer_comes_first_and_everything_in_its_order(whole):
    text = words(whole)
    assert "Folder trial: 12 of 12 models trained, tested on 6 cases, 4 readers. Dataset /data/cohort." in text
    order = ["5 training outlines are enough", "Outlines that are enough", "FIGURE_3", "FIGURE_4", "Table 1"]
    order += ["FIGURE_5A", "FIGURE_5B", "Table 2", "Agreement with the expert", "BLAND_ALTMAN", "FIGURE_2"]
    order += ["The jigsaw network solves", "FIGURE_A1", "FIGURE_A2", "FIGURE_B1", "Appendix C", "Appendix D"]
    order += ["How to read this", "Where it comes from", "config.folds"]
    places = [text.index(name) for name in order]
    assert places == sorted(places)
    assert all(f"Caption of {name}." in text for name in NAMES)


def test_the_answer_names_each_initialisation(whole):
    first, second, third = study_notes.answer(whole)
    assert first.startswith("With segmentation initialisation 5 training outlines are enough:")
    assert "(Dunnett's test, p < 0.001)" in first
    assert second == "Jigsaw needs 20; for random not even 20 are shown to be enough."
    assert "which does not take predictions as independent, the number is another: segmentation 20. Dunnett's" in third
    assert "what these 6 test cases can tell" in third
    none = dataclasses.replace(whole, headline=headline(random=(None, None, ""), jigsaw=(None, 20, "")))
    first, second = study_notes.answer(none)
    assert first == "No start of training is shown to be enough with up to 20 outlines (Dunnett's test)."
    assert ": jigsaw 20. Dunnett's number" in second
    both = dataclasses.replace(whole, headline=headline(random=(20, 20, ""), jigsaw=(20, 20, "")))
    (only,) = study_notes.answer(both)
    assert "With random and jigsaw initialisation 20 training outlines" in only
    never = dataclasses.replace(whole, headline=headline(random=(20, None, ""), jigsaw=(20, 20, "")))
    assert ": random more than 20. Dunnett's" in study_notes.answer(never)[1]


def test_the_headline_stands_beside_the_bootstraps(whole):
    rows = re.findall(r"<tr>(.*?)</tr>", study_tables.headline_table(whole))
    cells = [re.findall(r"<td[^>]*>(?:<span>)?(.*?)(?:</span>.*?)?</td>", row) for row in rows[1:]]
    assert [[row[0], row[1], row[-1]] for row in cells] == [
        ["Random", "more than 20", "more than 20"],
        ["Segmentation", "5 or fewer", "20"],
        ["Jigsaw", "20", "20"],
        ["Readers", "", ""],
    ]
    assert "<small>n = 20 is worse in Dice</small>" in rows[1]
    chosen = whole.cases[(whole.cases["init"] == "segmentation") & (whole.cases["n"] == 5)]
    assert cells[1][2] == f"{chosen['dice'].mean():.3f}"
    assert cells[0][2] == NOTHING, "nothing is reached where no size is enough"
    assert cells[3][2] == f"{whole.cases.loc[whole.cases['init'] == 'observers', 'dice'].mean():.3f}"


def rank_row(init, other, **values):
    row = {"metric": "rms_dta_cm", "n": 5, "init": init, "other_init": other, "values": 9, "other_values": 9}
    row |= {"non_finite": 0, "other_non_finite": 0, "u": 3.0, "p": 1e-6, "p_holm": 1e-5, "rank_biserial": 0.8}
    return row | {"reason": ""} | values


def test_how_initialisations_do_against_random_at_the_smallest_size(whole):
    """20 against 20 values that do not overlap: the exact p is 2 / binomial(40, 20), far below 0.001."""
    random = whole.cases.loc[(whole.cases["init"] == "random") & (whole.cases["n"] == 5)].iloc[:1]
    rising = np.linspace(0, 0.1, 20)

    def group(init, dice, distance, n=5):
        rows = pd.concat([random] * 20, ignore_index=True).assign(init=init, n=n)
        return rows.assign(case_id=[f"c{i}" for i in range(20)], dice=dice + rising, rms_dta_cm=distance + rising)

    groups = [
        group("random", 0.5, 0.5),
        group("segmentation", 0.8, 0.1),
        group("mae", 0.8, 0.9),
        group("jigsaw", 0.5, 0.5),
        group("reconstruction", 0.1, 0.5),
        group("classification", 0.9, 0.1, n=20),
    ]
    told = study_notes.against_random(dataclasses.replace(whole, cases=pd.concat(groups)))
    assert told == (
        "At the smallest size, n = 5, against random initialisation (Mann-Whitney's U, p < 0.001): segmentation is "
        "better in Dice and RMS-DTA; jigsaw is not significantly different in Dice and RMS-DTA; reconstruction is "
        "worse in Dice and not significantly different in RMS-DTA; mae is better in Dice and worse in RMS-DTA."
    )
    assert study_notes.against_random(dataclasses.replace(whole, cases=pd.concat(groups[1:]))) == ""


def test_appendix_c_marks_the_shorter_distances(whole):
    rows = [rank_row("random", "segmentation"), rank_row("mae", "random", rank_biserial=-0.7)]
    table = study_tables.appendix_c_table(pd.DataFrame(rows), 0.001)
    assert re.search(rf"Random {NOTHING} Segmentation</td><td class=\"worse\"", table), (
        "random has the longer distances"
    )
    assert re.search(rf"mae {NOTHING} Random</td><td class=\"better\"", table)


def test_the_jigsaw_is_judged_against_chance(whole):
    assert study_notes.jigsaw_sentence(whole) == (
        "The jigsaw network solves 50.0 % of held-out puzzles, 25 times what chance would (2 %)."
    )
    poor = dataclasses.replace(whole, jigsaw_accuracy=0.015)
    assert study_notes.jigsaw_sentence(poor).endswith("solves 1.5 % of held-out puzzles, no more than chance (2 %).")
    assert study_notes.jigsaw_sentence(dataclasses.replace(whole, jigsaw_accuracy=None)) == ""


def test_a_whole_study_of_patients_has_no_warnings(whole):
    assert study_notes.notes(whole) == []
    assert 'class="note"' not in study_report.render(whole)


def test_warnings(whole):
    cases = whole.cases.copy()
    cases.loc[0, ["rms_dta_cm", "smd_hu"]] = [math.inf, math.nan]
    cases.loc[1, "rms_dta_cm"] = math.inf
    command = "python -m launch.convert --model=resnet101"
    changed = {"cases": cases, "planned_models": 560, "phantoms": True}
    text = words(
        dataclasses.replace(whole, **changed, missing_inits={"classification": command}, further_notes=["Mind."])
    )
    assert "The cases are phantoms" in text
    assert "12 of 560 models are trained" in text
    assert "Of 72 predictions 2 have no finite RMS-DTA and 1 no density" in text
    assert f"Classification is missing from this study. What adds it: {command}" in text
    assert "Mind." in text
    assert "No readers were given" not in text


def test_without_readers(whole):
    cases = without(whole, "observers")
    text = words(dataclasses.replace(whole, cases=cases, headline=whole.headline[:0]))
    means = {(i, n): rows["dice"].mean() for (i, n), rows in cases.groupby(["init", "n"])}
    best = {n: max((mean, init) for (init, size), mean in means.items() if size == n) for n in (5, 20)}
    assert f"a mean Dice of {best[5][0]:.3f} from 5 training outlines (start: {best[5][1]})" in text
    assert f"{best[20][0]:.3f} from 20 training outlines" in text
    assert "What adds them: python -m launch.evaluate --observers=readers.csv" in text
    assert "Table 1: networks against readers" not in text
    assert "Outlines that are enough by" not in text


def test_a_study_of_one_model(whole):
    cases = invent_cases(("random",), (5,), repeats=(1, 1, 1), cases=2, readers=0)
    frames = {name: getattr(tables, name)(cases) for name in ("appendix_c", "appendix_d")}
    frames |= {name: getattr(tables, name)(cases, samples=20) for name in ("table_1", "table_2")}
    frames |= {"agreement": agreement.agreement(cases), "headline": whole.headline[:0]}
    text = words(dataclasses.replace(whole, cases=cases, plates=[], **frames))
    assert "1 of 12 models" in text
    assert "At the smallest size" not in text
    assert "Appendix C" not in text.partition("How to read this")[0]


def test_what_comes_from_outside_is_escaped_and_nothing_is_fetched(whole):
    names = {"random": HOSTILE, "reader_00": HOSTILE}
    cases = whole.cases.replace({"init": names, "reader": names, "case_id": {"case_00": HOSTILE}})
    plate = Plate("figure_3", HOSTILE, HOSTILE, HOSTILE, b"png", b"pdf")
    text = study_report.render(
        dataclasses.replace(
            whole,
            study=HOSTILE,
            dataset=HOSTILE,
            cases=cases,
            headline=whole.headline.replace({"init": names}),
            table_1=whole.table_1.replace({"init": names}),
            appendix_c=whole.appendix_c.assign(reason=HOSTILE, init=HOSTILE),
            agreement=whole.agreement.replace({"init": names}),
            plates=[plate],
            missing_inits={HOSTILE: HOSTILE},
            further_notes=[HOSTILE],
            provenance={HOSTILE: HOSTILE},
        )
    )
    assert "<b" not in text.replace("<body", "")
    assert 'onload="' not in text
    assert text.count(html.escape(HOSTILE)) > 10
    assert not re.search(r"https?:|@import|url\(|<(script|link|iframe|object)\b", text)
    assert "default-src 'none'" in text
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_same_findings_give_the_same_page(whole):
    assert study_report.render(whole) == study_report.render(dataclasses.replace(whole))


def test_readers_agree_too(whole):
    first = study_tables.agreement_tables(whole.agreement)[2]
    drawn = whole.cases[whole.cases["init"] == "observers"]
    bias = (drawn["smd_hu"] - drawn["reference_smd_hu"]).mean()
    assert f"Readers: bias {bias:.1f} HU, limits of agreement ".replace("-", MINUS) in first


def test_the_agreement_of_one_group(whole, canvases):
    plate = agreement_figure.agreement_figure(whole.cases, "jigsaw", 20)
    area = canvases["bland_altman"].axes[0]
    chosen = whole.cases[(whole.cases["init"] == "jigsaw") & (whole.cases["n"] == 20)]
    difference = (chosen["sma_cm2"] - chosen["reference_sma_cm2"]).to_numpy()
    assert area.lines[1].get_ydata() == pytest.approx(difference)
    assert area.get_title(loc="left") == "Muscle area, 12 of 12 predictions"
    assert plate.caption.startswith("Jigsaw, n = 20: difference from the expert")
    assert "12 predictions of 6 cases" in plate.caption
    with pytest.raises(ValueError, match="no model of jigsaw with n = 7"):
        agreement_figure.agreement_figure(whole.cases, "jigsaw", 7)


def test_captions_lie_where_the_page_says():
    assert plates.CAPTIONS in study_report.BESIDE
