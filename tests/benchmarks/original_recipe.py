"""The original's SimCLR recipe, rebuilt from a description of its behavior: what its features are worth.

A ResNet18 from random weights whose last layers, 512-512 and 512-32, give the vector that is at once the contrastive
projection, the input of the class layer and the feature of the map. Two views through its own chain of augmentations
(`original_training.augment`: the listed operations, written with OpenCV and numpy), 32 objects a step, float32, Adam at
1e-3 with weight decay 1e-3, InfoNCE at temperature 0.07, and 10 times the cross-entropy of both views once there are
labels. Features are its output with the running statistics of batch normalization, each of length 1.

Differs from the original in two ways, both in its favor where one counts seconds: patches come from memory and not from
a file that is opened anew for each, and the chain of augmentations is about twice as fast as albumentations. Training
lasts as long as it is told to, or by the original's own schedule.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from apps.engine.nn.devices import choose_device, compute_threads, reproducible
from apps.engine.nn.patches import Patches, PatchSource, resize_patches
from tests.benchmarks.original_training import BATCH, CODE_SIZE, augment, contrastive_loss, create_network, to_images

Floats = npt.NDArray[np.float32]
ClassValues = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

CROSS_ENTROPY_WEIGHT = 10.0
# Its `unlabeled_percent`: 2 stands for twice as many objects without a label as with one, in every epoch.
UNLABELED_PER_LABELED = 2.0
# Its schedule: epochs of the first training and of each later one, and when it stops before.
FIRST_EPOCHS, LATER_EPOCHS = 100, 5
LEAST_EPOCHS = 10
EPOCHS_WITHOUT_GAIN = 10
LOW_LOSS = 0.001
EMBED_BATCH = 256  # the original's is 32; features do not depend on it, and time spent here is not compared


def train_original(
    patches: PatchSource,
    seconds: float,
    seed: int,
    *,
    size_px: int | None = None,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> Floats:
    """Features (n, 32) float32, rows of length 1, after so many seconds of training without labels.

    `size_px`: that of the patches that it sees; None: as they are. `clock` measures the seconds: beside busy neighbors, `time.process_time` says better what a quiet machine would do.
    """
    recipe = OriginalRecipe(patches, size_px=size_px, seed=seed, device=device, clock=clock)
    recipe.train(seconds)
    return recipe.embed()


class OriginalRecipe:
    """A network on its way: `train` goes on with it, with the labels that there are by then."""

    def __init__(
        self,
        patches: PatchSource,
        *,
        size_px: int | None = None,
        n_classes: int = 2,
        seed: int = 0,
        device: str = "cpu",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        own_size: Patches = patches.read(np.arange(len(patches), dtype=np.int64))
        self._patches = own_size if size_px is None else resize_patches(own_size, size_px)
        self._n_classes = n_classes
        self._clock = clock
        self._rng = np.random.default_rng(seed)
        self._device = choose_device(device)
        with reproducible(seed, self._device):
            self._network = create_network().to(self._device)
            self._classifier = torch.nn.Linear(CODE_SIZE, n_classes).to(self._device)
        parameters = [*self._network.parameters(), *self._classifier.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-3)
        self._epochs_planned = FIRST_EPOCHS

    def train(self, seconds: float, class_values: ClassValues | None = None, *, most_steps: int | None = None) -> None:
        """Train for so many seconds, or steps where that is less, and at least one step.

        `class_values` (n,) are the labels, 1 to the number of classes, 0 for none.
        """
        started = self._clock()
        steps = 0
        with compute_threads(1):
            while True:
                for _ in self._steps(class_values):
                    steps += 1
                    if self._clock() - started >= seconds or steps == most_steps:
                        return

    def train_by_its_schedule(self, class_values: ClassValues | None = None) -> int:
        """Train as the original does if nobody stops it, and keep the network of the best epoch; returns the epochs run.

        100 epochs at first, 5 each later time. Past the tenth it stops when ten have brought no gain, or when the loss is
        below 0.001; the loss it goes by is that of an epoch's last batch, however small that batch is.
        """
        epochs, self._epochs_planned = self._epochs_planned, LATER_EPOCHS
        lowest, best_epoch, best = math.inf, 0, None
        for epoch in range(1, epochs + 1):
            with compute_threads(1):
                *_, loss = self._steps(class_values)
            if float(loss) < lowest:
                lowest, best_epoch = float(loss), epoch
                best = copy.deepcopy((self._network.state_dict(), self._classifier.state_dict()))
            if lowest < LOW_LOSS or (epoch > LEAST_EPOCHS and epoch - best_epoch > EPOCHS_WITHOUT_GAIN):
                break
        if best is not None:
            self._network.load_state_dict(best[0])
            self._classifier.load_state_dict(best[1])
        return epoch

    def embed(self) -> Floats:
        """Features (n, 32) float32 of all objects, rows of length 1."""
        return functional.normalize(self._codes(), dim=1).numpy()

    def _steps(self, class_values: ClassValues | None) -> Iterator[torch.Tensor]:
        """One epoch, step by step; yields the losses."""
        targets = np.full(len(self._patches), -1) if class_values is None else class_values.astype(np.int64) - 1
        class_weights = self._class_weights(targets)
        self._network.train()
        for rows in self._batches(targets):
            yield self._step(rows, targets[rows], class_weights)

    def _batches(self, targets: Rows) -> Iterator[Rows]:
        """The batches of one epoch: every object, or each labeled one and twice as many others, drawn with return."""
        n = len(targets)
        labeled, unlabeled = np.flatnonzero(targets >= 0), np.flatnonzero(targets < 0)
        rows = self._rng.permutation(n)
        if len(labeled):
            n_others = min(int(UNLABELED_PER_LABELED * len(labeled)), n - len(labeled))
            others = self._rng.choice(unlabeled, n_others) if n_others else unlabeled
            rows = self._rng.permutation(np.concatenate([labeled, others]))
        for first in range(0, len(rows), BATCH):
            yield rows[first : first + BATCH]

    def _class_weights(self, targets: Rows) -> torch.Tensor:
        """One minus the share of the class among the labels."""
        counts = np.bincount(targets[targets >= 0], minlength=self._n_classes)
        weights = 1 - counts / max(counts.sum(), 1)
        return torch.from_numpy(weights.astype(np.float32)).to(self._device)

    def _step(self, rows: Rows, targets: Rows, class_weights: torch.Tensor) -> torch.Tensor:
        views = [augment(self._patches[row], self._rng) for row in rows for _ in range(2)]
        codes = self._network(to_images(views).to(self._device))  # (2n, 32); rows 2i and 2i + 1 are one object
        loss = contrastive_loss(codes)
        # Without a label in the batch, or with the label of one class only, whose weight is 0, the term is 0 / 0: the
        # original's loss is not a number from then on. Here the term is left out.
        if class_weights[torch.from_numpy(targets[targets >= 0])].any():
            wanted = torch.from_numpy(np.repeat(targets, 2)).to(self._device)
            loss = loss + CROSS_ENTROPY_WEIGHT * functional.cross_entropy(
                self._classifier(codes), wanted, weight=class_weights, ignore_index=-1
            )
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _codes(self) -> torch.Tensor:
        self._network.eval()
        n = len(self._patches)
        with torch.inference_mode(), compute_threads(1):
            batches = [
                self._network(to_images(list(self._patches[first : first + EMBED_BATCH])).to(self._device)).cpu()
                for first in range(0, n, EMBED_BATCH)
            ]
        return torch.cat(batches)
