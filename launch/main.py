"""What all launch scripts share: `--help` with the script's examples, one-sentence errors, and the exit status."""

import logging as standard_logging
import sys
from collections.abc import Callable

from absl import app, flags, logging


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits: 0 done, 1 some cases failed (what `main` returns), 2 cannot run.

    `ValueError` and `OSError` are the library's way to say what is wrong with an input: they print as one sentence.
    Anything else is a fault of the program and keeps its traceback.
    """
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    # At the information level jax reports each accelerator that the machine lacks, highdicom the UIDs that it copies.
    for chatty in ("jax", "highdicom", "pydicom"):
        standard_logging.getLogger(chatty).setLevel(standard_logging.WARNING)
    app.run(lambda arguments: sys.exit(_guarded(main, arguments[1:])), flags_parser=_parse)


def _guarded(main: Callable[[], int | None], leftover: list[str]) -> int:
    if leftover:
        return _refuse(f"unknown arguments {' '.join(leftover)}; every argument is a flag, as in --name=value")
    try:
        return main() or 0
    except KeyboardInterrupt:
        return _refuse("interrupted; run the same command again to go on")
    except (ValueError, OSError) as error:
        return _refuse(" ".join(str(error).split()))


def _parse(arguments: list[str]) -> list[str]:
    if any(a in ("--help", "-h", "-help", "--helpfull", "-?") for a in arguments[1:]):
        print(sys.modules["__main__"].__doc__ or "")
        print(flags.FLAGS.main_module_help().strip())
        sys.exit(0)
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(_refuse(f"{error}; --help lists the flags"))


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2
