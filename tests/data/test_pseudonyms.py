"""Headers tell what is needed and nobody's name."""

import stat

import numpy as np
import pydicom
import pytest
from dicom_files import PATIENT
from pair_files import ALL_TRAIN, dicom_pair, mask_on, write_image

from mskjax.data import prepare, pseudonyms
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair


def test_headers_tell_no_name_and_no_id(tmp_path, capsys):
    failing = dicom_pair(tmp_path / "other")
    write_image(tmp_path / "other/muscle.nrrd", mask_on(1, height=11))
    failed = prepare.prepare([dicom_pair(tmp_path / "one"), failing], tmp_path / "out", ALL_TRAIN)
    assert len(failed) == 1
    header = pydicom.dcmread(next((tmp_path / "one/ct").iterdir()))
    secrets = [*PATIENT.values(), *(str(header[w].value) for w in ("SeriesInstanceUID", "StudyInstanceUID"))]
    told = "".join(failed.values()) + "".join(capsys.readouterr())
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        content = path.read_bytes().decode("latin-1") + path.name
        if path.suffix == ".npz":
            content += "".join(str(v) for v in np.load(path).values())
        told += content
    assert not [secret for secret in secrets if secret in told or secret.split("^")[0] in told]


def test_headers_tell_what_is_needed(tmp_path):
    prepare.prepare([dicom_pair(tmp_path)], tmp_path / "out", ALL_TRAIN)
    case = read_dataset(tmp_path / "out").cases.iloc[0]
    assert (case["sex"], case["age_years"], case["height_m"]) == ("F", 90, 1.62)
    assert np.isnan(case["weight_kg"])


def test_the_user_knows_better_than_the_header(tmp_path):
    told = {"sex": "M", "age_years": "51", "split": "test"}
    one = dicom_pair(tmp_path)
    said = Pair(one.image, one.mask, case_id="A 1", patient_id="p7", about=told)
    prepare.prepare([said], tmp_path / "out")
    case = read_dataset(tmp_path / "out").cases.iloc[0]
    assert case[["case_id", "patient_id", "sex", "age_years", "split"]].tolist() == ["A 1", "p7", "M", 51.0, "test"]


def test_ids_need_the_key_and_follow_the_patient(tmp_path):
    pairs = [dicom_pair(tmp_path / "a"), dicom_pair(tmp_path / "b"), dicom_pair(tmp_path / "c", "MRN-2")]
    for out in ("one", "other"):
        prepare.prepare(pairs, tmp_path / out, ALL_TRAIN)
    one, other = (read_dataset(tmp_path / out).cases["patient_id"] for out in ("one", "other"))
    assert one[0] == one[1] != one[2]
    assert not set(one) & set(other)
    assert len(set(read_dataset(tmp_path / "one").cases["case_id"])) == 3


def test_the_key_is_the_owners_alone(tmp_path):
    key = pseudonyms.case_key(tmp_path)
    assert len(key) == 32 and pseudonyms.case_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "case_key").stat().st_mode) == 0o600
    (tmp_path / "case_key").write_text("cut")
    with pytest.raises(ValueError, match="no key"):
        pseudonyms.case_key(tmp_path)


def test_pseudonyms_are_hmac_sha256():
    """RFC 4231, test case 2."""
    assert pseudonyms.pseudonym(b"Jefe", "what do ya want for nothing?") == "5bdcc146bf60754e"


def test_ages_in_other_units():
    header = pydicom.Dataset()
    header.PatientAge, header.PatientSex = "018M", "O"
    assert pseudonyms.about(header) == {"age_years": "1.5"}
