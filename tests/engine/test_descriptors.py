"""What is measured of an object without learning, and how it joins what a network sees."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine import descriptors
from apps.engine.approaches.instant import INSTANT
from apps.engine.descriptors import GROUPS, LARGEST_SIZE_PX, N_DESCRIPTORS, describe_objects
from apps.engine.embedding import embed_objects
from apps.engine.errors import EngineError, Stopped
from apps.engine.features import N_COMPONENTS, SPACE_NAME, FeatureSpace, Part


class Drawn:
    """Objects drawn into patches: `paint` gets the grid of a context and returns its pixels and the object's mask."""

    def __init__(self, contexts: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]) -> None:
        self.contexts, self.masks = contexts, masks
        self.patch_size_px = masks.shape[1]

    def __len__(self) -> int:
        return len(self.masks)

    def read(
        self, ordinals: npt.NDArray[np.int64], /, *, size_px: int | None = None, patch_size_px: int | None = None
    ) -> npt.NDArray[np.uint8]:
        assert patch_size_px == 2 * self.patch_size_px
        assert size_px == 2 * min(self.patch_size_px, LARGEST_SIZE_PX)
        step = self.contexts.shape[1] // size_px
        return np.ascontiguousarray(self.contexts[ordinals][:, ::step, ::step])

    def read_masks(self, ordinals: npt.NDArray[np.int64], /) -> npt.NDArray[np.bool_]:
        return self.masks[ordinals]


def disk(size: int, radius: float) -> npt.NDArray[np.bool_]:
    middle = (size - 1) / 2
    y, x = np.mgrid[:size, :size]
    return np.asarray((y - middle) ** 2 + (x - middle) ** 2 <= radius**2)


