import io
import re

from invented_study import INITS
from PIL import Image

from mskjax.study import page, plates


def draw(figure):
    figure.subplots().plot([1, 2], [3, 4], label="line")
    figure.legend()


def make():
    return plates.make("figure_9", "Figure 9", "a line", "A line.", (4, 3), draw)


def test_equal_input_gives_equal_bytes(monkeypatch):
    first = make()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # the clock, as far as matplotlib tells of it
    assert make() == first


def test_files_tell_no_date_and_embed_their_fonts():
    plate = make()
    assert b"CreationDate" not in plate.pdf
    assert b"/FontFile2" in plate.pdf, "TrueType"
    assert b"/Type3" not in plate.pdf
    assert not re.search(rb"tEXt(Software|Creation)", plate.png)


def test_the_png_is_fit_for_print():
    picture = Image.open(io.BytesIO(make().png))
    assert min(picture.info["dpi"]) >= 199.9  # stored in whole pixels per metre
    assert picture.size == (4 * plates.DOTS_PER_INCH, 3 * plates.DOTS_PER_INCH)


def test_a_page_shows_a_plate_in_proportion_to_its_width():
    """9.5 inches are as wide as the page lets figures be; 4 inches keep their letters of that size."""
    assert make().width_inches == 4
    assert 'style="max-width: min(62rem, 26.0rem)"' in page.figure(b"", "png", "a line", "", make().width_inches)
    assert "style" not in page.figure(b"", "png", "a line")


def test_written_files(tmp_path):
    plate = make()
    plates.write(tmp_path, [plate])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure_9.pdf", "figure_9.png", plates.CAPTIONS]
    assert (tmp_path / "figure_9.png").read_bytes() == plate.png
    assert (tmp_path / "figure_9.pdf").read_bytes() == plate.pdf
    assert (tmp_path / plates.CAPTIONS).read_text() == "Figure 9. A line.\n"


def test_an_initialisation_looks_the_same_in_every_study():
    whole = plates.looks(INITS)
    assert plates.looks(["jigsaw"])["jigsaw"] == whole["jigsaw"]
    more = plates.looks([*INITS, "smit", "mae"])
    assert {init: more[init] for init in INITS} == whole
    assert list(more)[-2:] == ["mae", "smit"]
    assert len({(look.colour, look.marker) for look in more.values()}) == 7


def test_names_are_no_formulas():
    plates.make("x", "X", "", "", (2, 2), lambda figure: figure.text(0.1, 0.5, r"$\nonsense{$") and None)
