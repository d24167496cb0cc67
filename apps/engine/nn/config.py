"""The settings of a training run, kept with the weights that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from apps.engine.approaches.base import NetworkSettings
from apps.engine.errors import EngineError
from apps.engine.registry import APPROACHES

_DEFAULTS: Any = None  # replaced in `__post_init__` by the settings of the approach


@dataclass(frozen=True)
class TrainConfig:
    """What to train and how, as far as all approaches share it. The defaults suit a first map of nuclei on a CPU.

    `settings` are the approach's own; where not given, its defaults.
    """

    approach: str = "simclr"
    settings: NetworkSettings = _DEFAULTS
    encoder_size_px: int = 64  # what the network sees; patches of another size are resized
    epochs: int = 20  # of this run; what the approach's settings wish for is decided by the caller
    # Objects per step, two views of each; fewer in small projects and on CPUs (`batch_size_for`), and up to an eighth more where
    # labels come more than once in an epoch.
    batch_size: int = 256
    learning_rate: float = 1e-3  # the peak of a warm-up and cosine schedule
    warmup_fraction: float = 0.05
    weight_decay: float = 1e-2  # AdamW's, decoupled; not on biases and normalization
    # When fine-tuning: unlabeled objects drawn per labeled one in an epoch, as the original's `unlabeled_percent`.
    unlabeled_per_labeled: float = 2.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0  # on the CPU; 0 is one fewer than there are cores, see `compute_threads`
    memory_budget_bytes: int = 1 << 30  # patches are kept in memory when all of them fit in this

    def __post_init__(self) -> None:
        approach = APPROACHES.get(self.approach)
        if not approach.uses_network:
            raise EngineError(f"{self.approach} uses no network: there is nothing to train")
        if vars(self)["settings"] is _DEFAULTS:
            object.__setattr__(self, "settings", approach.settings())
        if type(self.settings) is not approach.settings:
            raise EngineError(f"{self.approach} takes {approach.settings.__name__}, not {type(self.settings).__name__}")
        for name, lowest in (("encoder_size_px", 8), ("epochs", 1), ("batch_size", 2), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise EngineError(f"{name} is {getattr(self, name)}, but has to be at least {lowest}")

    def network_shape(self) -> dict[str, Any]:
        """What weights depend on, by name: those trained with another value of one do not fit."""
        return {
            "approach": self.approach,
            "encoder_size_px": self.encoder_size_px,
            **self.settings.network_shape(),
        }

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, the approach's own under "settings"."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"settings": self.settings.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The settings from `to_json`; a name that this version does not know is left out."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        own: Any = APPROACHES.get(known.get("approach", cls.approach)).settings.from_json(known.pop("settings", {}))
        return cls(settings=own, **known)
