"""Which model an iteration makes, or uses again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.conf import settings

from apps.engine.approaches.base import NetworkSettings, TrainingSettings
from apps.engine.errors import EngineError
from apps.engine.nn.checkpoints import has_its_weights
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device
from apps.engine.registry import APPROACHES
from apps.engine.settings import Settings
from apps.models.models import ModelVersion
from apps.models.refit import SEED
from apps.models.selectors import latest_model_version, model_folder, model_settings, still_compares
from apps.projects.models import Project
from apps.projects.selectors import chosen_approach

logger = logging.getLogger(__name__)

# So many objects may a whole training see, in so many epochs at least and at most, so that the map comes soon: many epochs over few
# objects, few over many. A core trains on some 40 to 150 objects a second: half a minute for a few hundred nuclei. A GPU, on tens of
# thousands.
FIRST_TRAINING = {"cpu": (3_000, 2, 30), "cuda": (2_000_000, 2, 100)}
# A later one starts from weights that know the project's objects, and has only new labels to learn; not by heart, however fast the
# device: on CoNSeP, 19 epochs with 1,000 labels took the predictions of all others from 0.813 balanced accuracy to 0.770. The
# simulated person of `labeling` in tests/benchmarks, with its thousands of objects, has them as short.
LATER_TRAINING = (2_000, 1, 30)


def epochs_for(n_objects: int, device_type: str, *, first: bool) -> int:
    """How many epochs a training takes where nobody chose them."""
    objects, fewest, most = FIRST_TRAINING[device_type] if first else LATER_TRAINING
    return int(np.clip(round(objects / max(n_objects, 1)), fewest, most))


@dataclass(frozen=True)
class Plan:
    """Which model an iteration makes, or uses again."""

    approach: str
    settings: Settings
    config: TrainConfig | None = None  # of the training, for an approach with a network
    version: ModelVersion | None = None  # whose weights and scale are used again; None makes a new one
    start_from: ModelVersion | None = None  # whose weights the training goes on from

    def to_json(self) -> dict[str, Any]:
        """What has to be the same for half of the work to be of use to another attempt."""
        return {
            "approach": self.approach,
            **(self.config.to_json() if self.config else {"settings": self.settings.to_json()}),
            "version": self.version.number if self.version else None,
            "start_from": self.start_from.number if self.start_from else None,
        }


def make_plan(project: Project, params: dict[str, Any], *, n_objects: int) -> Plan:
    """From the project's settings and what the job was asked for."""
    last = latest_model_version(project)
    if last is not None and not params.get("train", True) and _can_be_used_again(last, project):
        return Plan(last.approach, model_settings(last), version=last)
    if "approach_settings" in params:
        approach = APPROACHES.get(params["approach"])
        chosen = approach.settings.from_json(params["approach_settings"])
    else:
        approach, chosen = chosen_approach(project)
    if not isinstance(chosen, NetworkSettings):
        return Plan(approach.name, chosen)
    config = TrainConfig(approach=approach.name, settings=chosen, encoder_size_px=project.encoder_size_px, seed=SEED)
    start_from = next(
        (version for version in project.model_versions.order_by("-number") if _can_be_gone_on_from(version, config)),
        None,
    )
    if not isinstance(chosen, TrainingSettings):
        # What trains nothing is the same each time.
        same = (
            start_from is not None
            and start_from.settings["settings"] == chosen.to_json()
            and still_compares(start_from, project)
        )
        return Plan(approach.name, chosen, version=start_from) if same else Plan(approach.name, chosen, config)
    device = choose_device("auto")
    epochs = params.get("epochs") or chosen.epochs or epochs_for(n_objects, device.type, first=start_from is None)
    return Plan(approach.name, chosen, config=replace(config, epochs=epochs), start_from=start_from)


def _can_be_used_again(version: ModelVersion, project: Project) -> bool:
    """Whether it gives features of all of the project's objects that compare with each other, and from what it was made with."""
    if not still_compares(version, project):
        return False
    return not APPROACHES.get(version.approach).uses_network or _has_its_weights(version)


def _can_be_gone_on_from(version: ModelVersion, config: TrainConfig) -> bool:
    """A version that cannot be read, or was made by settings that are no longer possible, is passed over: a training needs none of them."""
    try:
        return _same_architecture(version, config) and _has_its_weights(version)
    except EngineError as error:
        logger.warning("Version %d of project %d is not gone on from: %s", version.number, version.project_id, error)
        return False


def _has_its_weights(version: ModelVersion) -> bool:
    """A foundation model's file may have been replaced by a newer one, or is described otherwise."""
    return has_its_weights(model_folder(version), weights_root=settings.WEIGHTS_ROOT)


def _same_architecture(version: ModelVersion, config: TrainConfig) -> bool:
    """Whether weights of an earlier version can be gone on from; a project whose approach or encoder size was changed
    begins anew."""
    if version.approach != config.approach:
        return False  # and perhaps of a package that is no longer installed
    return TrainConfig.from_json(version.settings).network_shape() == config.network_shape()
