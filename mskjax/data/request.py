"""What a user asks of launch.prepare, checked before any work is done, and done."""

from dataclasses import dataclass, fields

from mskjax.data import prepare
from mskjax.data.volume_cases import VolumeOptions

_OF_FILES = ("images", "masks", "cases", "labels")
_NOT_OF_PHANTOMS = (*_OF_FILES, "slices", "label", "level_mask", "level_label")


@dataclass(frozen=True)
class Request:
    """The flags of launch.prepare under their names; None is what the user left out."""

    output: str
    images: str | None = None
    masks: str | None = None
    cases: str | None = None
    labels: str | None = None
    phantom: int | None = None
    phantom_size: int = 256
    slices: str | None = None
    label: list[str] | None = None
    level_mask: str | None = None
    level_label: str | None = None
    spacing_mm: list[str] | None = None
    foreground: bool | None = None
    verify: bool | None = None
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    seed: int = 0
    workers: int = 1

    def volumes(self) -> VolumeOptions | None:
        """What is asked of volumes, None where slices are; `ValueError` where it is none such."""
        if self.spacing_mm is None:
            for name in ("foreground", "verify"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--[no]{name} is for volumes; give their --spacing_mm, or leave it out")
            return None
        try:
            i, j, k = map(float, self.spacing_mm)
        except ValueError:
            raise ValueError(
                f"--spacing_mm={','.join(self.spacing_mm)} is not three numbers, as in --spacing_mm=1.5,1.5,2"
            ) from None
        return VolumeOptions((i, j, k), self.foreground is not False, bool(self.verify))


def fulfil(request: Request) -> dict[str, str]:
    """Prepares the dataset that is asked for; returns what failed, with why.

    Raises `ValueError` or `OSError` where nothing can be prepared; see `mskjax.data.prepare`.
    """
    shares = prepare.Shares(request.validation_fraction, request.test_fraction, request.seed)
    given = {field.name: value for field in fields(request) if (value := getattr(request, field.name)) is not None}
    volumes, output, workers = request.volumes(), request.output, request.workers
    if request.phantom:
        if named := [f"--{name}" for name in _NOT_OF_PHANTOMS if name in given]:
            raise ValueError(f"--phantom draws its own images and masks; leave out {', '.join(named)}, or --phantom")
        count, size, seed = request.phantom, request.phantom_size, request.seed
        return prepare.prepare_phantoms(count, output, size, seed, shares, volumes, workers)
    choice = request.slices, None if request.label is None else tuple(request.label)
    level = request.level_mask, request.level_label
    files = request.images, request.masks, request.cases
    found, failed = prepare.collect(*files, *choice, *level, request.labels, unmasked=volumes is not None)
    source = {name: given[name] for name in _OF_FILES if name in given}
    return failed | prepare.prepare(found, output, shares, source, volumes, workers)
