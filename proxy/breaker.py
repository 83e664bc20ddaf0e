"""When to stop asking something that keeps failing, and when to try it again.

Pure: `now` comes in as an argument, in seconds of a clock that never jumps
(`time.monotonic`). After `threshold` failures in a row the breaker opens; once the pause
is over a single caller is let through to try, and its result closes the breaker or doubles
the pause.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Breaker:
    """Counts failures in a row. All durations are seconds."""

    threshold: int
    first_pause: float
    longest_pause: float
    problem: str = field(default="", init=False)
    """Why it failed last, where that was told: for callers that are turned away."""
    _failures: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)
    _closed_again_at: float = field(default=0.0, init=False)
    _is_trying: bool = field(default=False, init=False)
    """Whether a caller was let through an open breaker, and nobody has failed since."""

    def allows(self, now: float) -> bool:
        """Whether to try at `now`. Allowing a try in an open breaker books the next pause."""
        if not self.is_open:
            return True
        if now < self._closed_again_at:
            return False
        # One caller tries; were all let through, a slow failure would meet all of them.
        self._closed_again_at = now + self._pause
        self._is_trying = True
        return True

    @property
    def is_open(self) -> bool:
        """Whether so many tries failed in a row that callers are turned away."""
        return self._failures >= self.threshold

    def seconds_left(self, now: float) -> float:
        """How long callers are still turned away; 0 when closed."""
        return max(0.0, self._closed_again_at - now) if self.is_open else 0.0

    def succeeded(self) -> None:
        """Close the breaker."""
        self._failures = 0
        self._pause = 0.0
        self._is_trying = False

    def failed(self, now: float, problem: str = "") -> None:
        """Count a failure, and open the breaker or lengthen its pause where that is due.

        Callers that were under way when it opened say nothing new: a hundred of them, failing in
        one bad second, would make it the longest pause.
        """
        was_open = self.is_open
        self._failures += 1
        self.problem = problem
        if self.is_open and (self._is_trying or not was_open):
            self._is_trying = False
            self._pause = min(self.longest_pause, self._pause * 2 or self.first_pause)
            self._closed_again_at = now + self._pause
