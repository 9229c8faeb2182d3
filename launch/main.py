"""What all launch scripts share: `--help` with the script's examples, one-sentence errors, and the exit status."""

import logging as standard_logging
import os
import sys
from collections.abc import Callable

from absl import app, flags, logging


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits: 0 done, 1 some cases failed (of `main`), 2 cannot run, 130 Ctrl-C.

    `ValueError` and `OSError` are the library's way to say what is wrong with an input: they print as one sentence.
    Anything else is a fault of the program and keeps its traceback.
    """
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    # At the information level jax reports each accelerator that is absent, others what they copy and which glyphs.
    for chatty in ("jax", "highdicom", "pydicom", "fontTools"):
        standard_logging.getLogger(chatty).setLevel(standard_logging.WARNING)
    try:
        app.run(lambda arguments: sys.exit(_guarded(main, arguments[1:])), flags_parser=_parse)
    except BrokenPipeError:
        # Whoever read the output, as `| head` does, has enough; at exit Python would still try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # the shell's 128 + SIGPIPE


def _guarded(main: Callable[[], int | None], leftover: list[str]) -> int:
    if leftover:
        return _refuse(f"unknown arguments {' '.join(leftover)}; every argument is a flag, as in --name=value")
    try:
        status = main() or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _refuse("interrupted; run the same command again to go on", status=130)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return _refuse(" ".join(str(error).split()))


def _parse(arguments: list[str]) -> list[str]:
    if any(a in ("--help", "-h", "-help", "--helpfull", "-?") for a in arguments[1:]):
        print(sys.modules["__main__"].__doc__ or "")
        print(flags.FLAGS.main_module_help().strip(), flush=True)
        sys.exit(0)
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        has_remedy = "; " in str(error) or "Did you mean" in str(error)
        sys.exit(_refuse(str(error) if has_remedy else f"{error}; --help lists the flags"))


def _refuse(sentence: str, status: int = 2) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return status
