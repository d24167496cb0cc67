"""What could be accepted by a random sample, and what is to be looked at before that is likely to succeed.

All that the model calls one class is a stratum. A sample of it is good enough, and the rest need not be seen, where hardly any
of it is wrong. So what the model doubts is looked at first, which also teaches it most, until it believes the rest to be that
pure. Whether the rest truly is, only the sample says (apps/engine/sampling.py): a model that is too sure of itself costs a
sample, not a wrong label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apps.engine.sampling import MOST_ATTEMPTS, first_look, much_the_same, risk_of_attempt, sample_sizes
from apps.engine.suggest import Bytes, Flags, Ordinals, Predicted

# A stratum is sampled when it is expected to hold two fifths as many wrong ones as are allowed: of large ones a quarter of the
# samples are then clean at the first look, and seven of ten pass sooner or later. One that is too small for its sample to go on
# is sampled when it is expected to hold a quarter as many: one in two samples is then clean. Each sample of much the same
# objects that was refused asks for a purer one.
EXPECTED_SHARE = 0.4
EXPECTED_SHARE_OF_ONE_LOOK = 0.25
AFTER_REFUSAL = 0.75
# Of a smaller stratum a sample spares less than half.
LEAST_SAMPLES = 2
# Doubtful ones to look at at once: few while there are few labels, as the next ones then come from a head that knows much better; half as
# many as there are labels. A simulated person labels CoNSeP by sample in 5 % less time so (docs/learning.md, "Acceptance by sample").
FEWEST_DOUBTFUL, MOST_DOUBTFUL = 50, 200


@dataclass(frozen=True)
class Attempt:
    """A sample that was drawn before."""

    stratum: npt.NDArray[np.integer]
    """(n,) the ordinals that it was to speak for."""
    was_refused: bool
    """Whether it ended for what was wrong in it; otherwise it was accepted or left, something changed, or somebody is at it."""


@dataclass(frozen=True)
class Stratum:
    """What the model calls `class_value`, as it could be accepted by sample."""

    class_value: int
    surest_first: Ordinals
    """(n,) all unlabeled objects of it that nobody has found to be of another class."""
    n_doubtful: int
    """So many of its least sure ones are to be looked at before; 0 where a sample may be drawn now."""
    doubtful: Ordinals
    """Of these, the least sure first, as many as to look at before the model is asked again."""
    n_sample: int
    """So many of the others are then to be looked at; 0 where those are so few that a sample would spare less than half."""
    expected_error: float
    """The share of wrong ones that the model expects in all of it ..."""
    expected_error_of_doubtful: float
    """... and in `doubtful`, 0 where there are none."""


def strata_to_sample(
    predicted: Predicted,
    eligible: Flags,
    max_error: float,
    *,
    n_labels: int,
    earlier: Mapping[int, Sequence[Attempt]] | None = None,
) -> list[Stratum]:
    """The classes of which a sample would spare at least half: those that may be sampled now, the largest first, and then
    the others, the most doubtful first.

    `eligible` (n,): the unlabeled ones that nobody has found not to be what the model calls them. `max_error`: the share of
    wrong labels, 0 to 1, that a sample has to exclude. `n_labels`: all there are, those accepted
    by sample included. `earlier`: by class value, the samples before.
    """
    page_size = min(max(FEWEST_DOUBTFUL, n_labels // 2), MOST_DOUBTFUL)
    members = np.flatnonzero(eligible & (predicted.classes > 0))
    classes = predicted.classes[members]
    strata = []
    for value in np.unique(classes):
        own = members[classes == value]
        stratum = _stratum(
            int(value), own, predicted.confidence, max_error, page_size, (earlier or {}).get(int(value), ())
        )
        if stratum is not None:
            strata.append(stratum)
    return sorted(strata, key=lambda s: (-len(s.surest_first), 0.0) if not s.n_doubtful else (1, -s.expected_error))


def _stratum(
    value: int, own: Ordinals, confidence: Bytes, max_error: float, page_size: int, earlier: Sequence[Attempt]
) -> Stratum | None:
    surest_first = own[np.argsort(-confidence[own].astype(np.int16), kind="stable")]
    doubt = 1 - confidence[surest_first] / 255
    again = [attempt for attempt in earlier if much_the_same(surest_first, attempt.stratum)]
    if len(again) >= MOST_ATTEMPTS:
        return None
    risk = risk_of_attempt(1 + len(again))
    sizes = sample_sizes(len(surest_first), max_error, risk)
    if LEAST_SAMPLES * sizes[0] >= len(surest_first):
        return None
    share = EXPECTED_SHARE if len(sizes) > 1 else EXPECTED_SHARE_OF_ONE_LOOK
    believed = share * max_error * AFTER_REFUSAL ** sum(attempt.was_refused for attempt in again)
    # The mean doubt of the surest k grows with k.
    n_sure = int((np.cumsum(doubt) <= believed * np.arange(1, len(doubt) + 1)).sum())
    n_sample = first_look(n_sure, max_error, risk) if n_sure else 0
    n_doubtful = len(surest_first) - n_sure
    n_at_once = min(page_size, n_doubtful)
    return Stratum(
        class_value=value,
        surest_first=surest_first,
        n_doubtful=n_doubtful,
        doubtful=surest_first[::-1][:n_at_once],
        n_sample=n_sample if LEAST_SAMPLES * n_sample <= n_sure else 0,
        expected_error=float(doubt.mean()),
        expected_error_of_doubtful=float(doubt[::-1][:n_at_once].mean()) if n_doubtful else 0.0,
    )
