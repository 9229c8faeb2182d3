"""Keras's files in all four layouts, as Keras wrote them, and files that must be refused in a sentence."""

import re
import shutil

import h5py
import numpy as np
import pytest
from keras_layouts import LAYOUTS, NETWORKS, WRITERS, keras2_weights, keras3_weights, tiny, weights

from mskjax.convert.keras_files import read_keras

NETWORK = "densenet121"
COUNTS = {"densenet121": 604, "keras_resnet50": 318, "inception_v3": 376, "inception_resnet_v2": 896}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("layout", WRITERS)
def test_every_weight_has_its_name(tmp_path, layout, network):
    WRITERS[layout](tmp_path / "a.h5", network, tiny)
    read, expected = read_keras(tmp_path / "a.h5"), weights(network, tiny)
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(("network", "count"), COUNTS.items())
def test_the_golden_layouts_are_whole(network, count):
    """Keras's own number of weights: kernels, biases, and four or three vectors of each BatchNormalization."""
    assert [sum(len(weights) for *_, weights in LAYOUTS[n][network]["layers"]) for n in (2, 3)] == [count, count]


def test_groups_of_keras_3_are_numbered_otherwise_than_layers():
    """The trap that reading by the groups' names would fall into: both are names of convolutions."""
    groups = {group: layer for layer, group, _ in LAYOUTS[3]["inception_v3"]["layers"]}
    assert (groups["conv2d_5"], groups["conv2d_8"]) == ("conv2d_8", "conv2d_5")


def test_numbers_begin_where_the_session_stood():
    for generation in (2, 3):
        names = [layer for layer, *_ in LAYOUTS[generation]["inception_resnet_v2"]["layers"]]
        assert "conv2d_94" in names
        assert "conv2d" not in names


def test_names_are_bytes_in_old_files_and_cut_where_they_are_long(tmp_path, sound):
    shutil.copy(sound / "tree.h5", tmp_path / "old.h5")
    expected = read_keras(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "a") as file:
        names = np.array([name.encode() for name in file.attrs["layer_names"]])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:100], names[100:]
    assert read_keras(tmp_path / "old.h5").keys() == expected.keys()


def test_other_numbers_become_this_machines(tmp_path):
    keras2_weights(tmp_path / "a.h5", NETWORK, lambda name, shape: tiny(name, shape).astype(">f8"))
    read = read_keras(tmp_path / "a.h5")["bn/gamma"]
    assert read.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(read, tiny("bn/gamma", (1024,)))


def swap(file, path, **link):
    """Puts something else in place of what lies at a path."""
    del file[path]
    parent, _, name = path.rpartition("/")
    if "to" in link:
        file[path] = link["to"]
    else:
        file[parent].create_dataset(name, **link)


GAMMA = "bn/bn/gamma:0"


def virtual(file, path, other):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource(other, "secret", shape=(3,))
    del file[path]
    file.create_virtual_dataset(path, layout)


def listed(file, names):
    file.attrs["layer_names"] = names


def only(file, layer):
    listed(file, [layer])
    for name in set(file) - {layer}:
        del file[name]


