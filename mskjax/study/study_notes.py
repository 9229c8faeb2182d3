"""The sentences of a study's report: the answer, what must be known before trusting it, and what the words mean."""

import numpy as np

from mskjax.data.splits import counted
from mskjax.study import plates
from mskjax.study.case_scores import by_init_and_n, of_networks
from mskjax.study.report import HOW_TO_READ as OF_METRICS
from mskjax.study.report import number
from mskjax.study.statistics import mann_whitney
from mskjax.study.study_findings import BOOTSTRAP, StudyFindings

_COMPARED = {"dice": ("Dice", 1), "rms_dta_cm": ("RMS-DTA", -1)}

HOW_TO_READ = {
    "Outlines that are enough": "The smallest number of training outlines such that neither it nor any larger number "
    "that was tried is significantly worse than the readers, in Dice or in RMS-DTA: a worse mean, and p of Dunnett's "
    "test below the level. What no test tells apart may still differ; the intervals say by how much.",
    "Bootstrap over patients": "The same, judged by drawing patients with replacement, all their predictions and "
    "outlines along, instead of by Dunnett's test. Predictions of several models on one patient are alike, so that "
    "tests which take them as independent, as the paper's do, find differences too easily. With so few patients that "
    "chance alone would put all of them on one side as often as the level allows, nothing is called tested.",
    "p, and p after Holm": "Tables 1 and 2: Dunnett's test of all groups of a metric against one control, which "
    "already answers for their number. Holm's step-down correction of the single comparisons stands below it as "
    "another way to the same end. Appendices C and D: Mann-Whitney's U, two-sided, which ranks infinite distances as "
    "the largest; Holm over the whole appendix.",
    "Bold and underlined": "Bold is significantly better, underlined significantly worse. In Table 2 any significant "
    "difference from the expert is for the worse.",
    "Hedges' g and r": "Difference of means in standard deviations; and rank-biserial correlation, the chance that "
    "the first group's distance is the longer, less the chance that it is the shorter.",
    "Bars of the figures": "Mean and 95 % confidence interval over all predictions of an initialisation and n.",
    **{name: OF_METRICS[name] for name in ("Dice", "RMS-DTA (cm)", "SMA (cm²) and SMD (HU)")},
}


def answer(findings: StudyFindings) -> list[str]:
    """Up to three sentences: how many outlines are enough for each initialisation, and where the bootstrap differs."""
    if not findings.readers:
        return [_without_readers(findings)]
    enough: dict[int, list[str]] = {}
    never = []
    for init, n in findings.smallest_sizes().items():
        enough.setdefault(n, []).append(init) if n else never.append(init)
    largest = max(findings.sizes)
    if not enough:
        nothing = f"No start of training is shown to be enough with up to {largest} outlines (Dunnett's test)."
        return [nothing, *_resampled(findings)]
    first, *later = sorted(enough)
    sentence = (
        f"With {_listed(_names(enough[first]))} initialisation {counted(first, 'training outline')} "
        f"{'is' if first == 1 else 'are'} enough: neither with so many nor with any larger number that was "
        f"tried are Dice or RMS-DTA significantly worse than the readers' (Dunnett's test, p < {findings.alpha:g}). "
        "That is no proof of being as good."
    )
    others = [f"{_listed(_names(enough[n]))} {'needs' if len(enough[n]) == 1 else 'need'} {n}" for n in later]
    others += [f"for {_listed(_names(never))} not even {largest} are shown to be enough"] if never else []
    return [sentence, *([_sentence("; ".join(others))] if others else []), *_resampled(findings)]


def notes(findings: StudyFindings) -> list[tuple[str, str]]:
    """What a reader must know before trusting the figures: sentences, each with the command that helps or ""."""
    said = {
        "The cases are phantoms, drawn by a program; these results say nothing about patients.": findings.phantoms,
        f"The study is not complete: {findings.models} of {findings.planned_models} models are trained, and everything "
        "here is of these alone.": findings.models < findings.planned_models,
        **_non_finite(findings),
    }
    told = [(sentence, "") for sentence, applies in said.items() if applies]
    if not findings.readers:
        why = "No readers were given, so that nothing tells how well people do on these cases. What adds them:"
        told.append((why, findings.readers_command))
    for init, command in findings.missing_inits.items():
        told.append((_sentence(f"{_names([init])[0]} is missing from this study. What adds it:"), command))
    return [*told, *((sentence, "") for sentence in findings.further_notes)]


