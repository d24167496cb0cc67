"""How long a simulated person takes for what, and how often something is overlooked. Nothing here knows a strategy.

Gestures take the times of the keystroke-level model; looking takes the times that the paper's own figures imply. One
patch after the other goes at the paper's speed of quick review. All of it was fixed before any strategy was measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Annotator:
    """Seconds of a person's elementary acts.

    Gestures: Card, Moran and Newell, "The keystroke-level model for user performance time with interactive systems",
    Comm. ACM 23:396 (1980).
    """

    key_s: float = 0.28  # K, an average skilled typist
    click_s: float = 0.2  # K of a mouse button, down and up
    point_s: float = 1.1  # P, Fitts's law averaged
    home_s: float = 0.4  # H, a hand from keyboard to mouse or back
    mental_s: float = 1.35  # M, preparing for an act
    # Share of the odd ones on a page that are taken for what the rest is. Stated, not measured: with 3 to 14 % of
    # discordance in the paper, of which an unknown part is the ambiguity of the objects themselves.
    overlooked: float = 0.1

    @property
    def lasso_s(self) -> float:
        """Choose a region, take the mouse, and draw round it: to its edge and by three more points back to there."""
        return self.mental_s + self.home_s + 4 * self.point_s + self.click_s

    @property
    def mark_s(self) -> float:
        """Pick one patch on the page, which has been looked at already."""
        return self.point_s + self.click_s

    @property
    def drag_s(self) -> float:
        """Draw a rectangle round patches that lie side by side: to its one corner and to its other."""
        return 2 * self.point_s + self.click_s


@dataclass(frozen=True)
class UseCase:
    """What looking at one kind of object takes."""

    name: str
    quick_review_per_s: float
    """LPS_M, labels per second of one patch after the other (Walker et al. 2024, Table 1: counts in 900 s)."""
    look_s: float
    """Per patch of a page that is looked over, from the paper's best 15 minutes (nuclei 9.6, tubules .95, glomeruli 1.15
    labels a second, gestures taken off)."""

    @property
    def decide_s(self) -> float:
        """One patch by itself, decided and labeled, as in quick review."""
        return 1 / self.quick_review_per_s


NUCLEI = UseCase("nuclei", quick_review_per_s=0.43, look_s=0.08)
TUBULES = UseCase("tubules", quick_review_per_s=0.2178, look_s=0.95)
GLOMERULI = UseCase("glomeruli", quick_review_per_s=0.159, look_s=0.75)
