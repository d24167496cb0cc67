"""How long work tells its caller where it is, and learns that it should stop. The engine itself prints nothing."""

import time
from collections.abc import Callable

from apps.engine.errors import Stopped

ProgressCallback = Callable[[str, float, str], None]
"""Called with the stage ("training", "embedding", ...), the fraction done (0 to 1) and a message for the user."""

StopCallback = Callable[[], bool]
"""Asked often; true means: stop soon. The work then raises `Stopped`."""

# A caller writes each report to a database row and a socket, so more than two a second would only cost.
REPORT_EVERY_SECONDS = 0.5


def ignore_progress(stage: str, fraction: float, message: str) -> None:
    """The `ProgressCallback` of a caller who does not want to know."""


def never_stop() -> bool:
    """The `StopCallback` of a caller who does not want to stop."""
    return False


def format_duration(seconds: float) -> str:
    """Seconds as a person says them: "8 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """One stage of `total` steps: reports at most every half second, with the time left, and raises `Stopped`."""

    def __init__(
        self, stage: str, total: int, on_progress: ProgressCallback, should_stop: StopCallback, *, done: int = 0
    ) -> None:
        """`done` steps were done by an earlier run that this one goes on with."""
        self.stage = stage
        self.total = max(1, total)
        self.done = self._done_before = done
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._started = self._reported = time.monotonic()
        self.raise_if_stopped()
        on_progress(stage, min(1.0, done / self.total), "going on" if done else "starting")

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._started

    def rate(self, more: int = 0) -> float:
        """Steps per second since the stage began, `more` that are not counted yet with them."""
        return (self.done - self._done_before + more) / max(1e-9, self.seconds)

    def raise_if_stopped(self) -> None:
        """Raise `Stopped` when the caller wants to stop."""
        if self._should_stop():
            raise Stopped(f"{self.stage} was stopped")

    def advance(self, steps: int, message: str = "") -> None:
        """Count `steps` more; report when it is time to. `message` comes before the time left."""
        self.raise_if_stopped()
        self.done += steps
        now = time.monotonic()
        if self.done < self.total and now - self._reported < REPORT_EVERY_SECONDS:
            return
        self._reported = now
        left = (self.total - self.done) / max(1e-9, self.rate())
        parts = [message] if message else []
        if self.done < self.total:
            parts.append(f"{format_duration(left)} left")
        self._on_progress(self.stage, min(1.0, self.done / self.total), ", ".join(parts))
