"""The processes that train a run together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Team:
    """This process is number `index` of `count`; the first alone writes."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ValueError(f"process {self.index} of {self.count} is none; the last is {self.count - 1}")

    def part(self, batch_size: int) -> slice:
        """The examples of a batch that this process reads; `ValueError` where they cannot be shared out evenly."""
        if batch_size % self.count:
            raise ValueError(
                f"batch size {batch_size} is not divisible by {self.count} processes; use a multiple of {self.count}"
            )
        own = batch_size // self.count
        return slice(self.index * own, (self.index + 1) * own)


ALONE = Team()
