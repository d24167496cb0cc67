"""How many objects of a stratum to look at before the rest may be believed, and what a sample says about it.

A stratum is a finite set of objects that are proposed for one class. A simple random sample of it, without replacement,
is inspected. When none of the sample is wrong, the number of wrong objects in the whole stratum is bounded from above
by the exact one-sided interval of Clopper and Pearson (Biometrika 26:404, 1934), with the hypergeometric distribution in
place of the binomial because what was inspected is not drawn again. For a large stratum that is the "rule of three"
(Hanley and Lippman-Hand, JAMA 249:1743, 1983): 3/p clean objects bound the error below p at 95 %; a small stratum needs
fewer.

Where some of the sample are wrong, the stratum may still be as good as is wanted: the sample goes on, and each wrong one asks
for as many more as the one before. That is the line on which Wald's sequential test accepts (Ann. Math. Stat. 16:117, 1945),
here as steep as the exact chance to accept too many wrong ones by any of its looks asks for.

What the bound does not cover: a wrong object that was looked at and taken for right.
"""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

RISK = Fraction(1, 20)
"""Chance that a stratum with too many wrong objects is accepted by a sample: confidence 95 %."""
FIRST_LOOK = Fraction(2, 3)
"""The share of a sample's risk that its first look takes, at which nothing may be wrong: 3.4/p objects instead of 3/p. The rest
is for going on. Where a stratum is too small to go on, the first look takes all of it."""
MOST_WRONG = 8
"""The most wrong ones that a sample may have: it is then more than six times as large as its first look."""
MOST_ATTEMPTS = 20
"""At much the same objects: some five times the first sample is then to be looked at, and pages serve better."""


def risk_of_attempt(attempt: int) -> Fraction:
    """The risk that the k-th sample (from 1) of much the same objects may take: each time half.

    Whoever draws until a sample happens to be good enough would pass any stratum in the end. With risks of 1/20, 1/40, 1/80, ...
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
        if _is_above(_chance_to_pass((middle,), size, too_many), risk):
            low = middle + 1
        else:
            high = middle
    return low


@lru_cache(maxsize=4096)
def sample_sizes(size: int, max_error: float, risk: Fraction = RISK) -> tuple[int, ...]:
    """How many objects of a stratum of `size` to look at if none of them is wrong, if one is, if two are, ...: as many wrong
    ones among so many still bound the share in the stratum below `max_error` with confidence 1 - risk, whichever of the looks
    it is that one stops at.

    (k,), ascending by equal steps. It ends where more than half of the stratum or more than `MOST_WRONG` wrong ones would be
    seen.
    """
    first = sample_size(size, max_error, FIRST_LOOK * risk)
    too_many = _fewest_at_least(size, max_error)
    low, high = 1, size  # one step of `size` leaves the first look alone
    while low < high:
        step = (low + high) // 2
        if _is_above(_chance_to_pass(_looks(first, step, size), size, too_many), risk):
            low = step + 1
        else:
            high = step
    looks = _looks(first, low, size)
    return looks if len(looks) > 1 else (sample_size(size, max_error, risk),)


def first_look(size: int, max_error: float, risk: Fraction = RISK) -> int:
    """How many objects of a stratum of `size` a sample shows first."""
    return sample_sizes(size, max_error, risk)[0]


def longest_first_look(max_error: float) -> int:
    """The most objects that the first sample of any stratum shows first: ceil(ln(risk) / ln(1 - max_error)) with the first
    look's share of the risk, as where what was inspected could be drawn again."""
    _check(1, max_error, RISK)
    return math.ceil(math.log(FIRST_LOOK * RISK) / math.log1p(-max_error))


def _looks(first: int, step: int, size: int) -> tuple[int, ...]:
    further = range(first + step, min(first + MOST_WRONG * step, size // 2) + 1, step)
    return (first, *further)


def _chance_to_pass(looks: tuple[int, ...], size: int, n_wrong: int) -> float:
    """The chance that after so many drawn of `size` objects as one of the looks asks for, not more of the `n_wrong` wrong ones
    have been seen than its place, from 0, among them."""
    going_on = {0: 1.0}  # wrong ones seen: the chance to have seen so many and not to have passed
    seen, passed = 0, 0.0
    for allowed, n in enumerate(looks):
        then: dict[int, float] = defaultdict(float)
        for wrong, chance in going_on.items():
            for more in range(min(n - seen, n_wrong - wrong, len(looks) - 1 - wrong) + 1):
                then[wrong + more] += chance * _hypergeometric(size - seen, n_wrong - wrong, n - seen, more)
        passed += sum(chance for wrong, chance in then.items() if wrong <= allowed)
        going_on = {wrong: chance for wrong, chance in then.items() if wrong > allowed}
        seen = n
    return passed


def _hypergeometric(size: int, n_wrong: int, n: int, k: int) -> float:
    """The chance that k of the n drawn of `size` objects are among the `n_wrong`."""
    if k > min(n, n_wrong) or n - k > size - n_wrong:
        return 0.0
    return math.exp(_log_ways(n_wrong, k) + _log_ways(size - n_wrong, n - k) - _log_ways(size, n))


def _log_ways(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


@lru_cache(maxsize=4096)
def error_bound(size: int, looks: tuple[int, ...], risk: Fraction = RISK) -> float:
    """The largest share of wrong objects, 0 to 1, that a stratum of `size` may have when its sample was good enough at the last
    of `looks`: with more, it would be so at one of them with a probability of at most `risk`.

    `looks` (k,), ascending: after so many objects not more were wrong than the look's place, from 0. Whichever look a sample
    stops at, the bound is missed at most at the risk, as looks are ordered by when they come (stagewise: Tsiatis, Rosner and
    Mehta, Biometrics 40:797, 1984). What was found wrong is among the share: of the others, it may be smaller.
    """
    _check(size, 0.5, risk)
    if not looks or not 1 <= looks[0] <= looks[-1] <= size or sorted(looks) != list(looks):
        raise ValueError(f"looks at {looks} of {size} objects")
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        if _is_above(_chance_to_pass(looks, size, middle), risk):
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
    """The positions, (n,) int64 within 0..size-1, of a simple random sample without replacement, in random order. A larger
    one with the same seed begins with the smaller one."""
    return np.random.default_rng(seed).permutation(size)[:n].astype(np.int64)


def _is_above(chance: float, risk: Fraction) -> bool:
    """Chances of a million objects are right to 1e-8 of themselves: what is as near is equal."""
    return chance > float(risk) * (1 + 1e-7)


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
