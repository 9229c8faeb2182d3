import errno
from pathlib import Path

import pytest

from mskjax.files import atomic_path, read_json, remove, require_folder, sentence_of, sha256, write_json


def test_a_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with atomic_path(path) as written:
        written.write_text("a,b\n")
        assert written.suffix == ".csv"
        assert not path.exists()
    assert path.read_text() == "a,b\n"
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("former")
    with pytest.raises(RuntimeError), atomic_path(path) as written:
        written.write_text("half")
        raise RuntimeError
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_file_for_which_there_is_no_room_is_named(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*table\.csv'"), atomic_path(tmp_path / "table.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_of_with_the_remedy():
    full = OSError(errno.ENOSPC, "No space left on device", "/data/table.csv")
    assert sentence_of(full) == (
        "the disk is full at /data/table.csv; make room, or name another folder, and run the same command again"
    )
    assert sentence_of(OSError(errno.EDQUOT, "Disk quota exceeded")).startswith("the disk is full; make room")
    assert sentence_of(ValueError("two\nlines")) == "two lines"


def test_a_folder_replaces_a_former_folder_whole(tmp_path):
    path = tmp_path / "dataset"
    path.mkdir()
    (path / "old").touch()
    with atomic_path(path) as written:
        written.mkdir()
        (written / "new").touch()
    assert [p.name for p in path.iterdir()] == ["new"]


def test_a_former_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    path = tmp_path / "dataset"
    path.mkdir()
    (path / "old").touch()

    def refuse(*_):
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"), atomic_path(path) as written:
        written.mkdir()
        monkeypatch.setattr(Path, "replace", refuse)
    assert [p.name for p in path.iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


def test_json_round_trip_and_refusals(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"spacing_mm": [0.5, 1.0]})
    assert read_json(path) == {"spacing_mm": [0.5, 1.0]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert read_json(path) == {"spacing_mm": [0.5, 1.0]}
    path.write_text('{"cut": ')
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        read_json(path)


def test_sha256_of_the_standards_example(tmp_path):
    # FIPS 180-2, appendix B.1
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_remove_takes_files_and_folders_and_minds_nothing_missing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    remove(tmp_path / "folder")
    remove(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_write_may_be_there_or_yet_to_be_made(tmp_path, monkeypatch):
    require_folder(tmp_path)
    require_folder(tmp_path / "deep" / "folder")
    monkeypatch.chdir(tmp_path)
    require_folder("folder")
    assert list(tmp_path.iterdir()) == []


def test_files_and_locked_folders_are_refused_as_folders(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(NotADirectoryError, match=r"file is a file.*name another folder"):
            require_folder(path)
    # The superuser, as whom tests may run, may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(PermissionError, match="cannot be written to; name another folder"):
        require_folder(tmp_path / "folder")


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file is a file, and .* is to be a folder; name another"):
        write_json(tmp_path / "file" / "table.json", {})
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError, match=r"^the folder .*link cannot be made \(File exists\); name another one$"):
        write_json(tmp_path / "link" / "table.json", {})
