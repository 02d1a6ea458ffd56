"""A module of the script's own, which happens to be called like one of sizeup's."""

import time


class Stopwatch:
    """Tells how long steps take."""

    def __init__(self):
        self.started = time.perf_counter()

    def lap(self):
        """Return the seconds since the last lap."""
        now = time.perf_counter()
        seconds, self.started = now - self.started, now
        return seconds
