"""Settings that explain themselves: frozen dataclasses whose fields carry title, help and bounds, for forms and commands.

    @dataclass(frozen=True)
    class SimCLRSettings(TrainingSettings):
        temperature: float = setting(0.1, title="Temperature", help="Lower looks harder at the most alike.", above=0)

A field is an int, a float, a bool, a str, an optional int or float (None is "leave it to the program"), or a group: another
`Settings`. Made with a wrong value, settings raise `EngineError` with one line that names the field and what it may be.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from apps.engine.errors import EngineError


@dataclass(frozen=True)
class SettingInfo:
    """What is known of a setting beside its type and default."""

    title: str
    help: str
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None  # as `at_least`, without the bound itself
    choices: tuple[tuple[str, str], ...] = ()  # (value, what it means), for a str
    shapes_network: bool = False  # weights that were trained with another value do not fit


@dataclass(frozen=True)
class Setting:
    """One setting of a settings class, flat: those of a group come with the group's name and a dot before theirs."""

    name: str  # "temperature", "augment.stain"
    kind: type  # int, float, bool or str
    optional: bool  # may be None
    info: SettingInfo
    group: str  # title of the group, "" outside of groups


def setting(default: Any, *, title: str, help: str, **more: Any) -> Any:
    """A dataclass field with its title, its help and what else `SettingInfo` holds."""
    return field(default=default, metadata={"info": SettingInfo(title=title, help=help, **more)})


@dataclass(frozen=True)
class Settings:
    """The base of all settings. Values are checked when made; equal to what `from_json(to_json())` gives."""

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for one in fields(self):
            info = one.metadata.get("info")
            if not isinstance(info, SettingInfo):
                raise TypeError(f"{type(self).__name__}.{one.name} is not made with setting()")
            value = _checked(one.name, getattr(self, one.name), hints[one.name], info)
            object.__setattr__(self, one.name, value)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values; groups as dictionaries."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value.to_json() if isinstance(value, Settings) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings from `to_json`: what is missing has its default, a name from another version is left out."""
        if not isinstance(values, Mapping):
            raise EngineError(f"settings have to be names with values, and not {values!r}")
        hints = _hints(cls)
        known = {}
        for name in hints.keys() & values.keys():
            kind, _ = _kind(hints[name])
            known[name] = kind.from_json(values[name]) if issubclass(kind, Settings) else values[name]
        return cls(**known)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """These settings with some others, by flat name ("augment.stain"). Texts are read as what the setting is.

        `EngineError` for a name that there is not and for a value that it may not have.
        """
        known = {one.name: one for one in list_settings(type(self))}
        own: dict[str, Any] = {}
        of_group: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name not in known:
                others = f"there are {', '.join(known)}" if known else "this approach has none"
                raise EngineError(f"There is no setting {name}; {others}")
            read = _read(known[name], value) if isinstance(value, str) else value
            group, dot, rest = name.partition(".")
            if dot:
                of_group.setdefault(group, {})[rest] = read
            else:
                own[name] = read
        for group, changes in of_group.items():
            own[group] = getattr(self, group).changed(changes)
        return replace(self, **own)

    def value_of(self, name: str) -> Any:
        """The value of a setting by its flat name."""
        value: Any = self
        for part in name.split("."):
            value = getattr(value, part)
        return value

    def network_shape(self) -> dict[str, Any]:
        """The settings that weights depend on, by flat name."""
        return {one.name: self.value_of(one.name) for one in list_settings(type(self)) if one.info.shapes_network}


def list_settings(settings: type[Settings]) -> list[Setting]:
    """Every setting of a class in its order, those of groups flat."""
    return list(_flat(settings, "", ""))


def read_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """{"temperature": "0.2"} from ["temperature=0.2"], as commands take them."""
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise EngineError(f"{assignment!r} sets nothing: write NAME=VALUE")
        values[name.strip()] = value.strip()
    return values


def _flat(settings: type[Settings], before: str, group: str) -> Iterator[Setting]:
    hints = _hints(settings)
    for one in fields(settings):
        kind, optional = _kind(hints[one.name])
        info = one.metadata["info"]
        if issubclass(kind, Settings):
            yield from _flat(kind, f"{before}{one.name}.", info.title)
        else:
            yield Setting(f"{before}{one.name}", kind, optional, info, group)


def _hints(settings: type[Settings]) -> dict[str, Any]:
    """The types of the fields, those written as texts too."""
    return {name: hint for name, hint in typing.get_type_hints(settings).items() if name in _names(settings)}


def _names(settings: type[Settings]) -> set[str]:
    return {one.name for one in fields(settings)}


def _kind(hint: Any) -> tuple[type, bool]:
    """The type within a type hint, and whether None is one of its values."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kinds = [part for part in parts if part is not types.NoneType]
    if len(kinds) != 1 or not isinstance(kinds[0], type) or not issubclass(kinds[0], int | float | str | Settings):
        raise TypeError(f"{hint} is no type for a setting")
    return kinds[0], len(parts) > 1


def _checked(name: str, value: Any, hint: Any, info: SettingInfo) -> Any:
    """The value as its type; EngineError for what it may not be."""
    kind, optional = _kind(hint)
    if value is None and optional:
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise EngineError(f"{name} is {value!r}, but has to be {_expected(kind, info)}")
    if isinstance(value, str) and info.choices and value not in dict(info.choices):
        raise EngineError(f"{name} is {value!r}, but has to be {_expected(kind, info)}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        too_low = info.at_least is not None and value < info.at_least
        too_low |= info.above is not None and value <= info.above
        if too_low or (info.at_most is not None and value > info.at_most):
            raise EngineError(f"{name} is {_shown(value)}, but has to be {_expected(kind, info)}")
    return value


def _shown(number: float) -> str:
    try:
        return f"{number:g}"
    except OverflowError:  # of an int
        return "larger than any number"


def _expected(kind: type, info: SettingInfo) -> str:
    if info.choices:
        return "one of " + ", ".join(value for value, _ in info.choices)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    bounds = []
    if info.above is not None:
        bounds.append(f"above {info.above:g}")
    if info.at_least is not None:
        bounds.append(f"at least {info.at_least:g}")
    if info.at_most is not None:
        bounds.append(f"at most {info.at_most:g}")
    return " ".join([words.get(kind, kind.__name__), " and ".join(bounds)]).rstrip()


def _read(one: Setting, text: str) -> Any:
    """A setting's value from what somebody typed; what cannot be read stays a text, for `_checked` to refuse."""
    if one.optional and text.lower() in ("", "none"):
        return None
    if one.kind is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), text)
    try:
        return one.kind(text)
    except ValueError:
        return text
