"""Bitmaps as slices: grey levels and what was outlined, and refusals of what would mislead in silence."""

import numpy as np
import pytest
from picture_files import SIZE, outlined, plain, save, square
from PIL import Image

from mskjax.data.pictures import read_outline, read_slice


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_grey_levels_are_read_as_they_are(tmp_path, suffix):
    np.testing.assert_array_equal(read_slice(save(tmp_path / f"grey.{suffix}", plain())), plain())
    in_colour = save(tmp_path / f"rgb.{suffix}", np.stack([plain()] * 3, axis=-1))
    np.testing.assert_array_equal(read_slice(in_colour), plain())


def test_a_grey_jpeg_in_colour_is_grey(tmp_path):
    Image.fromarray(np.stack([plain()] * 3, axis=-1)).save(tmp_path / "slice.jpg", quality=95)
    expected = np.array(Image.open(tmp_path / "slice.jpg").convert("L"))
    np.testing.assert_allclose(read_slice(tmp_path / "slice.jpg").astype(int), expected, atol=1)


def test_an_alpha_channel_that_says_nothing_is_left_out(tmp_path):
    opaque = np.stack([plain()] * 3 + [np.full((SIZE, SIZE), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(read_slice(save(tmp_path / "opaque.png", opaque)), plain())
    opaque[0, 0, 3] = 0
    with pytest.raises(ValueError, match=r"glass\.png: a bitmap has transparent pixels"):
        read_slice(save(tmp_path / "glass.png", opaque))


def test_an_outlined_slice_is_no_image(tmp_path):
    sentence = (
        r"drawn\.png has colours, in 76 pixels, as at row 10, column 10 \(255, 0, 0\): a slice is grey, .*; give the "
        "plain slice as the image and the outlined one as its mask"
    )
    with pytest.raises(ValueError, match=sentence):
        read_slice(save(tmp_path / "drawn.png", outlined()))


def test_a_blank_or_a_deep_bitmap_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"blank\.png shows nothing, as all its pixels are 7; export"):
        read_slice(save(tmp_path / "blank.png", np.full((SIZE, SIZE), 7, np.uint8)))
    with pytest.raises(ValueError, match=r"deep\.png has 16 bits a pixel, and nothing tells which .* at 8 bits"):
        read_slice(save(tmp_path / "deep.png", plain().astype(np.uint16) * 16))


def test_what_is_outlined_is_the_mask(tmp_path):
    image, drawn = save(tmp_path / "plain.png", plain()), save(tmp_path / "drawn.png", outlined())
    grey, mask = read_outline(image, drawn)
    np.testing.assert_array_equal(grey, plain())
    np.testing.assert_array_equal(mask, square())
    # Exported in another window than the pair of bitmaps that was drawn on.
    other = save(tmp_path / "other.png", plain() // 2)
    grey, mask = read_outline(other, drawn, image)
    np.testing.assert_array_equal(grey, plain() // 2)
    np.testing.assert_array_equal(mask, square())


@pytest.mark.parametrize("pen", [255, 0])
def test_a_pair_given_the_wrong_way_round_is_refused(tmp_path, pen):
    image, drawn = save(tmp_path / "plain.png", plain()), save(tmp_path / "drawn.png", outlined(pen=pen))
    np.testing.assert_array_equal(read_outline(image, drawn)[1], square())
    with pytest.raises(ValueError, match=r"drawn in \S+drawn\.png, of whose line 100% has one colour, .*plain\.png;"):
        read_outline(drawn, image)


@pytest.mark.parametrize(("clipped", "colours"), [(0.8, 1), (0.45, 12)])
def test_fat_that_the_window_clips_is_no_pen(tmp_path, clipped, colours):
    """Plain pixels of one colour lie under the line too, and a smooth pen has many."""
    rng, image, drawn = np.random.default_rng(1), plain(), outlined()
    line = np.flatnonzero((drawn == (255, 0, 0)).all(axis=-1))
    image.flat[rng.permutation(line)[: int(clipped * len(line))]] = 0
    drawn.reshape(-1, 3)[line] = np.stack([255 - rng.integers(0, colours, len(line)), *np.zeros((2, len(line)))], -1)
    pair = save(tmp_path / "plain.png", image), save(tmp_path / "drawn.png", drawn)
    np.testing.assert_array_equal(read_outline(*pair)[1], square())


def test_an_open_outline_and_another_size_name_their_files(tmp_path):
    image, drawn = save(tmp_path / "plain.png", plain()), outlined()
    drawn[10, 12:20] = np.stack([plain()] * 3, axis=-1)[10, 12:20]
    with pytest.raises(ValueError, match=r"open\.png: the outline is open: .* draw it closed"):
        read_outline(image, save(tmp_path / "open.png", drawn))
    smaller = save(tmp_path / "smaller.png", plain(size=40))
    with pytest.raises(ValueError, match=r"smaller\.png has 40 x 40 pixels and \S+plain\.png 48 x 48; export all"):
        read_outline(smaller, save(tmp_path / "drawn.png", outlined()), image)
