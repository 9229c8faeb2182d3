"""Rules for single layers of Keras, on names "<layer>/<weight>"; kernels lie as Flax has them."""

from collections.abc import Collection, Sequence

from mskjax.convert.rules import Rule


def conv(source: str, target: str) -> list[Rule]:
    """The rule of a convolution or a dense layer, with or without a bias."""
    return [Rule(rf"{source}/(?P<leaf>kernel|bias)", rf"params/{target}/\g<leaf>")]


def batch_norm(source: str, target: str) -> list[Rule]:
    """The rules of a BatchNormalization, with or without a scale."""
    return [
        Rule(f"{source}/gamma", f"params/{target}/scale"),
        Rule(f"{source}/beta", f"params/{target}/bias"),
        Rule(f"{source}/moving_mean", f"batch_stats/{target}/mean"),
        Rule(f"{source}/moving_variance", f"batch_stats/{target}/var"),
    ]


def head(heads: Collection[str]) -> list[Rule]:
    """The rules of Keras's last layer "predictions": it is "fc" where `heads` has that, else it is left out."""
    return conv("predictions", "fc") if "fc" in heads else [Rule("predictions/.*", None, part="fc")]


def numbered_units(paths: Sequence[str]) -> list[Rule]:
    """The rules of "conv2d_0", "batch_normalization_0" and so on, the units of a trunk in the order of `paths`."""
    return [
        rule
        for index, path in enumerate(paths)
        for rule in (
            *conv(f"conv2d_{index}", f"backbone/{path}/conv"),
            *batch_norm(f"batch_normalization_{index}", f"backbone/{path}/bn"),
        )
    ]
