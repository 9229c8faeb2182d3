"""A random patient: sizes of the body, amount and quality of muscle, HU of the tissues, and the levels of the spine.

Sizes are typical of adult abdominal CT at L3: waist, thickness of subcutaneous fat and of the muscles, and vertebrae;
skeletal muscle area comes to about 160 cm2 in men and 108 cm2 in women with a mean of 20 to 50 HU.
"""

from dataclasses import dataclass

import numpy as np

from mskjax.data.anatomy.canvas import Real, Waves

# Heights in vertebrae above L3; numbers of the labels as in TotalSegmentator's task "total".
LEVELS = {"S1": -3, "L5": -2, "L4": -1, "L3": 0, "L2": 1, "L1": 2, "T12": 3, "T11": 4}
VERTEBRA_LABELS = {name: 29 + level for name, level in LEVELS.items()}
_PITCH_MM = {-4: 30, -3: 34, -2: 37, -1: 38, 0: 37, 1: 36, 2: 33, 3: 29, 4: 28}


@dataclass(frozen=True)
class Patient:
    """What makes one patient; lengths in mm at L3, HU of pure tissue.

    `frame` scales the skeleton, `bulk` the cross-section of muscles (both 1 for a middling man). `fat_mm` is the
    thickness of subcutaneous fat in front, at the sides and at the back, `front_mm` and `half_width_mm` are the
    distances of the outer fascia from the vertebral body. `fat_share` is the part of each muscle group that fat takes.
    """

    sex: str
    age_years: float
    height_m: float
    weight_kg: float
    frame: float
    bulk: float
    half_width_mm: float
    front_mm: float
    fat_mm: tuple[float, float, float]
    gap_mm: float
    fat_share: dict[str, float]
    hu: dict[str, float]
    noise_hu: float
    roll_degrees: float
    warp: tuple[Waves, Waves]
    grain: Waves
    patches: Waves
    organs_seed: int

    def level(self, z_mm: float) -> float:
        """Vertebrae above the middle of L3 at `z_mm` above it: 1 in the middle of L2, -1 in that of L4."""
        return float(np.interp(z_mm, self._z_mm(), list(_LEVEL_RANGE)))

    def z_mm(self, level: Real) -> float:
        """Height in mm above the middle of L3 of a level as `level` gives it."""
        return float(np.interp(level, list(_LEVEL_RANGE), self._z_mm()))

    def _z_mm(self) -> np.ndarray:
        steps = np.array([0, *_PITCH_MM.values()]) * self.frame
        heights = np.cumsum(steps)
        return heights - heights[-min(_LEVEL_RANGE)]


_LEVEL_RANGE = range(min(_PITCH_MM), max(_PITCH_MM) + 2)


def draw(rng: np.random.Generator) -> Patient:
    """A random adult, men and women at even odds."""
    male = bool(rng.random() < 0.5)
    height_m = float(np.clip(rng.normal(1.76 if male else 1.63, 0.07), 1.45, 2.0))
    frame = (0.75 + 0.25 * height_m / 1.76) * (1.0 if male else 0.93)
    lean_to_obese = float(np.clip(rng.normal(), -1.6, 2.2))
    visceral = float(np.clip(0.7 * lean_to_obese + 0.7 * rng.normal(), -1.6, 2.2))
    age_years = float(round(np.clip(rng.normal(62, 14), 20, 92)))
    front, side, back = ((15, 13, 17) if male else (20, 19, 23)) + np.array([7, 6, 7]) * lean_to_obese
    return Patient(
        sex="M" if male else "F",
        age_years=age_years,
        height_m=round(height_m, 3),
        weight_kg=round((25.5 + 4 * lean_to_obese + rng.normal()) * height_m**2, 1),
        frame=frame,
        bulk=float(np.clip(rng.normal(1.05 if male else 0.78, 0.1), 0.55, 1.35)),
        half_width_mm=frame * (139 + 9 * visceral),
        front_mm=frame * (99 + 15 * visceral),
        fat_mm=(max(front, 4.0), max(side, 3.0), max(back, 4.0)),
        gap_mm=float(rng.uniform(0.6, 1.8)),
        fat_share=_fat_shares(rng, age_years, lean_to_obese),
        hu=_tissues(rng, age_years, lean_to_obese),
        noise_hu=float(rng.uniform(8, 17)),
        roll_degrees=float(rng.normal(0, 1.5)),
        warp=(Waves.draw(rng, 14, (70, 200), 0.6), Waves.draw(rng, 14, (70, 200), 0.6)),
        grain=Waves.draw(rng, 100, (7, 24), 0.35),
        patches=Waves.draw(rng, 30, (25, 70), 0.35),
        organs_seed=int(rng.integers(2**31)),
    )


def _fat_shares(rng: np.random.Generator, age_years: float, lean_to_obese: float) -> dict[str, float]:
    """The part of each muscle group that is fat to the eye: most in the erectors, least in psoas."""
    frailty = 0.5 * (age_years - 62) / 14 + 0.35 * lean_to_obese + 0.6 * rng.normal()
    typical = {"erector": 0.11, "quadratus": 0.06, "psoas": 0.025, "wall": 0.05, "rectus": 0.07, "gluteus": 0.08}
    return {name: float(np.clip(share * np.exp(0.5 * frailty + 0.25 * rng.normal()), 0.005, 0.28))
            for name, share in typical.items()}  # fmt: skip


def _tissues(rng: np.random.Generator, age_years: float, lean_to_obese: float) -> dict[str, float]:
    """HU of the tissues, unenhanced or in the portal venous phase."""
    enhanced = bool(rng.random() < 0.5)
    typical = {
        "fat": (-104, 4),
        "skin": (5, 15),
        "muscle": ((64 if enhanced else 57) - 0.12 * (age_years - 62) - 2 * lean_to_obese, 3),
        "trabecular": (165 - 1.6 * (age_years - 62), 22),
        "cortical": (620, 60),
        "disc": (85, 8),
        "cord": (28, 4),
        "blood": (145, 15) if enhanced else (42, 4),
        "kidney": (170, 20) if enhanced else (33, 3),
        "liver": (105 - 8 * lean_to_obese, 10) if enhanced else (56 - 6 * lean_to_obese, 5),
        "spleen": (118, 10) if enhanced else (47, 4),
        "bowel": (75, 12) if enhanced else (42, 5),
        "fluid": (14, 6),
    }
    return {name: float(rng.normal(*mean_sd)) for name, mean_sd in typical.items()}