def noisy_objects(n: int, size: int = 32, seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    contexts = rng.integers(0, 256, (n, 2 * size, 2 * size, 3), np.uint8)
    masks = np.stack([disk(size, rng.uniform(4, size / 2)) for _ in range(n)])
    masks[:, : size // 3, : size // 2] = False  # so that no turn looks like another
    return Drawn(contexts, masks)


def group(described: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    first = sum(list(GROUPS.values())[: list(GROUPS).index(name)])
    return described[:, first : first + GROUPS[name]]


def test_an_object_turned_or_mirrored_is_described_alike() -> None:
    drawn = noisy_objects(5)
    upright = describe_objects(drawn)
    turned = describe_objects(Drawn(np.rot90(drawn.contexts, axes=(1, 2)), np.rot90(drawn.masks, axes=(1, 2))))
    mirrored = describe_objects(Drawn(drawn.contexts[:, :, ::-1], drawn.masks[:, :, ::-1]))
    # The outline's reach is taken in 32 directions, whose borders a turn moves by rounding.
    steady = np.ones(N_DESCRIPTORS, bool)
    start = sum(list(GROUPS.values())[: list(GROUPS).index("outline")])
    steady[start : start + GROUPS["outline"]] = False
    np.testing.assert_allclose(turned[:, steady], upright[:, steady], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(mirrored[:, steady], upright[:, steady], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(turned[:, ~steady], upright[:, ~steady], atol=0.02)


def test_color_of_object_rim_and_rings_are_those_that_were_painted() -> None:
    size = 32
    context = np.full((1, 2 * size, 2 * size, 3), 200, np.uint8)
    mask = disk(size, 8)[None]
    context[0, 16:48, 16:48][mask[0]] = (100, 50, 150)
    described = describe_objects(Drawn(context, mask))
    density = -np.log((np.array([100, 50, 150]) + 1) / 256)
    around = -np.log(201 / 256)
    np.testing.assert_allclose(group(described, "object color")[0, :3], density, rtol=1e-5)
    np.testing.assert_allclose(group(described, "object color")[0, 3:6], 0, atol=1e-3)  # of one color
    np.testing.assert_allclose(group(described, "object color")[0, 6:15], np.tile(density, 3), rtol=1e-5)
    np.testing.assert_allclose(group(described, "rim color")[0, :3], around, rtol=1e-5)
    np.testing.assert_allclose(group(described, "rim color")[0, 6:], density - around, rtol=1e-4)
    rings = group(described, "rings").reshape(6, 6)
    np.testing.assert_allclose(rings[0, :3], density, rtol=1e-5)
    np.testing.assert_allclose(rings[5, :3], around, rtol=1e-5)


def test_deciles_are_numpys() -> None:
    drawn = noisy_objects(1, size=64)
    values = drawn.contexts[0, 32:96, 32:96][drawn.masks[0]].astype(float)
    described = group(describe_objects(drawn), "object color")[0, 6:15].reshape(3, 3)
    wanted = -np.log((np.quantile(values, [0.1, 0.5, 0.9], axis=0) + 1) / 256)
    np.testing.assert_allclose(described, wanted, atol=0.05)


def test_shape_tells_a_disk_from_an_ellipse_and_knows_its_area() -> None:
    size = 64
    y, x = np.mgrid[:size, :size] - 31.5
    ellipse = (y / 8) ** 2 + (x / 24) ** 2 <= 1
    masks = np.stack([disk(size, 20), ellipse])
    shape = group(describe_objects(Drawn(np.zeros((2, 128, 128, 3), np.uint8), masks)), "shape")
    np.testing.assert_allclose(np.exp(shape[:, 0]), masks.sum(axis=(1, 2)), rtol=1e-5)
    assert shape[0, 3] == pytest.approx(1, abs=0.01)
    assert shape[1, 3] == pytest.approx(8 / 24, abs=0.02)
    np.testing.assert_allclose(shape[:, 5], 1, atol=0.02)  # both fill their ellipse
    assert shape[0, 4] > 0.85 > shape[1, 4]  # roundness
    outline = group(describe_objects(Drawn(np.zeros((2, 128, 128, 3), np.uint8), masks)), "outline")
    assert outline[1, 1] > 10 * outline[0, 1]  # the second harmonic is the ellipse's


def test_texture_tells_flat_from_rough() -> None:
    flat = noisy_objects(1)
    flat.contexts[:] = 128
    rough = noisy_objects(1)
    assert (
        group(describe_objects(rough), "texture")[0, [0, 1, 5, 6]]
        > group(describe_objects(flat), "texture")[0, [0, 1, 5, 6]]
    ).all()


@pytest.mark.parametrize(("name", "of_object", "n_distances"), [("patterns", True, 2), ("patch patterns", False, 3)])
def test_patterns_are_counted_as_by_hand(name: str, of_object: bool, n_distances: int) -> None:
    """Ojala et al. 2002, eq. 10, on the grid: how many of eight neighbors are brighter, where that changes at most twice
    around the pixel; beyond the edge, the edge's pixels stand."""
    drawn = noisy_objects(2, size=16)
    described = group(describe_objects(drawn), name)
    around = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    for context, mask, row in zip(drawn.contexts, drawn.masks, described, strict=True):
        gray = -np.log((context[8:24, 8:24].astype(np.float32) + 1) / 256).mean(axis=2)
        for doubled in range(n_distances):
            counts = np.zeros(10)
            for y, x in zip(*np.nonzero(mask | (not of_object)), strict=True):
                places = [np.clip((y + (dy << doubled), x + (dx << doubled)), 0, 15) for dy, dx in around]
                brighter = [gray[at[0], at[1]] > gray[y, x] + 0.01 for at in places]
                changes = sum(one != other for one, other in zip(brighter, np.roll(brighter, 1), strict=True))
                counts[sum(brighter) if changes <= 2 else 9] += 1
            assert row[10 * doubled :][:10] == pytest.approx(np.sqrt(counts / counts.sum()), abs=1e-6)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_every_number_is_finite_at_every_size_and_without_a_mask(size: int) -> None:
    drawn = noisy_objects(3, size=size)
    drawn.masks[0] = False
    drawn.masks[1] = True
    drawn.contexts[2] = 255
    described = describe_objects(drawn)
    assert described.shape == (3, N_DESCRIPTORS)
    assert np.isfinite(described).all()


def test_threads_measure_what_one_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = noisy_objects(40)
    monkeypatch.setattr(descriptors, "BATCH_SIZE", 8)

    def measured_by(n_threads: int) -> npt.NDArray[np.float32]:
        monkeypatch.setattr(descriptors, "usable_cores", lambda: n_threads)
        return describe_objects(drawn)

    np.testing.assert_array_equal(measured_by(3), measured_by(1))


def test_describing_can_be_stopped() -> None:
    with pytest.raises(Stopped):
        describe_objects(noisy_objects(2), should_stop=lambda: True)


def test_instant_features_are_unit_vectors_of_standardized_descriptors(tmp_path: Path) -> None:
    drawn = noisy_objects(50)
    features = embed_objects("instant", INSTANT.settings(), tmp_path / "model", drawn)
    assert features.dtype == np.float16
    assert features.shape == (50, N_DESCRIPTORS)
    np.testing.assert_allclose(np.linalg.norm(features.astype(np.float32), axis=1), 1, atol=2e-3)


def test_objects_that_come_later_get_the_features_they_would_have_had(tmp_path: Path) -> None:
    drawn = noisy_objects(20)
    together = embed_objects("instant", INSTANT.settings(), tmp_path / "model", drawn)
    later = Drawn(drawn.contexts[15:], drawn.masks[15:])
    np.testing.assert_array_equal(
        embed_objects("instant", INSTANT.settings(), tmp_path / "model", later), together[15:]
    )


@pytest.mark.parametrize("n", [1, 2])
def test_one_object_and_two_have_features(tmp_path: Path, n: int) -> None:
    features = embed_objects("instant", INSTANT.settings(), tmp_path / "model", noisy_objects(n))
    assert np.isfinite(features).all()


def test_each_part_has_the_say_it_is_given_whatever_its_size_and_units() -> None:
    rng = np.random.default_rng(0)
    network, described = rng.normal(size=(500, 40)), rng.normal(size=(500, 3)) * [1000, 1, 0.001] + 77
    space = FeatureSpace.fit([Part(network, weight=0.5), Part(described, by_column=True)])
    features = space.join([Part(network), Part(described)]).astype(np.float32)
    lengths = np.linalg.norm(features[:, :40], axis=1).mean(), np.linalg.norm(features[:, 40:], axis=1).mean()
    assert lengths[0] / lengths[1] == pytest.approx(0.5, rel=0.2)
    assert features[:, 40:].std(axis=0) == pytest.approx(features[:, 40:].std(axis=0).mean(), rel=0.1)


def test_many_objects_keep_the_directions_in_which_they_differ() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(1500, 20))
    wide = hidden @ rng.normal(size=(20, 400)) + 0.01 * rng.normal(size=(1500, 400))
    space = FeatureSpace.fit([Part(wide)])
    features = space.join([Part(wide)]).astype(np.float32)
    assert features.shape == (1500, N_COMPONENTS)
    unit = wide - wide.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(features[:50] @ features[50:100].T, unit[:50] @ unit[50:100].T, atol=0.05)
    assert (FeatureSpace.fit([Part(wide)]).directions == space.directions).all()


def test_one_odd_object_does_not_set_the_scale_and_no_number_is_nan() -> None:
    described = np.random.default_rng(0).normal(size=(200, 4))
    described[:, 3] = 5.0  # the same everywhere
    described[0] = [1e6, np.nan, np.inf, 5.0]
    features = FeatureSpace.fit([Part(described, by_column=True)]).join([Part(described)])
    assert np.isfinite(features).all()
    assert (features[:, 3] == 0).all()


def test_numbers_whose_squares_no_float_holds_make_no_feature_nan() -> None:
    rows = np.random.default_rng(0).normal(size=(1200, 200)).astype(np.float32)
    rows[::3] *= np.float32(3e37)
    for by_column in (False, True):
        features = FeatureSpace.fit([Part(rows, by_column=by_column)]).join([Part(rows)])
        assert np.isfinite(features).all() and features.any()


def test_a_space_that_belongs_to_other_features_is_refused(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1200, 200))
    space = FeatureSpace.fit([Part(rows)])
    space.save(tmp_path)
    loaded = FeatureSpace.load(tmp_path)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.join([Part(rows)]), space.join([Part(rows)]))
    with pytest.raises(EngineError, match="do not fit"):
        loaded.join([Part(rows[:, :3])])
    (tmp_path / SPACE_NAME).write_bytes(b"no arrays")
    with pytest.raises(EngineError, match="cannot be read"):
        FeatureSpace.load(tmp_path)


@pytest.mark.parametrize("size", [2, 17])
def test_patches_without_a_middle_are_refused(size: int) -> None:
    with pytest.raises(EngineError, match=f"patches of {size} px cannot be measured"):
        describe_objects(Drawn(np.zeros((3, 2 * size, 2 * size, 3), np.uint8), np.ones((3, size, size), bool)))


def test_a_picture_of_any_size_can_be_described() -> None:
    for size in (1, 5, 63, 200):
        picture = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
        described = descriptors.describe_picture(picture)
        assert np.isfinite(described[:, descriptors.columns_of(("patch color", "patch histogram"))]).all()


def test_what_is_not_known_of_some_objects_does_not_change_how_far_the_others_are_apart() -> None:
    """The scale is that of what is known."""
    rng = np.random.default_rng(0)
    rows = rng.normal(1000, 10, (200, 6)).astype(np.float32)
    half = rows.copy()
    half[::2] = np.nan
    known = FeatureSpace.fit([Part(half, by_column=True)]).join([Part(rows, by_column=True)])[1::2].astype(np.float32)
    alone = FeatureSpace.fit([Part(rows[1::2], by_column=True)]).join([Part(rows[1::2], by_column=True)])
    np.testing.assert_allclose(known, alone.astype(np.float32), atol=2e-3)
