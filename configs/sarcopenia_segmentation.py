r"""Muscle area at L3 and sarcopenia by it, from whole scans by SMIT: the ten networks of study B's second half.

"Self-supervised" of study B: SMIT's pretrained student, fine-tuned to the outlines of 79 scans (18 sarcopenic) in ten
stratified shuffles: 47 train (9 sarcopenic, where the paper prints 8 and leaves one patient out), 16 validate (6), 16
test (3). Table 3, tests of each shuffle: mean Dice 0.87 to 0.98, mean area difference -3.2 to 10.0 %. Table 4, the
shuffle of Dice 0.93: areas within 7.1 %, 3.2 % on average, and 16 of 16 decisions right by 144 cm2 in men and 92 in
women. The shuffle shown here is the one that validation prefers.

    python -m launch.prepare --images=SCANS --masks=OUTLINES --labels=LABELS.csv --spacing_mm=1.5,1.5,2 \
        --output=DATASET
    python -m launch.convert --model=smit_encoder --weights=pre_train_weight.pt \
        --output=third_party_weights/smit_encoder.safetensors
    python -m launch.sweep --config=configs/sarcopenia_segmentation.py --config.dataset=DATASET --workdir=STUDY
    python -m launch.evaluate --workdir=STUDY

Config string, comma-separated:
    init=smit|random|both   the converted weights named in the config, fresh ones, which small and smoke start from
                            unless told otherwise, or a network of each for every shuffle, to compare them;
                            --config.starts.smit.init_from=RUN takes the weights of one's own pretraining
    schedule=constant|official   a constant rate, or 50 epochs of warm-up and a cosine to 0, as the published code has
    small                   a fraction of the width and crops of 32^3 at a higher rate, for phantoms on a laptop
    smoke                   two shuffles of a network that trains in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import smit_segmentation, strings

INITS = {"smit": ("smit",), "random": ("random",), "both": ("smit", "random")}
# What a study has of its own, or has for all of its cells.
_NOT_OF_A_STUDY = ("init_from", "fresh", "resume")
SCALES: dict[str, dict[str, Any]] = {"smoke": {"shuffles": 2}}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses; every field can be overridden by --config.field=value."""
    chosen = strings.parse(text, init=("", *INITS), schedule=("constant", "official"), small=False, smoke=False)
    scale = "smoke" if chosen.smoke else "small" if chosen.small else ""
    words = [f"schedule={chosen.schedule}", *([scale] if scale else [])]
    run = smit_segmentation.get_config(",".join(words)).to_dict()
    config = ConfigDict(
        {
            "study": "sarcopenia_segmentation",  # the kind; launch.sweep and launch.evaluate know by it what to do
            **{name: value for name, value in run.items() if name not in _NOT_OF_A_STUDY},
            "keep_epochs": 0,  # a cell's checkpoints go when it is done
            "inits": INITS[chosen.init or ("random" if scale else "smit")],
            "starts": {
                "smit": {"init_from": smit_segmentation.WEIGHTS, "fresh": smit_segmentation.FRESH},
                "random": {"init_from": "", "fresh": ()},
            },
            "shuffles": 10,  # each of all patients
            # Of patients who are not sarcopenic and of those who are, rounded; a dataset's splits play no role.
            "validation_fractions": (10 / 61, 6 / 18),
            "test_fractions": (13 / 61, 3 / 18),
            "stratify": "label",  # or "label_and_sex", which shares out patients by sex too
            "cutoffs": "freeman",  # the set that decides; all are told
            "missing_weights": "refuse",  # or "skip" the initialisations whose weights are not there
            "keep": "weights",  # of each cell, or its "predictions" and scores alone
            "devices": 0,  # each trains its own cells; 0: all
        }
    )
    config.update(SCALES.get(scale, {}))
    return config.lock()
