"""The faults the engine reports. Every text is written for the person who uploaded the file or started the run."""

from __future__ import annotations


class EngineError(Exception):
    """Something the engine cannot do; str() says what and why."""


class BadInput(EngineError):
    """A file the user gave cannot be used.

    file: its name as shown to the user (never a server path); cause: one sentence for a human.
    """

    def __init__(self, file: str, cause: str) -> None:
        super().__init__(file, cause)
        self.file = file
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.file}: {self.cause}"


class Stopped(EngineError):
    """The caller's should_stop() was true; what was begun has been left unfinished on purpose."""
