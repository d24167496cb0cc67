"""Registries of names, open to other packages: what is built in, and what an installed package adds by an entry point."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from apps.engine.errors import EngineError


@dataclass(frozen=True)
class Entry:
    """What a registry lists: cheap to import; `implementation` is "module:name", imported when it is used."""

    name: str  # in settings, commands and the database
    title: str  # on the screen
    description: str  # one sentence, for whoever chooses
    implementation: str = ""

    def load(self) -> Any:
        """The implementation; `EngineError` where it cannot be imported."""
        module, _, attribute = self.implementation.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # a package of somebody else's may raise anything
            raise EngineError(f"{self.name} cannot be used: {self.implementation}: {_in_words(error)}") from error


Kind = TypeVar("Kind", bound=Entry)


class Registry(Generic[Kind]):
    """The entries of one kind by name: the built-in ones first, then those of the entry point group.

    An entry point leads to an object of `kind` with the entry point's name. One that cannot be loaded, is something
    else or takes a name that there is already, is left out and listed in `faults`: it stops nobody else.
    """

    def __init__(self, what: str, kind: type[Kind], *, group: str, built_in: Iterable[Kind]) -> None:
        self._what = what
        self._kind = kind
        self._group = group
        self._built_in = {entry.name: entry for entry in built_in}
        self._found: tuple[dict[str, Kind], dict[str, str]] | None = None

    def entries(self) -> list[Kind]:
        """All that can be used."""
        return list(self._load()[0].values())

    def names(self) -> list[str]:
        """The names of all that can be used."""
        return list(self._load()[0])

    def faults(self) -> dict[str, str]:
        """Entry point names that cannot be used, each with a sentence that names the package and the cause."""
        return dict(self._load()[1])

    def get(self, name: str) -> Kind:
        """The entry of that name; `EngineError` where there is none, or where its package is broken."""
        entries, faults = self._load()
        if name in entries:
            return entries[name]
        if name in faults:
            raise EngineError(faults[name])
        raise EngineError(f"There is no {self._what} called {name!r}; there are {', '.join(entries)}")

    def refresh(self) -> None:
        """Look anew at what is installed, at the next use."""
        self._found = None

    def _load(self) -> tuple[dict[str, Kind], dict[str, str]]:
        if self._found is None:
            entries, faults = dict(self._built_in), dict[str, str]()
            for point in sorted(entry_points(group=self._group), key=lambda point: point.name):
                try:
                    entry = self._loaded(point, entries)
                except Exception as error:  # a package of somebody else's may raise anything
                    faults[point.name] = (
                        f"The {self._what} {point.name!r} of the package {_package(point)} cannot be used: "
                        f"{_in_words(error)}"
                    )
                else:
                    entries[entry.name] = entry
            self._found = entries, faults
        return self._found

    def _loaded(self, point: EntryPoint, taken: dict[str, Kind]) -> Kind:
        entry = point.load()
        if not isinstance(entry, self._kind):
            raise EngineError(f"{point.value} is no {self._kind.__name__}")
        if entry.name != point.name:
            raise EngineError(f"{point.value} calls itself {entry.name!r}")
        if entry.name in taken:
            raise EngineError("the name is taken")
        return entry


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, EngineError) else f"{type(error).__name__}: {text}"
