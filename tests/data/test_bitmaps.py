"""Outlines drawn into a picture come back as the area they enclose, or are refused with the reason."""

import io

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage

from mskjax.data.bitmaps import outline_to_mask, read_bitmap

SIZE = 128
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
CT = (np.random.default_rng(0).normal(110, 25, (SIZE, SIZE)).clip(20, 200)).astype(np.uint8)
BLOB = (ROWS - 60) ** 2 / 900 + (COLUMNS - 66 - 0.2 * (ROWS - 60)) ** 2 / 1600 <= 1


def drawn(line: np.ndarray, colour=(255, 0, 0), image: np.ndarray = CT) -> np.ndarray:
    outlined = np.stack([image] * 3, axis=-1)
    outlined[line] = colour
    return outlined


def ring(first: int, last: int, width: int) -> np.ndarray:
    """The outline of a square whose outer rows and columns are `first` and `last`."""
    square = np.zeros((SIZE, SIZE), bool)
    square[first : last + 1, first : last + 1] = True
    square[first + width : last + 1 - width, first + width : last + 1 - width] = False
    return square


def edge(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (255, 255, 0), (255, 255, 255), (0, 0, 0)])
@pytest.mark.parametrize("connectivity", [1, 2])
def test_a_thin_outline_is_the_edge_of_the_mask(colour, connectivity):
    brush = ndimage.generate_binary_structure(2, connectivity)
    line = BLOB & ~ndimage.binary_erosion(BLOB, brush)
    np.testing.assert_array_equal(outline_to_mask(CT, drawn(line, colour)), BLOB)


@pytest.mark.parametrize(("width", "side"), [(1, 40), (2, 38), (3, 38), (4, 36), (5, 36)])
def test_a_thick_outline_counts_to_its_middle(width, side):
    assert outline_to_mask(CT, drawn(ring(20, 59, width))).sum() == side**2


def test_a_smooth_pen_is_read_to_its_middle():
    distance = np.hypot(ROWS - 64, COLUMNS - 64) - 30
    alpha = np.clip(1.5 - np.abs(distance), 0, 1)[..., None]
    outlined = np.rint(drawn(np.zeros_like(BLOB)) * (1 - alpha) + np.array([255, 0, 0]) * alpha).astype(np.uint8)
    area = outline_to_mask(CT, outlined).sum()
    assert abs(area - np.pi * 30**2) < np.pi * 30  # half a pixel all around


def test_outlines_within_outlines_are_holes_and_islands():
    line = ring(10, 109, 1) | ring(30, 89, 1) | ring(40, 59, 1)
    # The wall's inner outline belongs to the wall, so the hole is 58 wide; the island within counts whole.
    assert outline_to_mask(CT, drawn(line)).sum() == 100**2 - 58**2 + 20**2


def test_outlines_side_by_side_share_their_line():
    line = ring(10, 30, 1) | np.roll(ring(10, 30, 1), 20, axis=1)
    assert outline_to_mask(CT, drawn(line)).sum() == 21 * 41


def test_tips_as_thin_as_two_lines_stay():
    muscle = np.zeros_like(BLOB)
    muscle[40:80, 40:80] = True
    muscle[50:52, 80:84] = True
    np.testing.assert_array_equal(outline_to_mask(CT, drawn(edge(muscle))), muscle)


def test_a_gap_of_two_pixels_is_closed():
    line = ring(20, 59, 1)
    line[20, 30:32] = False
    assert outline_to_mask(CT, drawn(line)).sum() == 40**2


def test_a_speck_beside_the_outline_is_no_outline():
    line = ring(20, 59, 1)
    line[90:93, 90:93] = True
    assert outline_to_mask(CT, drawn(line)).sum() == 40**2


