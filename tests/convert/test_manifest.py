"""The manifest that is shipped, and what is refused of one that somebody edits."""

import json

import pytest

from mskjax import models
from mskjax.convert.manifest import choose, conversion_command, read_manifest, recognise, recognise_by_name
from mskjax.tasks.preprocessing import CONVENTIONS

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
        models.build(entry.model, **entry.options)


def test_choosing():
    entries = read_manifest()
    assert choose(entries, "fcn_resnet101").name == "fcn_resnet101_coco"
    assert choose(entries, "resnet101").name == "resnet101_imagenet_v1"
    assert choose(entries, "resnet101", "resnet101_imagenet_v2").file == "resnet101-cd907fc2.pth"
    assert choose(entries, "smit_encoder").url is None
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


def test_every_radimagenet_file_has_a_network_and_its_conventions():
    entries = {name: entry for name, entry in read_manifest().items() if name.startswith("radimagenet")}
    keras = {entry.model for name, entry in entries.items() if "_keras_" in name}
    torch = {entry.model for name, entry in entries.items() if "_torch_" in name}
    assert keras == {"keras_resnet50", "densenet121", "inception_v3", "inception_resnet_v2"}
    assert torch == {"resnet50", "densenet121", "inception_v3"}
    for name, entry in entries.items():
        assert entry.options["variant"] == ("keras" if "_keras_" in name else "torchvision")
        assert tuple(entry.preprocessing["conventions"]) == CONVENTIONS
        assert entry.preprocessing["published_code"] in CONVENTIONS


@pytest.mark.parametrize(
    ("file", "model", "variant", "name"),
    [
        ("RadImageNet-IRV2_notop.h5", "inception_resnet_v2", "keras", "radimagenet_keras_inceptionresnetv2"),
        ("RadImageNet-IRV2-notop.h5", "inception_resnet_v2", "keras", "radimagenet_keras_inceptionresnetv2"),
        (
            "RadImageNet-InceptionV3-224-512-081421_notop.h5",
            "inception_v3",
            "keras",
            "radimagenet_keras_inceptionv3",
        ),
        ("RadImageNet-InceptionV3-224-512-081421_notop.h5", "inception_v3", "torchvision", None),
        ("RadImageNet-ResNet50_notop.pth", "keras_resnet50", "keras", "radimagenet_keras_resnet50"),
        ("RadImageNet-ResNet50_notop.pth", "resnet50", "torchvision", None),
        ("DenseNet121.pt", "densenet121", "torchvision", "radimagenet_torch_densenet121"),
        ("DenseNet121.pt", "densenet121", "keras", None),
        ("DenseNet121.pt", "resnet50", "torchvision", None),
        ("fcn_resnet101_coco-7ecb50ca.pth", "fcn_resnet101", "torchvision", None),
    ],
)
def test_recognising_by_name(file, model, variant, name):
    """Only what has no hash, and only for the network and the form that the entry is of."""
    assert getattr(recognise_by_name(read_manifest(), file, model, variant), "name", None) == name


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


@pytest.mark.parametrize(
    ("output", "flags"),
    [
        ("weights/fcn_resnet101.safetensors", "--model=fcn_resnet101 --download"),
        ("weights/resnet50.safetensors", "--model=resnet50 --download"),
        ("radimagenet/resnet50.safetensors", "--model=resnet50 --num_classes=0 --weights=ResNet50.pt"),
        (
            "radimagenet/inception_v3.safetensors",
            "--model=inception_v3 --weights=RadImageNet-InceptionV3_notop.h5",
        ),
        (
            "radimagenet/densenet121_torchvision.safetensors",
            "--model=densenet121 --variant=torchvision --weights=DenseNet121.pt",
        ),
        ("weights/inception_v3.safetensors", "--model=MODEL --weights=FILE"),
    ],
)
def test_the_command_that_makes_a_weight_file(output, flags):
    assert conversion_command(output) == f"python -m launch.convert {flags} --output={output}"
