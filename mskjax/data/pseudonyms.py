"""Who a case is, told without saying it: keyed hashes instead of ids, and what headers may give away.

A plain hash of a hospital number is reversed by trying all numbers; these need the random key, which stays in the
dataset folder as `case_key`, readable by its owner alone. Share a dataset without it.
"""

import contextlib
import hmac
import os
import re
import secrets
from pathlib import Path

import pydicom

from mskjax.bounds import PLAUSIBLE_HEIGHT_M
from mskjax.files import atomic_path

KEY_NAME = "case_key"
_DIGITS = 16
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 1 / 52.18, "D": 1 / 365.25}


def case_key(folder: str | Path) -> bytes:
    """The key in a dataset folder, made where there is none; `ValueError` where the file holds no key."""
    path = Path(folder) / KEY_NAME
    if not path.exists():
        with atomic_path(path) as written, os.fdopen(os.open(written, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{path} holds no key of 64 hexadecimal digits; put the former one back, or delete it")
    return bytes.fromhex(text)


def pseudonym(key: bytes, *words: str) -> str:
    """16 hexadecimal digits that stand for `words` under a key: the head of their HMAC-SHA256."""
    message = "\0".join(words).encode()
    return hmac.new(key, message, "sha256").hexdigest()[:_DIGITS]


def about(header: pydicom.Dataset) -> dict[str, str]:
    """Sex, age, height and weight that a DICOM header states plausibly, under the columns of cases.csv.

    Ages of 90 and over become 90, as few people are older and the age would point at them.
    """
    found = {"sex": str(header.get("PatientSex", ""))}
    if age := re.fullmatch(r"(\d{1,3})([YMWD])", str(header.get("PatientAge", "")).strip()):
        found["age_years"] = f"{min(int(age[1]) * _YEARS[age[2]], 90):.4g}"
    limits = {"height_m": ("PatientSize", *PLAUSIBLE_HEIGHT_M), "weight_kg": ("PatientWeight", 2, 400)}
    for name, (keyword, low, high) in limits.items():
        # Unparsable or absent: it stays unknown.
        with contextlib.suppress(ValueError, TypeError):
            value = float(header.get(keyword, "nan"))
            found |= {name: f"{value:.6g}"} if low <= value <= high else {}
    return found if found["sex"] in ("M", "F") else {name: value for name, value in found.items() if name != "sex"}
