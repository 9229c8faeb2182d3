"""The table of readers: what it says, and what is refused with the line to mend."""

import pytest
from pair_files import mask_on
from reader_files import prepared, write, write_table

from mskjax.data.reader_table import read_readings


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder with readers' files a.nii and b.nii, and the dataset."""
    folder = tmp_path_factory.mktemp("study")
    for name in ("a.nii", "b.nii"):
        write(folder / name, mask_on(1, 2))
    return folder, prepared(folder)


def test_a_table_names_cases_readers_and_files(study):
    folder, dataset = study
    table = write_table(
        folder,
        "berta_s002;Dr. B;a.nii;1 | psoas left;old/ct.nii.gz;4",
        ";;;;;",
        "",
        "anna_s001;A;a.nii;;;",
        header="case;reader;file;label;image;series",
    )
    first, second = read_readings(table, dataset)
    assert (first.case_id, first.reader, first.line, first.series) == ("berta_s002", "Dr. B", 2, "4")
    assert (first.file, first.image) == (folder / "a.nii", folder / "old/ct.nii.gz")
    assert first.label == ("1", "psoas left")
    # Rows that a spreadsheet left empty are none, and lines are counted with them.
    assert (second.case_id, second.line, second.label, second.image) == ("anna_s001", 5, None, None)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            ["dora,A,a.nii"],
            r"1 row of cases that the dataset lacks, such as 'dora' \(line 2\); .* as in anna_s001, anna_s",
        ),
        (
            ["anna,A,a.nii", "anna_s001,A,a.nii", "anna,B,b.nii"],
            r"2 rows of cases that the dataset lacks, such as 'anna' \(line 2",
        ),
        (
            ["anna_s001,A,a.nii", "carl_s001,A,a.nii", "carl_s002,A,b.nii"],
            r"2 rows of cases that are not in the test split, such as 'carl_s001' \(line 3\), 'carl_s002' \(line 4\);",
        ),
        (
            ["anna_s001,A,a.nii", "anna_s001,A,b.nii"],
            r"line 3: reader A drew case anna_s001 in line 2 already; keep one",
        ),
        (
            ["anna_s001,A,a.nii", "anna_s001,B,a.nii"],
            r"line 3: \S+a\.nii is the mask of reader A in line 2 and of reader B",
        ),
        (["anna_s001,Ann,a.nii", "anna_s002,ann,b.nii"], "line 3: reader 'ann' is 'Ann' in other lines; spell"),
        (["anna_s001,,a.nii"], "line 2: reader is empty; each row names"),
        ([",A,a.nii"], "line 2: case is empty"),
        (["anna_s001,A,a.nii,b.nii"], "line 2: not as many cells"),
        ([], "no rows below its header; give it a header with case, reader and file, and a row for each of the read"),
    ],
)
def test_a_table_that_cannot_be_is_refused(study, lines, sentence):
    folder, dataset = study
    with pytest.raises(ValueError, match=rf"readers\.csv\S*.*{sentence}"):
        read_readings(write_table(folder, *lines), dataset)


def test_all_missing_files_are_named(study):
    folder, dataset = study
    lines = "anna_s001,A,no1.nii,", "anna_s001,B,a.nii,no2.png", "anna_s002,A,ct,"
    table = write_table(folder, *lines, header="case,reader,file,mask_plain")
    sentence = r"lists 3 files not to be found; .* put there: \S+no1\.nii \(line 2\), \S+no2\.png \(line 3\), \S+ct \("
    with pytest.raises(OSError, match=sentence):
        read_readings(table, dataset)


def test_tables_that_are_none_are_refused(study):
    folder, dataset = study
    with pytest.raises(ValueError, match=r"lacks the column reader; it has case, observer, file"):
        read_readings(write_table(folder, "anna_s001,A,a.nii", header="case,observer,file"), dataset)
    (folder / "readers.csv").write_bytes("case,reader,file\nanna_s001,J\xf6rg,a.nii".encode("latin-1"))
    with pytest.raises(ValueError, match=r"readers\.csv is no CSV in UTF-8; save the table as CSV in UTF-8"):
        read_readings(folder / "readers.csv", dataset)
    with pytest.raises(OSError, match=r"no\.csv cannot be read .*; name a CSV of readers' masks"):
        read_readings(folder / "no.csv", dataset)


def test_one_file_may_hold_several_cases_and_readers(study, caplog):
    folder, dataset = study
    lines = "anna_s001,A,a.nii,1,x", "anna_s002,A,a.nii,1,x", "anna_s001,B,a.nii,2,x"
    table = write_table(folder, *lines, header="case,reader,file,label,remark")
    assert len(read_readings(table, dataset)) == 3
    assert "columns remark are not used" in caplog.text
