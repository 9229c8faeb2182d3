"""Reading CT and masks, the prepared dataset, augmentation, batches and phantom scans.

An image is a SimpleITK image here: it carries spacing, origin and direction, so geometry is never guessed. Arrays leave
this room in HU int16 as a radiologist sees them: slices ascend from feet to head, rows run from anterior to posterior,
columns from the patient's right to left. The readers are imported when first used: training needs none of them.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mskjax.data.bitmaps import outline_to_mask
    from mskjax.data.masks import read_mask
    from mskjax.data.reading import read_image

__all__ = ["outline_to_mask", "read_image", "read_mask"]
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__, submod_attrs={"bitmaps": ["outline_to_mask"], "masks": ["read_mask"], "reading": ["read_image"]}
)
