"""Plates: figures for print, each as png and pdf with the caption that belongs to it.

The same input gives the same bytes: no dates go into the files. Fonts are embedded in the pdf as TrueType, as journals
ask. Colours and markers of initialisations are the same in all plates, whichever of them a study has; colours are Okabe
and Ito's, which the colour-blind tell apart.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mskjax.files import atomic_path
from mskjax.study.case_scores import in_order

CAPTIONS = "figure_captions.txt"
GREY, INK = "#59646E", "#1C2329"
MINUS = "\N{MINUS SIGN}"
DOTS_PER_INCH = 200
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # a dollar sign in a reader's name is a dollar sign
    "pdf.fonttype": 42,  # TrueType; Type 3 is refused by some journals
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Plate:
    """A finished figure: `name` is its files' without suffix, `title` what captions and headings call it.

    `description` is for those who cannot see it; `caption` says what is drawn, without the title.
    """

    name: str
    title: str
    description: str
    caption: str
    png: bytes
    pdf: bytes

    @property
    def width_inches(self) -> float:
        """The width for which it was drawn, by the header of the PNG."""
        return int.from_bytes(self.png[16:20], "big") / DOTS_PER_INCH


@dataclass(frozen=True)
class Look:
    """How an initialisation is called in print, and how it is drawn."""

    name: str
    colour: str
    marker: str


LOOKS = {
    "random": Look("Random", "#000000", "o"),
    "classification": Look("Classification", "#E69F00", "s"),
    "segmentation": Look("Segmentation", "#0072B2", "D"),
    "reconstruction": Look("Reconstruction", "#CC79A7", "v"),
    "jigsaw": Look("Jigsaw", "#009E73", "^"),
}
_SPARE = (("#D55E00", "P"), ("#56B4E9", "X"), ("#8C6D31", "*"), ("#882255", "<"))


def looks(inits: Iterable[str]) -> dict[str, Look]:
    """The look of each distinct initialisation, in the order of study A's tables; its own name for an unknown one."""
    ordered, spare = in_order(inits), cycle(_SPARE)
    return {init: LOOKS[init] if init in LOOKS else Look(init, *next(spare)) for init in ordered}


def make(
    name: str,
    title: str,
    description: str,
    caption: str,
    size_inches: tuple[float | int, float | int],
    draw: Callable[[Figure], None],
) -> Plate:
    """The plate of what `draw` puts on an empty figure of `size_inches`, width and height."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure)
        png, pdf = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Title": title})
    return Plate(name, title, description, caption, png.getvalue(), pdf.getvalue())


def write(folder: str | Path, plates: Sequence[Plate]) -> None:
    """Writes NAME.png and NAME.pdf of each plate and all captions in one text file."""
    folder = Path(folder)
    for plate in plates:
        for suffix, content in (("png", plate.png), ("pdf", plate.pdf)):
            with atomic_path(folder / f"{plate.name}.{suffix}") as written:
                written.write_bytes(content)
    with atomic_path(folder / CAPTIONS) as written:
        text = "\n".join(f"{plate.title}. {plate.caption}\n" for plate in plates)
        written.write_text(text, encoding="utf-8")
