"""What could be accepted by a random sample, and what is to be looked at before that is likely to succeed.

All that the model calls one class is a stratum. A sample of it is clean, and the rest need not be seen, where hardly any of
it is wrong. So what the model doubts is looked at first, which also teaches it most, until it believes the rest to be that
pure. Whether the rest truly is, only the sample says (apps/engine/sampling.py): a model that is too sure of itself costs a
sample, not a wrong label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apps.engine.sampling import much_the_same, risk_of_attempt, sample_size
from apps.engine.suggest import Flags, Ordinals, Predicted

# A stratum is sampled when it is expected to hold a quarter as many wrong ones as are allowed: a sample of 3/p is then clean
# in one of two cases. Each sample that was not asks for more.
EXPECTED_SHARE = 0.25
AFTER_REFUSAL = 0.75
# Of a smaller stratum a sample spares less than half.
LEAST_SAMPLES = 2
# Fewer at once than of those that are only confirmed, so that the next ones come from a head that knows better: of 100, 150,
# 200 and 300 the best in the simulated labeling (tests/benchmarks/labeling.py).
DOUBTFUL_PAGE = 200


@dataclass(frozen=True)
class Stratum:
    """What the model calls `class_value`, as it could be accepted by sample."""

    class_value: int
    surest_first: Ordinals
    """(n,) all unlabeled objects of it."""
    n_doubtful: int
    """So many of its least sure ones are to be looked at before; 0 where a sample may be drawn now."""
    n_sample: int
    """So many of the others are then to be looked at; 0 where all are doubtful."""
    expected_error: float
    """The share of wrong ones that the model expects in all of it."""

    @property
    def doubtful(self) -> Ordinals:
        """The least sure ones, the least sure first, as many as to look at at once."""
        return self.surest_first[::-1][: min(DOUBTFUL_PAGE, self.n_doubtful)]


def strata_to_sample(
    predicted: Predicted,
    unlabeled: Flags,
    max_error: float,
    *,
    tried: Mapping[int, Sequence[npt.NDArray[np.integer]]] | None = None,
) -> list[Stratum]:
    """The classes of which a sample would spare at least half: those that may be sampled now, the largest first, and then
    the others, the most doubtful first.

    `max_error`: the share of wrong labels, 0 to 1, that a sample has to exclude. `tried`: by class value, what was sampled
    for it before without success, each an array of ordinals: such a class has to be surer, and where it is much the same
    objects the sample is larger.
    """
    members = np.flatnonzero(unlabeled & (predicted.classes > 0))
    classes = predicted.classes[members]
    strata = []
    for value in np.unique(classes):
        own = members[classes == value]
        surest_first = own[np.argsort(-predicted.confidence[own].astype(np.int16), kind="stable")]
        doubt = 1 - predicted.confidence[surest_first] / 255
        stratum = _stratum(int(value), surest_first, doubt, max_error, (tried or {}).get(int(value), ()))
        if stratum is not None:
            strata.append(stratum)
    return sorted(strata, key=lambda s: (-len(s.surest_first), 0.0) if not s.n_doubtful else (1, -s.expected_error))


def _stratum(
    value: int,
    surest_first: Ordinals,
    doubt: npt.NDArray[np.float64],
    max_error: float,
    tried: Sequence[npt.NDArray[np.integer]],
) -> Stratum | None:
    risk = risk_of_attempt(1 + sum(much_the_same(surest_first, other) for other in tried))
    if LEAST_SAMPLES * sample_size(len(surest_first), max_error, risk) >= len(surest_first):
        return None
    believed = EXPECTED_SHARE * max_error * AFTER_REFUSAL ** len(tried)
    # The mean doubt of the surest k grows with k.
    n_sure = int((np.cumsum(doubt) <= believed * np.arange(1, len(doubt) + 1)).sum())
    n_sample = sample_size(n_sure, max_error, risk) if n_sure else 0
    return Stratum(value, surest_first, len(surest_first) - n_sure, n_sample, float(doubt.mean()))
