"""The settings of a training run, kept with the weights that it makes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from apps.engine.errors import EngineError


@dataclass(frozen=True)
class TrainConfig:
    """What to train and how. The defaults suit a first map of nuclei on a CPU."""

    approach: str = "simclr"
    backbone: str = "resnet18"
    encoder_size_px: int = 64  # what the network sees; patches of another size are resized
    epochs: int = 20
    # Objects per step, two views of each. An upper bound: small projects and CPUs take less, see `batch_size_for`.
    batch_size: int = 256
    learning_rate: float = 1e-3  # the peak of a warm-up and cosine schedule
    warmup_fraction: float = 0.05
    weight_decay: float = 1e-2  # AdamW's, decoupled; not on biases and normalization
    temperature: float = 0.1
    projection_dim: int = 128
    cross_entropy_weight: float = 1.0  # of the classification loss, once two classes have labels
    # When fine-tuning: unlabeled objects drawn per labeled one in an epoch, as the original's `unlabeled_percent`.
    unlabeled_per_labeled: float = 2.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0  # on the CPU; 0 is one fewer than there are cores, see `compute_threads`
    memory_budget_bytes: int = 1 << 30  # patches are kept in memory when all of them fit in this

    def __post_init__(self) -> None:
        for name, lowest in (("encoder_size_px", 8), ("epochs", 1), ("batch_size", 2), ("projection_dim", 1)):
            if getattr(self, name) < lowest:
                raise EngineError(f"{name} is {getattr(self, name)}, but has to be at least {lowest}")
        if not self.temperature > 0:
            raise EngineError(f"temperature is {self.temperature}, but has to be above 0")

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The settings from `to_json`; a name that this version does not know is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
