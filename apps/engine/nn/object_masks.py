"""What the network sees of an object's surroundings: all, none, little, or all with the object's mask beside it.

Done to the pixels as they are read, before they are resized and turned: neighbors do not leak in by interpolation, and
the mask takes every turn with its patch.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from apps.engine.errors import EngineError
from apps.engine.nn.patches import Ordinals, Patches, PatchSource

# White as on a slide where nothing lies.
BACKGROUND = 255
# How much darker than white the dimmed surroundings stay, of how much they were.
DIMMED = 0.3


@runtime_checkable
class MaskSource(PatchSource, Protocol):
    """Patches with masks that hold only the one object; `apps.engine.pixels.PatchReader` is one."""

    def read_masks(self, ordinals: Ordinals, /) -> npt.NDArray[np.bool_]:
        """Masks (n, p, p) bool of the patches that `read` gives."""
        ...


class MaskedPatches:
    """A `PatchSource` whose patches show their objects as `object_mask` says: (n, p, p, 3), or 4 with "channel"."""

    def __init__(self, patches: MaskSource, object_mask: str) -> None:
        self._patches = patches
        self._object_mask = object_mask

    def __len__(self) -> int:
        return len(self._patches)

    def read(self, ordinals: Ordinals, /) -> Patches:
        """Patches (n, p, p, 3) uint8, or (n, p, p, 4), in the order asked."""
        return show_objects(self._patches.read(ordinals), self._patches.read_masks(ordinals), self._object_mask)


def with_object_mask(patches: PatchSource, object_mask: str) -> PatchSource:
    """`patches` as the network is to see them; `EngineError` where their objects' masks are needed and not there."""
    if object_mask == "none":
        return patches
    if not isinstance(patches, MaskSource):
        raise EngineError(f"object_mask is {object_mask}, but there are no masks of these objects")
    return MaskedPatches(patches, object_mask)


def show_objects(patches: Patches, masks: npt.NDArray[np.bool_], object_mask: str) -> Patches:
    """Patches (n, p, p, 3) uint8 with the pixels outside of `masks` (n, p, p) white or dimmed, or with them as channel 4."""
    if object_mask == "channel":
        return np.concatenate([patches, masks[..., None].astype(np.uint8) * np.uint8(255)], axis=3)
    shown = BACKGROUND - DIMMED * (BACKGROUND - np.arange(256)) if object_mask == "dimmed" else np.full(256, BACKGROUND)
    surroundings = np.rint(shown).astype(np.uint8)[patches]
    return np.where(masks[..., None], patches, surroundings)