def against_random(findings: StudyFindings) -> str:
    """How initialisations do against random weights at the smallest n, in Dice and RMS-DTA; empty without random ones.

    Both, as RMS-DTA is of the predicted boundary and does not see muscle that was missed.
    """
    smallest = min(findings.sizes)
    groups = {init: rows for (init, n), rows in by_init_and_n(findings.cases).items() if n == smallest}
    random = groups.pop("random", None)
    if random is None or not groups:
        return ""
    parts = []
    for init, rows in groups.items():
        found: dict[str, list[str]] = {}
        for metric, (word, better) in _COMPARED.items():
            test = mann_whitney(rows[metric].to_numpy(float), random[metric].to_numpy(float))
            significant = test.p < findings.alpha and test.effect
            how = (
                "not significantly different" if not significant else "better" if test.effect * better > 0 else "worse"
            )
            found.setdefault(how, []).append(word)
        parts.append(
            f"{_names([init])[0]} is {_listed([f'{how} in {_listed(words)}' for how, words in found.items()])}"
        )
    against = f"against random initialisation (Mann-Whitney's U, p < {findings.alpha:g})"
    return f"At the smallest size, n = {smallest}, {against}: {'; '.join(parts)}."


def jigsaw_sentence(findings: StudyFindings) -> str:
    """How well the jigsaw pretext is solved, against chance; empty where nothing is known."""
    if findings.jigsaw_accuracy is None:
        return ""
    chance = 1 / findings.permutations
    reached = f"{100 * findings.jigsaw_accuracy:.1f} % of held-out puzzles"
    ratio = findings.jigsaw_accuracy / chance
    if ratio <= 1:
        return f"The jigsaw network solves {reached}, no more than chance ({100 * chance:.3g} %)."
    return f"The jigsaw network solves {reached}, {ratio:.2g} times what chance would ({100 * chance:.3g} %)."


def _without_readers(findings: StudyFindings) -> str:
    networks, parts = of_networks(findings.cases), []
    for n in dict.fromkeys((findings.sizes[0], findings.sizes[-1])):
        dice = networks.loc[networks["n"] == n].groupby("init")["dice"]
        means = {str(init): float(values.to_numpy(float).mean()) for init, values in dice}
        best = max(means, key=lambda init: means[init])
        parts.append(f"{number(means[best], 3)} from {counted(n, 'training outline')} (start: {_names([best])[0]})")
    return f"The best networks reach a mean Dice of {' and '.join(parts)}. There are no readers to compare them with."


def _resampled(findings: StudyFindings) -> list[str]:
    """Where the bootstrap over patients gives another number than Dunnett's test."""
    sizes, largest = findings.smallest_sizes(), max(findings.sizes)
    others = {init: n for init, n in findings.smallest_sizes(BOOTSTRAP).items() if n != sizes.get(init)}
    told = [f"{_names([init])[0]} {n or f'more than {largest}'}" for init, n in others.items()]
    why = "By a bootstrap over patients, which does not take predictions as independent, the number is another:"
    which = (
        "Dunnett's number is the one to compare with the paper; the bootstrap's says what these "
        f"{counted(findings.test_cases, 'test case')} can tell, and few can tell only large differences."
    )
    return [f"{why} {_listed(told)}. {which}"] if told else []


def _non_finite(findings: StudyFindings) -> dict[str, int]:
    networks = of_networks(findings.cases)
    distances, densities = (networks[name].to_numpy(float) for name in ("rms_dta_cm", "smd_hu"))
    empty, lost = (int((~np.isfinite(values)).sum()) for values in (distances, densities))
    return {
        f"Of {len(networks)} predictions {empty} have no finite RMS-DTA and {lost} no density, as a mask is empty. "
        "Means leave them out; every table and figure counts its own.": empty + lost
    }


def _names(inits: list[str]) -> list[str]:
    return [look.name.lower() if init in plates.LOOKS else init for init, look in plates.looks(inits).items()]


def _listed(words: list[str]) -> str:
    """Words as a sentence lists them: a, b and c; empty for none."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + "." * (text[-1:] not in ".:")
