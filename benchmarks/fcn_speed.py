"""FCN-ResNet101 against PyTorch's in one run, on the same cores and weights; one JSON line.

    python -m benchmarks.fcn_speed --peers=PYTHON [--only=training] [--rounds=3] [--threads=2]

PYTHON has torch and torchvision, which take turns with us in a process of their own. Inference: one image of 512x512.
Training: forward, backward and Adam on two images of 256x256, mean cross-entropy of each pixel. Torch is asked in both
of its memory layouts, contiguous and channels last, and the faster one counts. Each one's turn is four calls in a row,
as training and measuring make them, and ratios are of medians over all but the first of each turn: a process that has
waited must get its memory from the system again, which the `alone` figures, of these first calls, include. Ratios are
ours to theirs, below 1 where ours is faster. Figures to reach: 1 in inference; in training 1 / 0.8, aiming below 1.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import optax

from benchmarks.common import report
from mskjax import convert, models

WEIGHTS, OPTIONS = "fcn.pth", {"num_classes": 21, "aux_head": False}
WORK = {"inference": (1, 512, 512, 3), "training": (2, 256, 256, 3)}
LAYOUTS = ("contiguous", "channels_last")
IN_A_ROW = 4  # calls of one turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--only", choices=WORK)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch; ours uses all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(__file__).with_name("fcn_speed_reference.py")
        command = [arguments.peers, str(program), folder, str(arguments.threads)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            ask(peer, "ready")
            variables = convert.load_weights(Path(folder) / WEIGHTS, "fcn_resnet101", **OPTIONS)
            chosen = [arguments.only] if arguments.only else WORK
            figures = {work: compare(peer, work, variables, arguments.rounds) for work in chosen}
    report("fcn_speed", **{f"{work}_{key}": value for work, own in figures.items() for key, value in own.items()})


def ask(peer: subprocess.Popen, request: str) -> float:
    """The seconds that the other process answers with."""
    stdin, stdout = cast(Any, peer.stdin), cast(Any, peer.stdout)
    stdin.write(request + "\n")
    stdin.flush()
    return float(stdout.readline())


def compare(peer: subprocess.Popen, work: str, variables: Any, rounds: int) -> dict[str, float]:
    """Medians of each one's seconds, after one that warms up; the difference of the first results over the largest."""
    batch = np.random.default_rng(0).standard_normal(WORK[work]).astype(np.float32)
    np.save(Path(cast(Any, peer.args)[2]) / f"{work}.npy", np.moveaxis(batch, -1, 1))
    call = (inference if work == "inference" else training)(variables, batch)
    start = time.perf_counter()
    found = call()
    compilation_s = time.perf_counter() - start
    for layout in LAYOUTS:
        ask(peer, f"{work} {layout}")
    expected = np.load(Path(cast(Any, peer.args)[2]) / f"{work}_result.npy")
    turns: dict[str, list[list[float]]] = {name: [] for name in ("ours", *LAYOUTS)}
    for _ in range(rounds):
        turns["ours"].append([seconds(call) for _ in range(IN_A_ROW)])
        for layout in LAYOUTS:
            turns[layout].append([ask(peer, f"{work} {layout}") for _ in range(IN_A_ROW)])
    alone = {name: statistics.median(turn[0] for turn in own) for name, own in turns.items()}
    in_a_row = {name: statistics.median(one for turn in own for one in turn[1:]) for name, own in turns.items()}
    return {
        **{f"{name}_s": round(median, 3) for name, median in in_a_row.items()},
        "ratio": round(in_a_row["ours"] / min(in_a_row[layout] for layout in LAYOUTS), 3),
        "alone_ratio": round(alone["ours"] / min(alone[layout] for layout in LAYOUTS), 3),
        "first_call_s": round(compilation_s, 1),
        "largest_difference": float(f"{np.abs(found - expected).max() / np.abs(expected).max():.2g}"),
    }


def seconds(call: Callable[[], object]) -> float:
    """What a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def inference(variables: Any, image: np.ndarray) -> Callable[[], np.ndarray]:
    """A call that returns the image's logits as torch has them, [b, k, h, w]."""
    module = models.build("fcn_resnet101", **OPTIONS)
    logits = jax.jit(lambda variables, image: cast(Any, module.apply(variables, image))["logits"])
    return lambda: np.moveaxis(np.asarray(logits(variables, image)), -1, 1)


def training(variables: Any, image: np.ndarray) -> Callable[[], np.ndarray]:
    """A call that makes one update and returns its loss; all pixels are of class 1."""
    module, optimizer = models.build("fcn_resnet101", **OPTIONS, dropout=0.0), optax.adam(1e-4)
    labels = np.ones(image.shape[:-1], np.int32)

    def loss(params: Any, model_state: Any, image: Any, labels: Any) -> Any:
        apply = cast(Any, module.apply)
        outputs, model_state = apply({"params": params, **model_state}, image, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], labels).mean(), model_state

    def update(state: Any, image: Any, labels: Any) -> Any:
        params, model_state, moments = state
        (value, model_state), gradient = jax.value_and_grad(loss, has_aux=True)(params, model_state, image, labels)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), model_state, moments), value

    compiled = jax.jit(update, donate_argnums=0)
    params = jax.tree.map(jax.numpy.array, variables["params"])
    state = [params, {"batch_stats": variables["batch_stats"]}, optimizer.init(params)]

    def call() -> np.ndarray:
        state[:], value = compiled(tuple(state), image, labels)
        return np.asarray(jax.block_until_ready((value, state))[0])

    return call


if __name__ == "__main__":
    main()
