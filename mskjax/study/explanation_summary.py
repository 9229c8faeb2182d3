"""The table of `mskjax.study.explanations` in a few lines: no mean without how many maps it is of, and why not all."""

import numpy as np
import pandas as pd
from jaxtyping import Float32

_ZERO = {
    "grad_cam": "nothing at this layer speaks for the class; try another --layer or --target",
    "lime": "no superpixel speaks for the class; try another --target or more --samples",
}


def why_undefined(learned: Float32[np.ndarray, "h w"], fresh: Float32[np.ndarray, "h w"]) -> str:
    """Why two maps have no rank correlation, as in "whose fresh map is the same everywhere"; "" where they have one."""
    even = [name for name, values in (("learned", learned), ("fresh", fresh)) if not np.ptp(values) > 0]
    return f"{' and '.join(even)} map {'are' if len(even) > 1 else 'is'} the same everywhere" if even else ""


def summary(table: pd.DataFrame) -> str:
    """The table in a line a method: the mean share inside masks beside chance's, and how like the maps stay."""
    lines = [f"cases explained: {table['case_id'].nunique()}"]
    for method in table["method"].unique():
        rows = table.loc[table["method"] == method]
        share, chance = rows["share_inside"], rows["share_by_chance"]
        inside = f"{share.mean():.0%} inside the mask (chance {chance.mean():.0%})"
        said = [inside if share.count() else "no share inside a mask"]
        if zero := chance.count() - share.count():
            said.append(f", {zero} of {chance.count()} maps are zero and left out: {_ZERO[method]}")
        compared = rows.loc[rows["rank_correlation"].notna() | (rows["undefined"] != "")]
        if len(compared):
            said.append(f"; compared with fresh weights: rank correlation {_mean(compared, 'rank_correlation')}")
            said.append(f", structural similarity {_mean(compared, 'structural_similarity')}")
        lines.append(f"  {method}: {''.join(said)}")
    return "\n".join(lines)


def _mean(rows: pd.DataFrame, column: str) -> str:
    """The mean of a column, and of how many maps where some have none."""
    lacking = rows.loc[rows[column].isna(), "undefined"]
    whys = ", ".join(f"undefined in {count}, whose {why}" for why, count in lacking.value_counts().items())
    counts = f" ({rows[column].count()} of {len(rows)} maps; {whys})" if len(lacking) else ""
    return f"{rows[column].mean():.2f}".replace("nan", "undefined") + counts
