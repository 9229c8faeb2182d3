"""Fetching published weights once, whole and checked; a file that fails its hash never gets its name."""

import sys
from pathlib import Path

import pooch
import requests
from absl import logging

from mskjax.convert.manifest import FOLDER, Entry
from mskjax.files import atomic_path, sha256


def download(entry: Entry, folder: str | Path = FOLDER) -> Path:
    """The path of an entry's file in `folder`, downloaded unless it is there already.

    The SHA-256 is checked against the manifest, or its leading digits where no more is known, and recorded whole beside
    the file, in `<file>.sha256` as sha256sum writes it; from then on all of it must agree. Raises `ValueError` for an
    entry without a url (saying how to obtain the file) and for a wrong hash, `OSError` where the server fails.
    """
    path = Path(folder) / entry.file
    if not path.exists():
        _fetch(entry, path)
    digest = sha256(path)
    record = path.with_name(f"{path.name}.sha256")
    recorded = record.read_text()[:64] if record.exists() else ""
    if wrong := [known for known in (entry.known_digits, recorded) if not digest.startswith(known)]:
        raise ValueError(f"{path} has the SHA-256 {digest} instead of {wrong[0]}; delete it and {record} and try again")
    if not record.exists():
        with atomic_path(record) as written:
            written.write_text(f"{digest}  {path.name}\n")
    return path


def _fetch(entry: Entry, path: Path) -> None:
    """Downloads an entry's file and checks it before it gets its name."""
    if entry.url is None:
        raise ValueError(f"{entry.name} has no known url; {entry.how_to_obtain}, then pass it as --weights=FILE")
    progress = sys.stderr.isatty()
    logging.info("downloading %s to %s", entry.url, path)
    with atomic_path(path) as written:
        try:
            pooch.HTTPDownloader(progressbar=progress, chunk_size=2**20)(entry.url, written, None)
        except requests.RequestException as error:
            advice = "try again, or fetch it by other means and pass it as --weights=FILE"
            raise OSError(f"{entry.url} cannot be downloaded ({_reason(error)}); {advice}") from error
        if not entry.matches(digest := sha256(written)):
            expected = entry.known_digits
            raise ValueError(f"{entry.url} gave the SHA-256 {digest} instead of {expected}, nothing is kept; try again")


def _reason(error: requests.RequestException) -> str:
    """What went wrong in a few words; the library's own are of its classes, addresses and retries."""
    if error.response is not None:
        return f"the server answers {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    return "no connection" if isinstance(error, requests.ConnectionError) else "it broke off"
