"""The original's training (SimCLR), rebuilt from a description of its behavior: what one step costs, not how well it learns.

Per object: open the HDF5 file, read four rows, close; two views through a chain of single-image operations; 32 objects a
step, float32, Adam, a ResNet18 whose last layers are 512-512 and 512-32, InfoNCE at temperature 0.07. The loader runs in
the training process (numworkers=0). The chain's operations, their ranges and probabilities are those listed for the
original; they are written with OpenCV and numpy here, because albumentations is no dependency of ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tables
import torch
import torchvision
from torch import nn
from torch.nn import functional

Image = npt.NDArray[Any]  # uint8; OpenCV says of its answers only that they are arrays
BATCH = 32
CODE_SIZE = 32
TEMPERATURE = 0.07
# What the original's own chain was measured to do on one core of an AMD EPYC (Zen 4).
DOCUMENTED_VIEWS_PER_S = 844.0


@dataclass(frozen=True)
class Spent:
    """Seconds of a run by what they went into."""

    objects: int
    reading: float
    augmenting: float
    computing: float

    @property
    def seconds(self) -> float:
        return self.reading + self.augmenting + self.computing

    @property
    def objects_per_second(self) -> float:
        return self.objects / self.seconds

    @property
    def views_per_second(self) -> float:
        """Of the augmentation alone."""
        return 2 * self.objects / self.augmenting

    def objects_per_second_at(self, views_per_second: float) -> float:
        """What the rate would be if the augmentation ran at this many views per second."""
        return self.objects / (self.seconds - self.augmenting + 2 * self.objects / views_per_second)


class OriginalTraining:
    """A network on its way; `run` goes on with it, so that a first short run can warm everything up."""

    def __init__(self, file: Path, n_objects: int, device: torch.device, *, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        self._file = file
        self._n_objects = n_objects
        self._device = device
        self._network = create_network().to(device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=1e-3, weight_decay=1e-3)

    def run(self, steps: int) -> Spent:
        """Train on `steps` batches of random objects."""
        self._network.train()
        reading = augmenting = computing = 0.0
        for rows in self._batches(steps):
            views = []
            for row in rows:
                started = time.perf_counter()
                patch = self._read(row)
                read = time.perf_counter()
                views += [augment(patch, self._rng), augment(patch, self._rng)]
                reading += read - started
                augmenting += time.perf_counter() - read
            started = time.perf_counter()
            self._step(views)
            computing += time.perf_counter() - started
        return Spent(steps * BATCH, reading, augmenting, computing)

    def _batches(self, steps: int) -> Iterator[list[int]]:
        for _ in range(steps):
            yield self._rng.choice(self._n_objects, BATCH, replace=False).tolist()

    def _read(self, row: int) -> Image:
        with tables.open_file(str(self._file)) as file:
            patch: Image = file.root.patch[row]
            _ = file.root.mask[row], file.root.ground_truth_label[row], file.root.imgID[row]
        return patch

    def _step(self, views: list[Image]) -> None:
        loss = contrastive_loss(self._network(to_images(views).to(self._device)))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        loss.item()


def create_network() -> nn.Module:
    """Images (n, 3, p, p) to codes (n, 32): a ResNet18 from random weights."""
    network: nn.Module = torchvision.models.resnet18(weights=None)
    network.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CODE_SIZE))
    return network


def to_images(views: list[Image]) -> torch.Tensor:
    """Images (n, p, p, 3) uint8 as (n, 3, p, p) float32, torchvision's way: channels first, a fraction of 255."""
    return torch.stack([torch.from_numpy(view.transpose(2, 0, 1).copy()).float() / 255 for view in views])


