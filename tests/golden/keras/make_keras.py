"""Makes features_keras<n>.npz and layouts_keras<n>.json: what Keras 2 or 3 computes, and writes, of fabricated weights.

    python tests/golden/keras/make_keras.py

needs Keras, once 2.15 and once 3 (with KERAS_BACKEND=jax), which the tests do not: they rebuild the weights by
`fabricate.array`. `<network>/<size>` are pooled features of `fabricate.image(size)`, stored in float32; Keras 2 gives
those of the square images alone. A layout lists, in Keras's order, each layer's name, its group in `.weights.h5` (of
Keras 3, null in Keras 2), and its weights' names with their shapes; the tree's paths repeat the layer's name, which
is checked here. InceptionResNetV2 is built after InceptionV3, so that its numbered layers start at `first`.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fabricate
import h5py
import keras
import numpy as np

FOLDER = Path(__file__).parent
GENERATION = int(keras.__version__[0])
NETWORKS = {
    "densenet121": keras.applications.densenet.DenseNet121,
    "keras_resnet50": keras.applications.resnet.ResNet50,
    "inception_v3": keras.applications.inception_v3.InceptionV3,
    "inception_resnet_v2": keras.applications.inception_resnet_v2.InceptionResNetV2,
}


def fill(model, first: int):
    """Gives a model the weights of its layers' names."""
    for layer in model.layers:
        name = fabricate.true_name(layer.name, first)
        layer.set_weights([fabricate.array(f"{name}/{leaf(w)}", tuple(w.shape)) for w in layer.weights])


def leaf(weight) -> str:
    """A variable's own name, without its layer's and without Keras 2's number of an output."""
    return weight.name.rpartition("/")[2].partition(":")[0]


def features(model, size: str) -> np.ndarray:
    return np.asarray(keras.layers.GlobalAveragePooling2D()(model(fabricate.image(size), training=False)))


def layout(model, first: int) -> dict:
    """What the files that Keras writes of a model look like."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "full.h5", include_optimizer=False)
        with h5py.File(Path(folder) / "full.h5") as file:
            tree = file["model_weights"]
            layers = [layer(tree, name) for name in tree.attrs["layer_names"]]
            assert set(tree) - {name.partition("/")[0] for name, _ in layers} == {"top_level_model_weights"}
        if GENERATION == 2:
            model.save_weights(Path(folder) / "only.h5")
            with h5py.File(Path(folder) / "only.h5") as file:
                assert [layer(file, name) for name in file.attrs["layer_names"]] == layers
            groups = {}
        else:
            groups = numbered(model, Path(folder) / "a.weights.h5")
    return {"first": first, "layers": [[name, groups.get(name), weights] for name, weights in layers]}


def layer(tree, name: str) -> tuple[str, dict]:
    """A layer of the tree, whose weights lie under its name twice."""
    group = tree[name]
    names = [weight.removeprefix(f"{name}/") for weight in group.attrs["weight_names"]]
    assert all("/" not in weight for weight in names)
    return name, {weight: list(group[name][weight].shape) for weight in names}


def numbered(model, path: Path) -> dict[str, str]:
    """The group of `.weights.h5` that each layer lies in; its variables are those of the tree, in the same order."""
    model.save_weights(path)
    with h5py.File(path) as file:
        groups = {group["vars"].attrs["name"]: name for name, group in file["layers"].items()}
        for each in model.layers:
            variables = file["layers"][groups[each.name]]["vars"]
            assert [variables[str(k)].shape for k in range(len(variables))] == [tuple(w.shape) for w in each.weights]
    return groups


def main():
    found, layouts = {}, {}
    for name, build in NETWORKS.items():
        if name != "inception_resnet_v2":
            keras.backend.clear_session()
        model = build(include_top=False, weights=None)
        first = 94 if name == "inception_resnet_v2" else 0
        fill(model, first)
        layouts[name] = layout(model, first)
        for size in fabricate.SIZES if GENERATION == 3 else ["square"]:
            found[f"{name}/{size}"] = features(model, size)
            print(name, size, found[f"{name}/{size}"].shape, np.abs(found[f"{name}/{size}"]).max(), flush=True)
    np.savez_compressed(FOLDER / f"features_keras{GENERATION}.npz", **found)
    text = json.dumps(layouts, separators=(",", ":")).replace("],[", "],\n[")
    (FOLDER / f"layouts_keras{GENERATION}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
