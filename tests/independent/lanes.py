"""Lanes and the order of coding (FORMAT.md; FORMAT-mixer.md, "The frame of it")."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """The prefix of a block, or the rest: `lanes` runs side by side."""

    begin: int
    size: int
    lanes: int

    def length(self, lane: int) -> int:
        return self.size // self.lanes + (1 if lane < self.size % self.lanes else 0)

    def start(self, lane: int) -> int:
        return self.begin + lane * (self.size // self.lanes) + min(lane, self.size % self.lanes)

    def active(self, step: int) -> int:
        """How many lanes have a byte of this step: the first so many."""
        return self.lanes if step < self.size // self.lanes else self.size % self.lanes

    def lane_of(self, position: int) -> int:
        """The lane in whose run a position of this part lies."""
        longer = self.size % self.lanes
        bound = self.start(longer)
        if position < bound:
            return (position - self.begin) // self.length(0)
        return longer + (position - bound) // (self.size // self.lanes)


def parts(n: int, prefix: int, lanes: int) -> tuple[Part, Part]:
    """The prefix, which is one lane, and the rest."""
    return Part(0, prefix, 1), Part(prefix, n - prefix, lanes)