TREE_TROUBLES = [
    ("has no attribute layer_names", lambda file, other: file.attrs.__delitem__("layer_names")),
    ("has no names in the attribute layer_names", lambda file, other: listed(file, np.arange(3))),
    ("lacks 'conv9'", lambda file, other: listed(file, [*file.attrs["layer_names"], "conv9"])),
    ("lacks 'bn/gamma:0' in '/bn'", lambda file, other: file.__delitem__(GAMMA)),
    ("holds 'bn/gamma' twice", lambda file, other: listed(file, [*file.attrs["layer_names"], "bn"])),
    ("holds conv9, which its own lists leave out", lambda file, other: file.create_group("conv9")),
    ("holds bn/more, which its own", lambda file, other: file["bn/bn"].create_dataset("more", data=1.0)),
    ("has no attribute weight_names in '/bn'", lambda file, other: file["bn"].attrs.__delitem__("weight_names")),
    ("has a link in place of 'bn/gamma:0'", lambda file, other: swap(file, GAMMA, to=h5py.ExternalLink(other, "a"))),
    ("has a link in place of 'bn/gamma:0'", lambda file, other: swap(file, GAMMA, to=h5py.SoftLink("/bn/bn/beta:0"))),
    ("has a link in place of 'bn',", lambda file, other: swap(file, "bn", to=h5py.ExternalLink(other, "/"))),
    ("keeps 'bn/gamma' packed, virtual or elsewhere", lambda file, other: virtual(file, GAMMA, other)),
    ("keeps 'bn/gamma' packed", lambda file, other: swap(file, GAMMA, shape=3, dtype="f4", external=[(other, 0, 12)])),
    ("keeps 'bn/gamma' packed", lambda file, other: swap(file, GAMMA, data=np.zeros(3, "f4"), compression="gzip")),
    ("declares [1099511627776] for 'bn/gamma'", lambda file, other: swap(file, GAMMA, shape=(2**40,), dtype="f4")),
    ("declares [3] for 'bn/gamma', more than it holds", lambda file, other: swap(file, GAMMA, shape=3, dtype="f4")),
    ("holds int64 in 'bn/gamma'", lambda file, other: swap(file, GAMMA, data=np.zeros(3, "i8"))),
    ("holds object in 'bn/gamma'", lambda file, other: swap(file, GAMMA, data="text")),
    ("has no array at 'bn/gamma'", lambda file, other: swap(file, GAMMA, data=h5py.Empty("f4"))),
    ("has no array at 'bn/gamma'", lambda file, other: swap(file, GAMMA, to=file["bn"])),
    ("has an array at", lambda file, other: swap(file, "bn", to=file["conv1/bn/conv1/bn/beta:0"])),
    ("holds no weights", lambda file, other: only(file, "pool1")),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """What the refused files below differ from in one thing each."""
    folder = tmp_path_factory.mktemp("sound")
    keras2_weights(folder / "tree.h5", NETWORK, tiny)
    keras3_weights(folder / "numbered.h5", NETWORK, tiny)
    with h5py.File(folder / "other.h5", "w") as file:
        file["a"] = np.ones(3, np.float32)
    return folder


@pytest.mark.parametrize(("words", "spoil"), TREE_TROUBLES)
def test_trees_that_are_refused(tmp_path, sound, words, spoil):
    shutil.copy(sound / "tree.h5", tmp_path / "odd.h5")
    with h5py.File(tmp_path / "odd.h5", "a") as file:
        spoil(file, str(sound / "other.h5"))
    with pytest.raises(ValueError, match=rf"odd\.h5 {re.escape(words)}"):
        read_keras(tmp_path / "odd.h5")


def add_arrays(file, group, count, name):
    variables = file.create_group(f"layers/{group}/vars")
    variables.attrs["name"] = name
    for index in range(count):
        variables[str(index)] = np.ones(3, np.float32)


def put(file, path, value):
    file.pop(path, None)
    file[path] = value


NUMBERED_TROUBLES = {
    "holds weights of the model itself in 'vars'": lambda file: put(file, "vars/0", np.ones(3, np.float32)),
    "holds weights of the model itself in": lambda file: put(file, "vars", np.ones(3, np.float32)),
    "has a link in place of 'vars'": lambda file: put(file, "vars", h5py.SoftLink("/layers/conv2d/vars")),
    "does not name the layer of '/layers/conv2d/vars'": lambda file: file["layers/conv2d/vars"].attrs.clear(),
    "nests other layers in 'functional'": lambda file: file.create_group("layers/functional/layers"),
    "holds 'dense_9' with 3 weights": lambda file: add_arrays(file, "dense_9", 3, "dense_9"),
    "holds 'gru_1' with 1 weights": lambda file: add_arrays(file, "gru_1", 1, "gru"),
    "holds 'bn/beta' twice": lambda file: add_arrays(file, "batch_normalization_999", 3, "bn"),
    "lacks '0' in '/layers/conv2d/vars'": lambda file: file["layers/conv2d/vars"].move("0", "5"),
}


@pytest.mark.parametrize("words", NUMBERED_TROUBLES)
def test_numbered_files_that_are_refused(tmp_path, sound, words):
    shutil.copy(sound / "numbered.h5", tmp_path / "odd.weights.h5")
    with h5py.File(tmp_path / "odd.weights.h5", "a") as file:
        NUMBERED_TROUBLES[words](file)
    with pytest.raises(ValueError, match=rf"odd\.weights\.h5 {re.escape(words)}"):
        read_keras(tmp_path / "odd.weights.h5")


@pytest.mark.parametrize("content", [b"", b"<html>502</html>", b"PK\x03\x04", b"\x89HDF"])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "none.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"none\.h5 is no HDF5 file"):
        read_keras(tmp_path / "none.h5")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.99])
def test_files_cut_short_are_refused(tmp_path, sound, share):
    content = (sound / "tree.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.h5 is cut short or damaged"):
        read_keras(tmp_path / "cut.h5")


def test_an_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"absent\.h5"):
        read_keras(tmp_path / "absent.h5")