def contrastive_loss(codes: torch.Tensor) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018) of codes (2n, d), where rows 2i and 2i + 1 are views of one object."""
    codes = functional.normalize(codes, dim=1)
    similarity = (codes @ codes.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    partner = torch.arange(len(codes), device=codes.device) ^ 1
    return functional.cross_entropy(similarity, partner)


def augment(patch: Image, rng: np.random.Generator) -> Image:
    """One view (p, p, 3) of a patch (p, p, 3), both uint8 RGB, by the original's operations in the original's order."""
    size = patch.shape[0]
    image = patch
    if rng.random() < 0.9:
        scaled = round(size * rng.uniform(0.9, 1.1))
        image = cv2.resize(image, (scaled, scaled), interpolation=cv2.INTER_LINEAR)
    image = _pad(image, size)
    if rng.random() < 0.5:
        image = cv2.flip(image, 0)
    if rng.random() < 0.5:
        image = cv2.flip(image, 1)
    if rng.random() < 0.5:
        width = int(rng.choice((3, 5, 7)))
        image = cv2.blur(image, (width, width))
    if rng.random() < 0.25:
        image = _downscale(image, rng.uniform(0.64, 0.99))
    if rng.random() < 0.5:
        deviation = np.sqrt(rng.uniform(10, 50))
        image = _to_bytes(image + rng.normal(0, deviation, image.shape).astype(np.float32))
    if rng.random() < 0.5:
        image = _distort(image, rng)
    if rng.random() < 0.5:
        image = _camera_noise(image, rng)
    if rng.random() < 0.5:
        image = cv2.LUT(image, _to_bytes(LEVELS + 255 * rng.uniform(-0.2, 0.2)))
    if rng.random() < 0.5:
        image = cv2.LUT(image, _to_bytes(LEVELS * (1 + rng.uniform(-0.2, 0.2))))
    if rng.random() < 0.5:
        image = cv2.LUT(image, _to_bytes((LEVELS / 255) ** rng.uniform(0.8, 1.2) * 255))
    if rng.random() < 0.5:
        image = _to_bytes(image * rng.uniform(0.9, 1.1, image.shape).astype(np.float32))
    if rng.random() < 0.9:
        image = _shift_hue(image, rng)
    turn = cv2.getRotationMatrix2D((image.shape[1] / 2 - 0.5, image.shape[0] / 2 - 0.5), rng.uniform(-90, 90), 1.0)
    image = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
    top, left = (int(rng.integers(0, side - size + 1)) for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + size, left : left + size])


LEVELS = np.arange(256, dtype=np.float32)


def _to_bytes(values: npt.NDArray[Any]) -> Image:
    clipped: Image = np.clip(values, 0, 255).astype(np.uint8)
    return clipped


def _pad(image: Image, size: int) -> Image:
    missing = [max(0, size - side) for side in image.shape[:2]]
    if not any(missing):
        return image
    top, left = missing[0] // 2, missing[1] // 2
    return cv2.copyMakeBorder(image, top, missing[0] - top, left, missing[1] - left, cv2.BORDER_REFLECT_101)


def _downscale(image: Image, factor: float) -> Image:
    height, width = image.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(
        cv2.resize(image, small, interpolation=cv2.INTER_NEAREST), (width, height), interpolation=cv2.INTER_NEAREST
    )


def _distort(image: Image, rng: np.random.Generator, steps: int = 5) -> Image:
    """Grid distortion: each of the steps along an axis is stretched or shrunk by up to 30 %."""
    axes = []
    for side in (image.shape[1], image.shape[0]):
        corners = np.concatenate([[0.0], np.cumsum(rng.uniform(0.7, 1.3, steps))]) * side / steps
        axes.append(np.interp(np.arange(side), np.arange(steps + 1) * side / steps, corners).astype(np.float32))
    x, y = np.meshgrid(*axes)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _camera_noise(image: Image, rng: np.random.Generator) -> Image:
    """A sensor's: Poisson noise on the lightness, a shift of the hue, both in HLS."""
    hls = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HLS)
    strength, shift = rng.uniform(0.1, 0.5), rng.uniform(0.01, 0.05)
    deviation = float(hls[..., 1].std())
    grain = rng.poisson(deviation * strength * 255, hls.shape[:2]).astype(np.float32)
    hls[..., 0] = (hls[..., 0] + rng.normal(0, shift * 360 * strength, hls.shape[:2])) % 360
    hls[..., 1] += grain / 255 * (1 - hls[..., 1])
    return _to_bytes(cv2.cvtColor(hls, cv2.COLOR_HLS2RGB) * 255)


def _shift_hue(image: Image, rng: np.random.Generator) -> Image:
    """Hue by up to 20 of 180, saturation and value by up to 10 of 255."""
    hue, saturation, value = rng.uniform((-20, -10, -10), (20, 10, 10))
    tables_by_channel = np.stack([(LEVELS + hue) % 180, LEVELS + saturation, LEVELS + value], axis=1)
    shifted = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), _to_bytes(tables_by_channel)[None])
    return cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB)
