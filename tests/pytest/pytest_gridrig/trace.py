"""What was measured of one signal, and what can be said of it.

The definitions are those of a scenario's checks (`t90`, `band`, ...), so that a test in Python and a scenario
say the same of the same record. Unknown is never zero: where the record has a hole, ends too early, or is
sampled too coarsely to tell, the answer is `Inconclusive`, neither yes nor no.
"""

import bisect
import statistics

# Longest hole in the data that is overlooked, in seconds; as the checks of a scenario have it.
MAX_GAP_S = 2.0
# Stretch before a step in which the value before it is measured, in seconds; as the checks have it.
BEFORE_S = 1.0
# Share of the record after a step, at its end, in which the settled value is measured; as the checks have it.
SETTLED = 0.2


class Inconclusive(Exception):
    """The record does not tell. Neither a pass nor a failure of what is tested."""


class Measured(float):
    """A figure that lies somewhere from `low` to `high`; as a float it is the middle.

    Compared with a limit it says yes or no where both ends agree, and raises `Inconclusive` where the limit
    lies between them.
    """

    def __new__(cls, low, high, unit, told):
        self = super().__new__(cls, high if high == float("inf") else (low + high) / 2)
        self.low, self.high, self.unit, self.told = low, high, unit, told
        return self

    def __repr__(self):
        if self.high == float("inf"):
            return f"more than {self.low:.4g} {self.unit} ({self.told})"
        return f"{float(self):.4g} {self.unit} ± {(self.high - self.low) / 2:.2g} ({self.told})"

    __str__ = __repr__
    __hash__ = float.__hash__

    def _agreed(self, low, high, limit):
        if low == high:
            return low
        raise Inconclusive(f"{self!r} against {limit} {self.unit}: the sampling is too coarse to tell")

    def __lt__(self, limit):
        return self._agreed(self.low < limit, self.high < limit, limit)

    def __le__(self, limit):
        return self._agreed(self.low <= limit, self.high <= limit, limit)

    def __gt__(self, limit):
        return self._agreed(self.low > limit, self.high > limit, limit)

    def __ge__(self, limit):
        return self._agreed(self.low >= limit, self.high >= limit, limit)


class Trace:
    """Readings of one signal: times in seconds since the run began, values in `unit`, None where one is bad."""

    def __init__(self, name, unit, times, values, tell=None):
        self.name, self.unit = name, unit
        good = [(t, v) for t, v in zip(times, values) if v is not None]
        self.times = [t for t, _ in good]
        self.values = [v for _, v in good]
        self._tell = tell or (lambda what, figure: None)

    def __repr__(self):
        if not self.times:
            return f"<{self.name}: never measured>"
        return f"<{self.name}: {len(self.times)} readings from {self.times[0]:.3f} s to {self.times[-1]:.3f} s>"

    def __len__(self):
        return len(self.times)

    def between(self, since, until=float("inf")):
        """The times and values from one moment to another, both included."""
        first, last = bisect.bisect_left(self.times, since), bisect.bisect_right(self.times, until)
        return self.times[first:last], self.values[first:last]

    def t90(self, since, to=None, max_gap=MAX_GAP_S):
        """Seconds from `since` until 90 % of the step are covered by two readings in a row. The step goes from
        the median of the second before to the value `to`; without it to the median of the record's last fifth.
        """
        return self._reached("t90", 0.9, since, to, max_gap)

    def t_start(self, since, to=None, max_gap=MAX_GAP_S):
        """The same for 5 % of the step: it has begun."""
        return self._reached("t_start", 0.05, since, to, max_gap)

    def t_full(self, since, to=None, max_gap=MAX_GAP_S):
        """The same for 97 % of the step: all of it is there."""
        return self._reached("t_full", 0.97, since, to, max_gap)

    def low(self, since, until=None, max_gap=MAX_GAP_S):
        """The lowest reading of a window without holes."""
        return self._extreme("low", min, since, until, max_gap)

    def high(self, since, until=None, max_gap=MAX_GAP_S):
        """The highest reading of a window without holes."""
        return self._extreme("high", max, since, until, max_gap)

    def stays(self, low, high, since, until=None, max_gap=MAX_GAP_S):
        """Whether every reading of a window lies from `low` to `high`, both included. One that does not is an
        answer, hole or not; that all do is one only without holes.
        """
        times, values = self._window(since, until)
        for t, value in zip(times, values):
            if not low <= value <= high:
                self._tell(f"{self.name} leaves {low}..{high}", f"{value:.6g} {self.unit} at {t:.3f} s")
                return False
        self._without_hole(since, times[-1] if until is None else until, max_gap)
        return True

    def _window(self, since, until):
        times, values = self.between(since, float("inf") if until is None else until)
        if not times:
            raise Inconclusive(f"{self.name} was not measured from {since:.3f} s on")
        return times, values

    def _extreme(self, word, of, since, until, max_gap):
        times, values = self._window(since, until)
        self._without_hole(since, times[-1] if until is None else until, max_gap)
        found = of(values)
        self._tell(f"{word} of {self.name}", f"{found:.6g} {self.unit}")
        return found

    def _without_hole(self, since, until, max_gap):
        """Raises where readings of a window are further apart than `max_gap`, from each other or from its ends."""
        times, _ = self.between(since, until)
        around = [since, *times, until]
        for earlier, later in zip(around, around[1:]):
            if later - earlier > max_gap:
                raise Inconclusive(
                    f"{self.name} has a hole of {later - earlier:.3g} s from {earlier:.3f} s on, "
                    f"longer than {max_gap:g} s"
                )

    def _reached(self, word, share, since, to, max_gap):
        _, before = self.between(since - BEFORE_S, since)
        if not before:
            raise Inconclusive(f"{self.name} was not measured in the second before the step at {since:.3f} s")
        times, values = self.between(since)
        if times and times[0] == since:
            times, values = times[1:], values[1:]
        if not times:
            raise Inconclusive(f"{self.name} was not measured after the step at {since:.3f} s")
        start, noise = statistics.median(before), max(before) - min(before)
        end = to
        if end is None:
            _, settled = self.between(times[-1] - SETTLED * (times[-1] - since))
            end = statistics.median(settled)
            noise = max(noise, max(settled) - min(settled))
        if abs(end - start) <= noise:
            raise Inconclusive(f"{self.name} was {start:.6g} {self.unit} before the step already: there was no step")
        told = f"{share:.0%} of {self.name} from {start:.6g} to {end:.6g} {self.unit}, {len(times)} readings"
        figure = self._first(share, start, end, since, times, values, told, max_gap)
        self._tell(f"{word} of {self.name}", repr(figure))
        return figure

    def _first(self, share, start, end, since, times, values, told, max_gap):
        covered = [(value - start) / (end - start) >= share for value in values]
        for index, reached in enumerate(covered):
            # A single reading may be noise; the last one of a record has nobody to confirm it.
            if reached and covered[index + 1 : index + 2] == [True]:
                self._without_hole(since, times[index], max_gap)
                earlier = times[index - 1] if index else since
                return Measured(earlier - since, times[index] - since, "s", told)
        self._without_hole(since, times[-1], max_gap)
        return Measured(times[-1] - since, float("inf"), "s", told + ", not reached")