def test_grey_depth_and_alpha_may_vary():
    line = edge(BLOB)
    grey = np.where(line, 255, CT).astype(np.uint8)
    np.testing.assert_array_equal(outline_to_mask(CT, grey), BLOB)
    np.testing.assert_array_equal(outline_to_mask(CT.astype(np.uint16) * 16, grey.astype(np.uint16) * 16), BLOB)
    opaque = np.concatenate([drawn(line), np.full((SIZE, SIZE, 1), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(outline_to_mask(CT, opaque), BLOB)


@pytest.mark.parametrize("plain", ["exact", "compressed"])
@pytest.mark.parametrize("quality", [85, 95])
def test_compressed_pictures_are_read_while_the_pen_stands_out(plain, quality):
    smooth = ndimage.gaussian_filter(CT, 2)
    outlined = jpeg(drawn(ndimage.binary_dilation(edge(BLOB)), (255, 255, 0), smooth), quality)
    image = smooth if plain == "exact" else jpeg(np.stack([smooth] * 3, axis=-1), quality)
    assert dice(outline_to_mask(image, outlined), BLOB) > 0.98


def test_compression_that_drowns_the_pen_is_refused():
    with pytest.raises(ValueError, match="no outline stands out"):
        outline_to_mask(jpeg(np.stack([CT] * 3, axis=-1), 20), jpeg(drawn(edge(BLOB), (150, 90, 110)), 20))


def test_another_slice_is_refused():
    with pytest.raises(ValueError, match="no outline stands out"):
        outline_to_mask(CT, CT[::-1])


@pytest.mark.parametrize("what", ["gap", "arc", "filled", "cut by the border", "open with a loop"])
def test_open_outlines_are_refused(what):
    line = ring(20, 59, 1)
    if what == "gap":
        line[20, 30:36] = False
    elif what == "arc":
        line[:, 40:] = False
    elif what == "filled":
        line = BLOB
    elif what == "cut by the border":
        line = np.roll(line, -30, axis=0)
        line[-30:] = False
    else:
        line[30:50, 59] = False
        line |= np.roll(ring(20, 25, 1), (-3, -3), axis=(0, 1))
    with pytest.raises(ValueError, match=r"the outline is open: \d+ of its \d+ pixels, as at row \d+, column \d+"):
        outline_to_mask(CT, drawn(line))


def test_specks_alone_are_refused():
    line = np.zeros_like(BLOB)
    line[20:22, 20:23] = True
    with pytest.raises(ValueError, match="a few specks"):
        outline_to_mask(CT, drawn(line))


def test_equal_pictures_are_refused():
    with pytest.raises(ValueError, match="do not differ"):
        outline_to_mask(CT, drawn(np.zeros_like(BLOB)))


def test_other_sizes_and_depths_are_refused():
    with pytest.raises(ValueError, match="128 x 128 of 8 bits and the outlined one 127 x 128 of 8 bits"):
        outline_to_mask(CT, drawn(edge(BLOB))[1:])
    with pytest.raises(ValueError, match="16 bits"):
        outline_to_mask(CT.astype(np.uint16), drawn(edge(BLOB)))


def test_an_overlay_with_transparency_is_refused():
    line = edge(BLOB)
    overlay = np.concatenate([drawn(line), np.where(line, 255, 0).astype(np.uint8)[..., None]], axis=-1)
    with pytest.raises(ValueError, match="transparent"):
        outline_to_mask(CT, overlay)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_lossless_formats_read_alike(tmp_path, suffix):
    Image.fromarray(CT).save(tmp_path / f"plain.{suffix}")
    Image.fromarray(drawn(edge(BLOB))).save(tmp_path / f"outlined.{suffix}")
    plain = read_bitmap(tmp_path / f"plain.{suffix}").reshape(SIZE, SIZE, -1)  # some readers make grey three channels
    np.testing.assert_array_equal(plain, np.broadcast_to(CT[..., None], plain.shape))
    mask = outline_to_mask(read_bitmap(tmp_path / f"plain.{suffix}"), read_bitmap(tmp_path / f"outlined.{suffix}"))
    np.testing.assert_array_equal(mask, BLOB)


def test_a_palette_is_read_as_its_colours(tmp_path):
    pixels = drawn(edge(BLOB), image=CT // 8 * 8)
    Image.fromarray(pixels).quantize(64, dither=Image.Dither.NONE).save(tmp_path / "outlined.png")
    expected = np.array(Image.open(tmp_path / "outlined.png").convert("RGB"))
    np.testing.assert_array_equal(read_bitmap(tmp_path / "outlined.png"), expected)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(OSError, match=r"cut\.png cannot be read"):
        read_bitmap(tmp_path / "cut.png")
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([CT, CT])), str(tmp_path / "pages.tif"))
    with pytest.raises(ValueError, match="no single picture"):
        read_bitmap(tmp_path / "pages.tif")
    sitk.WriteImage(sitk.GetImageFromArray(CT.astype(np.float32)), str(tmp_path / "float.tif"))
    with pytest.raises(ValueError, match="float32"):
        read_bitmap(tmp_path / "float.tif")
