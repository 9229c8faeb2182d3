"""The manifest that is shipped, and what is refused of one that somebody edits."""

import json

import pytest

from mskjax import models
from mskjax.convert.manifest import choose, read_manifest, recognise

FIELDS = {
    "file": "a.pth",
    "model": "resnet50",
    "options": {},
    "rules": "torchvision",
    "url": "http://127.0.0.1/a.pth",
    "sha256": "ab" * 32,
    "sha256_prefix": None,
    "licence": "none",
    "preprocessing": {},
    "how_to_obtain": "ask",
}


def write(folder, **entries):
    (folder / "manifest.json").write_text(json.dumps(entries))
    return folder


def test_the_shipped_entries():
    entries = read_manifest()
    published = {
        "fcn_resnet101_coco": ("fcn_resnet101_coco-7ecb50ca.pth", "fcn_resnet101"),
        "resnet101_imagenet_v1": ("resnet101-63fe2227.pth", "resnet101"),
        "resnet101_imagenet_v2": ("resnet101-cd907fc2.pth", "resnet101"),
    }
    for name, (file, model) in published.items():
        entry = entries[name]
        assert (entry.file, entry.model) == (file, model)
        assert entry.url == f"https://download.pytorch.org/models/{file}"
        assert file.endswith(f"-{entry.sha256_prefix}.pth")
    for entry in entries.values():
        assert entry.licence
        assert entry.preprocessing
        assert bool(entry.url) == bool(entry.known_digits)
        if entry.model:
            models.build(entry.model, **entry.options)


def test_choosing():
    entries = read_manifest()
    assert choose(entries, "fcn_resnet101").name == "fcn_resnet101_coco"
    assert choose(entries, "resnet101").name == "resnet101_imagenet_v1"
    assert choose(entries, "resnet101", "resnet101_imagenet_v2").file == "resnet101-cd907fc2.pth"
    assert choose(entries, "resnet50", "smit_pretrained").url is None
    for model, name in [("fcn_resnet101", "resnet101_imagenet_v1"), ("resnet101", "absent"), ("vit", None)]:
        with pytest.raises(
            ValueError, match=rf"has no {name or 'entry'} for model '{model}', only fcn_resnet101_coco \("
        ):
            choose(entries, model, name)


def test_recognising_by_content(tmp_path):
    entries = read_manifest(write(tmp_path, known=FIELDS, prefix=FIELDS | {"sha256": None, "sha256_prefix": "cd" * 4}))
    assert getattr(recognise(entries, "renamed.pth", "ab" * 32), "name", None) == "known"
    assert getattr(recognise(entries, "renamed.pth", "cd" * 32), "name", None) == "prefix"
    assert recognise(entries, "other.pth", "ab" * 31 + "00") is None
    with pytest.raises(ValueError, match=r"a\.pth has the SHA-256 0000.*; download it again, or rename it"):
        recognise(entries, "a.pth", "00" * 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "AB" * 32}, "sha256 of odd is not 64"),
        ({"sha256": "ab"}, "sha256 of odd is not 64"),
        ({"sha256_prefix": "abcdef0"}, "sha256_prefix of odd is not 8"),
        ({"sha256": None}, "odd has a url and no hash"),
        ({"colour": "red"}, "not well formed .*colour"),
    ],
)
def test_an_entry_that_is_not_sound(tmp_path, change, words):
    with pytest.raises(ValueError, match=f"manifest.json.*{words}"):
        read_manifest(write(tmp_path, odd=FIELDS | change))
