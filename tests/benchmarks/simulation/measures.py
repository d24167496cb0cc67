"""What is said of a finished session: concordance, labels per second, theta (Walker et al. 2024), and the curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.report import significant
from tests.benchmarks.simulation.session import Session

Floats = npt.NDArray[np.float64]

BIN_S = 300.0
WINDOW_BINS = 3  # 15 minutes, at every fifth


def measure(session: Session) -> dict[str, Any]:
    """The figures of one strategy. theta is labels per second over those of quick review, LPS / LPS_M.

    Windows are of the person's own time from the session's start; no bin is dropped, and a page's labels are spread over
    the time that the page took, not counted at its end.
    """
    n = int((session.labels > 0).sum())
    right = session.labels == session.truth
    quick = session.use_case.quick_review_per_s
    windows = windows_of(session)
    unseen = session.sampled
    # How far the order of strategies hangs on cheap exceptions: if every odd one were pondered as long as in quick review.
    pondered_s = max(0.0, session.use_case.decide_s - session.annotator.mark_s)
    deliberate_s = session.human_s + session.n_picked * pondered_s
    spared_s = session.spared_by_dragging_s
    return {
        "labels": n,
        "concordance": significant(float(right[session.labels > 0].mean())),
        "balanced_concordance": significant(
            float(np.mean([right[session.truth == value].mean() for value in np.unique(session.truth)]))
        ),
        "unseen": int(unseen.sum()),
        **({"unseen_error": significant(float(1 - right[unseen].mean()))} if unseen.any() else {}),
        "human_s": round(session.human_s, 1),
        "total_s": round(session.total_s, 1),
        "theta_human": significant(n / session.human_s / quick),
        "theta_total": significant(n / session.total_s / quick),
        "theta_human_if_odd_ones_are_dragged_over": significant(n / (session.human_s - spared_s) / quick),
        "theta_total_if_odd_ones_are_dragged_over": significant(n / (session.total_s - spared_s) / quick),
        "theta_human_if_odd_ones_take_a_quick_review_each": significant(n / deliberate_s / quick),
        "lps_windows": [significant(float(rate)) for rate in windows],
        "lps_window_low": significant(float(windows.min())),
        "lps_window_high": significant(float(windows.max())),
    }


def measure_all(sessions: Sequence[Session]) -> dict[str, Any]:
    """The figures of one strategy in several sessions of one world, which differ by what was overlooked and what was drawn: theta
    of all their labels over all their time, and the mean of their concordances."""
    each = [measure(session) for session in sessions]
    quick = sessions[0].use_case.quick_review_per_s
    n = sum(one["labels"] for one in each)
    return {
        "human_s": [one["human_s"] for one in each],
        "total_s": [one["total_s"] for one in each],
        "concordances": [one["concordance"] for one in each],
        "concordance": significant(float(np.mean([one["concordance"] for one in each]))),
        "theta_human": significant(n / sum(session.human_s for session in sessions) / quick),
        "theta_total": significant(n / sum(session.total_s for session in sessions) / quick),
    }


def windows_of(session: Session) -> Floats:
    """Labels per second in each whole window of 15 minutes, one every 5; of a shorter session, its mean."""
    edges = np.arange(0, session.human_s, BIN_S)
    if len(edges) <= WINDOW_BINS:
        return np.array([(session.labels > 0).sum() / session.human_s])
    done = _cumulated(session, edges)
    return (done[WINDOW_BINS:] - done[:-WINDOW_BINS]) / (WINDOW_BINS * BIN_S)


def bins_of(session: Session) -> tuple[Floats, Floats]:
    """The curve of the paper's figure 2: minutes (b,) at which 5-minute bins of human time start, and the labels per
    second in each; the last bin is as long as it is."""
    edges = np.append(np.arange(0, session.human_s, BIN_S), session.human_s)
    done = _cumulated(session, edges)
    return edges[:-1] / 60, np.diff(done) / np.maximum(np.diff(edges), 1e-9)


def _cumulated(session: Session, at_s: Floats) -> Floats:
    ends = np.array([0.0, *(span.human_end_s for span in session.spans)])
    done = np.cumsum([0, *(span.n_labeled for span in session.spans)])
    return np.interp(at_s, ends, done)
