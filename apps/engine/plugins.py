"""Registries of names, open to other packages: what is built in, and what an installed package adds by an entry point."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from apps.engine.errors import EngineError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Entry:
    """What a registry lists: cheap to import; `implementation` is "module:name", imported when it is used."""

    what: ClassVar[str]
    """In one word, for sentences about it."""

    name: str  # in settings, commands and the database
    title: str  # on the screen
    description: str  # one sentence, for whoever chooses
    implementation: str = ""

    def load(self) -> Any:
        """The implementation; `EngineError` where it cannot be imported."""
        module, _, attribute = self.implementation.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # a package of somebody else's may raise anything
            raise EngineError(f"{self.name} cannot be used: {self.implementation}: {_in_words(error)}") from error

    @contextmanager
    def blamed(self, callers: Callers | None = None, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """For code of the implementation's: what it raises becomes an `EngineError` that names it and says where in its package.

        Not what the `callers` own functions raise, nor what is no fault (`but`). Who ends the process (`SystemExit`) is blamed, too.
        """
        try:
            yield
        except EngineError:
            raise
        except but:
            raise
        except (Exception, SystemExit) as error:  # a package of somebody else's may raise anything
            if callers is not None and callers.raised(error):
                assert callers.failure is not None
                raise callers.failure from None
            raise EngineError(
                f"the {self.what} {self.name} failed: {_in_words(error)}{self._place_of(error)}"
            ) from error

    def _place_of(self, error: BaseException) -> str:
        """Where in its package the implementation was, in brackets."""
        package = self.implementation.split(":")[0].split(".")[0]
        places = [
            f" ({Path(frame.f_code.co_filename).name}, line {line})"
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_globals.get("__name__", "").split(".")[0] == package
        ]
        return places[-1] if places else ""


class Callers:
    """The functions that a caller gives to be called: what fails in them is no fault of the implementation that called them."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def raised(self, error: BaseException | None) -> bool:
        """Whether an error is theirs, or somebody else's in words of its own."""
        while error is not None:
            if error is self.failure:
                return True
            error = error.__cause__ or error.__context__
        return False

    def watched(self, function: Callable[P, R]) -> Callable[P, R]:
        """The same, but for its failure being remembered."""

        def call(*arguments: P.args, **keywords: P.kwargs) -> R:
            try:
                return function(*arguments, **keywords)
            except Exception as error:
                self.failure = error
                raise

        return call


Kind = TypeVar("Kind", bound=Entry)


class Registry(Generic[Kind]):
    """The entries of one kind by name: the built-in ones first, then those of the entry point group.

    An entry point leads to an object of `kind` with the entry point's name. One that cannot be loaded, is something
    else or takes a name that there is already, is left out and listed in `faults`: it stops nobody else.
    """

    def __init__(self, kind: type[Kind], *, group: str, built_in: Iterable[Kind]) -> None:
        self._kind = kind
        self._group = group
        self._built_in = {entry.name: entry for entry in built_in}
        self._found: tuple[dict[str, Kind], dict[str, str]] | None = None

    @property
    def what(self) -> str:
        """What it lists, in one word."""
        return self._kind.what

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
        raise EngineError(
            f"There is no {self.what} called {name!r}; there are {', '.join(entries)}, and those of packages that get installed"
        )

    def refresh(self) -> None:
        """Look anew at what is installed, at the next use."""
        self._found = None

    def _load(self) -> tuple[dict[str, Kind], dict[str, str]]:
        if self._found is None:
            entries, faults = dict(self._built_in), dict[str, str]()
            for point in sorted(entry_points(group=self._group), key=lambda point: point.name):
                try:
                    entry = self._loaded(point, entries)
                except (Exception, SystemExit) as error:  # a package of somebody else's may raise anything
                    faults[point.name] = (
                        f"The {self.what} {point.name!r} of the package {_package(point)} cannot be used: "
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


def _in_words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, EngineError) else f"{type(error).__name__}: {text}"
