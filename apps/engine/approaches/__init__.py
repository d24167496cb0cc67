"""The approaches: one file each with its settings and what the registry shows of it.

What needs torch is in the file of the same name in `apps.engine.nn.approaches`.
"""

from apps.engine.approaches.autoencoder import AUTOENCODER
from apps.engine.approaches.barlow_twins import BARLOW_TWINS
from apps.engine.approaches.base import Approach
from apps.engine.approaches.frozen import FROZEN
from apps.engine.approaches.instant import INSTANT
from apps.engine.approaches.simclr import SIMCLR

BUILT_IN: tuple[Approach, ...] = (SIMCLR, BARLOW_TWINS, AUTOENCODER, FROZEN, INSTANT)
