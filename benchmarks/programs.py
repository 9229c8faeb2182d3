"""The table of programs.toml: how each program is run, what it needs, its figures and what they are to reach."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("programs.toml")


@dataclass(frozen=True)
class Figure:
    """A row: its name and value, with a JSON line's names in braces, and the number that is to reach a target.

    Without a value the number is told alone.
    """

    name: str
    number: str = ""
    at_least: float | None = None
    at_most: float | None = None
    value: str = ""

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "-" if self.at_most is None else f"at most {self.at_most:g}"

    def told(self, figures: Mapping[str, Any]) -> str:
        """The value; `KeyError` where the JSON line lacks a name."""
        return (self.value or f"{{{self.number}}}").format_map(figures)

    def is_missed(self, figures: Mapping[str, Any]) -> bool:
        """Whether the number does not reach its target; NaN reaches none."""
        if self.at_least is None and self.at_most is None:
            return False
        number = float(f"{{{self.number}}}".format_map(figures))
        return not (number <= self.at_most if self.at_least is None else number >= self.at_least)  # pyright: ignore


@dataclass(frozen=True)
class Program:
    """A module of this folder with its flags, the packages that it needs, and the minutes it takes on two cores.

    JAX computes on the default device, or on `platform` where a peer does. One that is `on_demand` runs where it is
    asked for by name alone.
    """

    name: str
    module: str
    minutes: float
    figures: tuple[Figure, ...]
    flags: str = ""
    needs: tuple[str, ...] = ()
    platform: str = ""
    on_demand: bool = False


def read_programs(path: Path = TABLE) -> dict[str, Program]:
    """The programs by name, in the order of the table."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _program(name, **fields) for name, fields in table.items()}


def _program(
    name: str, figures: list[dict[str, Any]], module: str = "", needs: list[str] | None = None, **others: Any
) -> Program:
    made = tuple(Figure(**figure) for figure in figures)
    return Program(name, module or name, figures=made, needs=tuple(needs or ()), **others)
