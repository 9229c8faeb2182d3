"""The flag --config: a file of configs/ whose fields --config.field=value overrides."""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

flags.disclaim_key_flags()  # --help shows --config among the flags of the launcher that defines it


def define_config() -> Any:
    """Defines --config and marks it as required; the holder's `value` is the locked config, once flags are parsed."""
    holder = config_flags.DEFINE_config_file(
        "config", help_string="Config file, with a config string after a colon; --config.field=value overrides a field."
    )
    flags.mark_flag_as_required("config")
    flag: Any = flags.FLAGS["config"]
    parse = flag.parse

    def parse_or_refuse(argument: str) -> None:
        file = argument.partition(":")[0]
        if not Path(file).is_file():
            raise flags.IllegalFlagValueError(f"config file {file} is missing; run from the repository's root")
        try:
            parse(argument)
        except flags.IllegalFlagValueError as error:  # of a config string, by configs/strings.py
            raise flags.IllegalFlagValueError(f"{error}; the head of {file} explains its config strings") from error
        except (AttributeError, KeyError) as error:
            # ml_collections lets the failed look-up of an overridden field escape as it is.
            name, _, advice = _cause(error).partition("; Did you mean ")
            advice = f"did you mean {advice.partition(' instead of ')[0]}?" if advice else f"{file} lists all"
            raise flags.IllegalFlagValueError(f"the config has no field {name}; {advice}") from error

    flag.parse, flag.default_as_str = parse_or_refuse, None  # else --help tells of a default 'None'
    return holder


def _cause(error: BaseException) -> str:
    while isinstance(error.args[0], BaseException):
        error = error.args[0]
    return "; ".join(str(error.args[0]).splitlines()).rstrip("?")
