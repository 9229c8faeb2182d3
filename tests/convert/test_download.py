"""Downloads from a server on this machine: whole and checked, or nothing at all."""

import hashlib
import http.server
import threading

import pytest

from mskjax.convert.download import download
from mskjax.convert.manifest import Entry

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self):
        Handler.requests += 1
        if self.path == "/absent.pth":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole.pth" else CONTENT[:1000])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    Handler.requests = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def entry(url, sha256=None, sha256_prefix=None):
    return Entry(
        name="example",
        file="example.pth",
        model="resnet50",
        options={},
        rules="torchvision",
        url=url,
        sha256=sha256,
        sha256_prefix=sha256_prefix,
        licence="none",
        preprocessing={},
        how_to_obtain="ask its authors",
    )


@pytest.mark.parametrize("known", [{"sha256": DIGEST}, {"sha256_prefix": DIGEST[:8]}])
def test_a_file_is_fetched_once_and_its_hash_recorded(server, tmp_path, known):
    for _ in range(2):
        path = download(entry(f"{server}/whole.pth", **known), tmp_path)
        assert path.read_bytes() == CONTENT
    assert Handler.requests == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["example.pth", "example.pth.sha256"]
    assert (tmp_path / "example.pth.sha256").read_text() == f"{DIGEST}  example.pth\n"


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"sha256_prefix": "0" * 8}])
def test_a_wrong_hash_leaves_nothing(server, tmp_path, known):
    with pytest.raises(ValueError, match=f"whole.pth gave the SHA-256 {DIGEST} instead of 00000000"):
        download(entry(f"{server}/whole.pth", **known), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(server, tmp_path):
    with pytest.raises(OSError, match=r"broken\.pth cannot be downloaded"):
        download(entry(f"{server}/broken.pth", sha256=DIGEST), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_file_and_no_server(server, tmp_path):
    with pytest.raises(OSError, match=r"absent\.pth cannot be downloaded .*404"):
        download(entry(f"{server}/absent.pth", sha256=DIGEST), tmp_path)
    with pytest.raises(OSError, match=r"cannot be downloaded \(no connection\); try again, or fetch it by other"):
        download(entry("http://127.0.0.1:1/whole.pth", sha256=DIGEST), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_checked(tmp_path):
    path = tmp_path / "example.pth"
    path.write_bytes(CONTENT[1:])
    with pytest.raises(ValueError, match=f"example.pth has the SHA-256 .* instead of {DIGEST[:8]}"):
        download(entry("http://127.0.0.1:1/", sha256_prefix=DIGEST[:8]), tmp_path)
    assert path.exists()


def test_the_recorded_hash_binds(tmp_path):
    """Eight digits are few; once the whole hash is known, all of it must agree."""
    (tmp_path / "example.pth").write_bytes(CONTENT)
    (tmp_path / "example.pth.sha256").write_text(f"{DIGEST[:8]}{'0' * 56}  example.pth\n")
    with pytest.raises(ValueError, match=f"instead of {DIGEST[:8]}0000"):
        download(entry("http://127.0.0.1:1/", sha256_prefix=DIGEST[:8]), tmp_path)
    (tmp_path / "example.pth.sha256").write_text(f"{DIGEST}  example.pth\n")
    with pytest.raises(ValueError, match=f"example.pth has the SHA-256 {DIGEST} instead of 00000000;"):
        download(entry("http://127.0.0.1:1/", sha256_prefix="0" * 8), tmp_path)


def test_without_a_url_the_error_says_how(tmp_path):
    with pytest.raises(ValueError, match="example has no known url; ask its authors, then pass it as --weights=FILE"):
        download(entry(None), tmp_path)
    (tmp_path / "example.pth").write_bytes(CONTENT)
    assert download(entry(None), tmp_path) == tmp_path / "example.pth"
