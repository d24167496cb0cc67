"""How many objects of a stratum to look at before the rest may be believed, and what a clean sample says about it.

A stratum is a finite set of objects that are proposed for one class. A simple random sample of it, without replacement,
is inspected. When none of the sample is wrong, the number of wrong objects in the whole stratum is bounded from above
by the exact one-sided interval of Clopper and Pearson (Biometrika 26:404, 1934), with the hypergeometric distribution in
place of the binomial because what was inspected is not drawn again. For a large stratum that is the "rule of three"
(Hanley and Lippman-Hand, JAMA 249:1743, 1983): 3/p clean objects bound the error below p at 95 %; a small stratum needs
fewer. Probabilities are computed in whole numbers, so that no tie is decided by rounding.

What the bound does not cover: a wrong object that was looked at and taken for right.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

RISK = Fraction(1, 20)
"""Chance that a stratum with too many wrong objects shows a clean sample: confidence 95 %."""


MOST_ATTEMPTS = 20
"""At much the same objects: more than five times the first sample is then to be looked at, and pages serve better."""


def risk_of_attempt(attempt: int) -> Fraction:
    """The risk that the k-th sample (from 1) of much the same objects may take: each time half.

    Whoever draws until a sample happens to be clean would pass any stratum in the end. With risks of 1/20, 1/40, 1/80, ...
    all samples together stay below twice the first one's risk, however many are drawn; also where several people draw at the
    same time, as long as no two samples count as the same attempt.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    return RISK / 2 ** (attempt - 1)


@lru_cache(maxsize=4096)
def sample_size(size: int, max_error: float, risk: Fraction = RISK) -> int:
    """The fewest objects of a stratum of `size` that, none of them wrong, bound its share of wrong ones below
    `max_error` (0 to 1, both excluded) with confidence 1 - risk.

    At most ceil(ln(1/risk) / max_error), which is 3/p at 95 %; at most `size`.
    """
    _check(size, max_error, risk)
    too_many = _fewest_at_least(size, max_error)
    low, high = 1, min(size, math.ceil(math.log(1 / risk) / max_error) + 1)
    while low < high:
        middle = (low + high) // 2
        if _is_likely(size, too_many, middle, 0, risk):
            low = middle + 1
        else:
            high = middle
    return low


@lru_cache(maxsize=4096)
def error_bound(size: int, n: int, *, wrong: int = 0, risk: Fraction = RISK) -> float:
    """The largest share of wrong objects, 0 to 1, that a stratum of `size` may have when `wrong` of `n` sampled objects
    were wrong: with more, so few would show with a probability of at most `risk`.

    A stratum with wrong ones in its sample is not accepted; for it, this says how bad it may be.
    """
    _check(size, 0.5, risk)
    if not 0 <= wrong <= n <= size or n < 1:
        raise ValueError(f"{wrong} wrong of {n} in a stratum of {size}")
    low, high = wrong, size - n + wrong  # what was inspected and found right is not wrong
    while low < high:
        middle = (low + high + 1) // 2
        if _is_likely(size, middle, n, wrong, risk):
            low = middle
        else:
            high = middle - 1
    return low / size


def much_the_same(stratum: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> bool:
    """Whether more than half of the larger of two strata, each of different ordinals, is in both: then a sample of the one
    is another attempt at the other. So a selection that was split counts anew, and one that merely lost the patch that was
    wrong does not."""
    larger = max(len(stratum), len(other))
    if 2 * min(len(stratum), len(other)) <= larger:
        return False
    return 2 * len(np.intersect1d(stratum, other, assume_unique=True)) > larger


def draw(size: int, n: int, *, seed: int) -> npt.NDArray[np.int64]:
    """The positions, (n,) int64 within 0..size-1, of a simple random sample without replacement, in random order."""
    return np.random.default_rng(seed).choice(size, n, replace=False).astype(np.int64)


def _is_likely(size: int, n_wrong: int, n: int, seen: int, risk: Fraction) -> bool:
    """Whether at most `seen` of the `n_wrong` wrong objects are in a sample of n with a probability above the risk."""
    ways = sum(math.comb(n_wrong, k) * math.comb(size - n_wrong, n - k) for k in range(min(seen, n_wrong, n) + 1))
    return ways * risk.denominator > math.comb(size, n) * risk.numerator


def _fewest_at_least(size: int, share: float) -> int:
    """The fewest of `size` objects that are at least this share of them, compared as floats, as the bound is."""
    fewest = max(1, math.floor(share * size) - 1)
    while fewest / size < share:
        fewest += 1
    return fewest


def _check(size: int, max_error: float, risk: Fraction) -> None:
    if size < 1:
        raise ValueError("a stratum has at least one object")
    if not 0 < max_error < 1 or not 0 < risk < 1:
        raise ValueError("an error and a risk lie between 0 and 1")
