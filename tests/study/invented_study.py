"""A data-efficiency study whose every number is drawn by a program; nothing was trained."""

import numpy as np
import pandas as pd

INITS = ("random", "classification", "segmentation", "reconstruction", "jigsaw")
SIZES = (5, 10, 25, 50, 75, 100, 125)
# How far each initialisation is from what it reaches in the end, at n = 5.
LAG = {"random": 0.28, "classification": 0.09, "segmentation": 0.04, "reconstruction": 0.2, "jigsaw": 0.1}


def invent_cases(inits=INITS, sizes=SIZES, repeats=(4, 2, 2), cases=37, readers=10, seed=0):
    """The rows of cases.csv: folds x draws x seeds models each, and readers who draw half of the cases each."""
    rng = np.random.default_rng(seed)
    area, density = rng.normal(140, 28, cases), rng.normal(38, 9, cases)
    known = pd.DataFrame({"reference_sma_cm2": area, "reference_smd_hu": density})
    known.insert(0, "case_id", [f"case_{i:02d}" for i in range(cases)])
    parts = [
        _drawn(rng, known, 0.06 + LAG.get(init, 0.15) * 5 / n).assign(
            init=init, n=n, fold=fold, draw=draw, seed=model, reader=""
        )
        for init in inits
        for n in sizes
        for fold, draw, model in np.ndindex(*repeats)
    ]
    for r in range(readers):
        own = known.iloc[r % 2 :: 2]
        parts.append(_drawn(rng, own, 0.1).assign(init="observers", reader=f"reader_{r:02d}"))
    whole = pd.concat(parts, ignore_index=True)
    numbers = {name: whole[name].astype("Int64") for name in ("n", "fold", "draw", "seed") if name in whole}
    return whole.assign(**numbers)


def invent_rows(epochs=200, measure=None, seed=0, floor=0.08, start=1.4):
    """The rows of a metrics.jsonl whose losses fall; `measure` is a further one of validation, which rises."""
    rng = np.random.default_rng(seed)
    time = np.arange(1, epochs + 1)
    loss, validation = (
        (start - low) * np.exp(-time / 22) + low * (1 + 0.06 * rng.random(epochs)) for low in (floor, 1.3 * floor)
    )
    best = int(np.argmin(validation))
    rows = []
    for i in range(epochs):
        row = {"step": 5 * (i + 1), "epoch": i + 1, "learning_rate": 3e-4, "loss": float(loss[i])}
        row |= {"validation_loss": float(validation[i]), "best_step": 5 * (min(i, best) + 1)}
        rows.append(row | ({measure: float(0.9 * (1 - np.exp(-i / 40)))} if measure else {}))
    return rows


def _drawn(rng, known, error):
    count = len(known)
    spread = np.abs(rng.normal(0, error / 3, count))
    return known.assign(
        dice=np.clip(1 - error - spread, 0, 1),
        rms_dta_cm=np.abs(2.6 * error + rng.gamma(1.2, error, count)),
        sma_cm2=known["reference_sma_cm2"] * (1 + rng.normal(-error / 6, error / 2, count)),
        smd_hu=known["reference_smd_hu"] - 60 * error * spread + rng.normal(-20 * error, 3, count),
    )
