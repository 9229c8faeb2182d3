"""Config strings: what stands behind the colon in --config=configs/segmentation.py:init=segmentation,smoke."""

from types import SimpleNamespace

# absl passes its own errors on as one sentence, and wraps a ValueError of a config file in a traceback.
from absl.flags import IllegalFlagValueError


def parse(text: str | None, **options: tuple[str, ...] | bool) -> SimpleNamespace:
    """The options' values as attributes.

    An option that is a tuple of words takes one of them, as in `init=random`, and its first word where it is not named;
    one that is False becomes True where it is named. Anything else is refused in one sentence.
    """
    values = {name: option[0] if isinstance(option, tuple) else option for name, option in options.items()}
    for part in filter(None, (text or "").split(",")):
        name, equals, word = part.partition("=")
        choices = options.get(name)
        if choices is None:
            raise IllegalFlagValueError(f"config string {part!r} is unknown; known are {', '.join(options)}")
        if isinstance(choices, tuple) and word not in choices:
            raise IllegalFlagValueError(f"config string {part!r} is none of {name}={'|'.join(filter(None, choices))}")
        if not isinstance(choices, tuple) and equals:
            raise IllegalFlagValueError(f"config string {part!r} takes no value; write {name}")
        values[name] = word if isinstance(choices, tuple) else True
    return SimpleNamespace(**values)
