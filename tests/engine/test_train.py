"""Training on made-up patches: it learns, it repeats, it stops, and it never ends in NaN."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.errors import EngineError, Stopped
from apps.engine.nn import devices, train
from apps.engine.nn.backbones import create_backbone
from apps.engine.nn.checkpoints import load_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device, choose_precision
from apps.engine.nn.patches import PatchCache, read_ahead
from apps.engine.nn.train import batch_size_for, learning_rate_at, plan_epoch, train_model
from apps.engine.registry import APPROACHES
from tests.engine.fake_patches import FakePatches, make_patches

SETTINGS = SimCLRSettings(projection_dim=8)
TINY = TrainConfig(settings=SETTINGS, encoder_size_px=16, epochs=1, batch_size=16, device="cpu")


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(folder)[0].state_dict())


def assert_finite(folder: Path) -> None:
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(folder).values())


def test_the_loss_falls_and_the_result_says_what_was_done(tmp_path: Path) -> None:
    patches, kinds = make_patches(32)
    result = train_model(replace(TINY, epochs=5), patches, class_values=kinds, checkpoint=tmp_path / "1")
    assert result.losses[-1] < result.losses[0] - 0.3
    assert (result.epochs, result.steps, result.n_labeled) == (5, 10, 32)
    assert result.seconds > 0
    assert result.patches_per_second > 0
    assert 0 <= result.input_share <= 1
    assert patches.n_read == 32  # kept in memory: each patch is read once
    assert load_checkpoint(tmp_path / "1")[0].class_values == (1, 2)


def test_the_time_that_is_spent_waiting_for_patches_is_measured(tmp_path: Path) -> None:
    class SlowPatches(FakePatches):
        def read(self, ordinals: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
            time.sleep(1)
            return super().read(ordinals)

    patches, _kinds = make_patches(64)
    share = {
        source: train_model(TINY, source, checkpoint=tmp_path / type(source).__name__).input_share
        for source in (patches, SlowPatches(patches.patches))
    }
    quick, slow = share.values()
    assert quick < slow and slow > 0.5


@pytest.mark.parametrize(
    ("approach", "setting", "value"),
    [
        ("simclr", "temperature", 0.5),
        ("simclr", "projection_dim", 4),
        ("simclr", "cross_entropy_weight", 5.0),
        ("simclr", "augment.stain", 0.9),
        ("barlow_twins", "redundancy_weight", 0.5),
        ("autoencoder", "reconstruction_weight", 3.0),
    ],
)
def test_what_is_set_is_what_is_trained_with(approach: str, setting: str, value: float, tmp_path: Path) -> None:
    patches, kinds = make_patches(16)
    given = APPROACHES.get(approach).settings()
    losses = [
        train_model(
            replace(TINY, approach=approach, settings=settings), patches, class_values=kinds, checkpoint=tmp_path / name
        ).losses
        for name, settings in (("given", given), ("again", given), ("changed", given.changed({setting: value})))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    patches, kinds = make_patches(20)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_model(replace(TINY, seed=seed), patches, class_values=kinds, checkpoint=tmp_path / name)
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["backbone.resnet.conv1.weight"], c["backbone.resnet.conv1.weight"])


def test_a_rare_class_counts_as_much_as_a_frequent_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patches, kinds = make_patches(32)
    kinds[np.flatnonzero(kinds == 2)[2:]] = 0  # two labels of one class, sixteen of the other
    weighted = train_model(TINY, patches, class_values=kinds, checkpoint=tmp_path / "weighted")
    monkeypatch.setattr(train, "class_weights", lambda labels, values: np.ones(len(values), np.float32))
    alike = train_model(TINY, patches, class_values=kinds, checkpoint=tmp_path / "alike")
    assert weighted.losses != alike.losses

    def leaning_to_the_frequent(name: str) -> float:
        bias = load_checkpoint(tmp_path / name)[0].state_dict()["classifier.bias"]
        return float(bias[0] - bias[1])

    assert leaning_to_the_frequent("weighted") < leaning_to_the_frequent("alike") - 1e-4


def test_training_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_model(TINY, make_patches(2)[0], checkpoint=tmp_path / "1")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("n", "labeled"),
    [(1, "none"), (2, "none"), (1, "all"), (2, "all"), (10, "one class"), (10, "two classes"), (17, "two classes")],
)
def test_any_number_of_objects_and_labels_trains_without_nan(tmp_path: Path, n: int, labeled: str) -> None:
    patches, kinds = make_patches(n)
    labels = {
        "none": None,
        "one class": np.where(kinds == 1, 1, 0),
        "two classes": np.where(np.arange(n) < 2, kinds, 0),
        "all": kinds,
    }[labeled]
    class_values = None if labels is None else labels.astype(np.uint8)
    result = train_model(TINY, patches, class_values=class_values, checkpoint=tmp_path / "1")
    assert np.isfinite(result.losses).all()
    assert_finite(tmp_path / "1")
    several = class_values is not None and len(set(class_values[class_values > 0])) > 1
    assert bool(load_checkpoint(tmp_path / "1")[0].class_values) == several == bool(result.n_labeled)


def test_objects_all_alike_train_without_nan(tmp_path: Path) -> None:
    patches = FakePatches(np.full((9, 16, 16, 3), 200, np.uint8))
    train_model(TINY, patches, class_values=np.array([1, 2] + [0] * 7, np.uint8), checkpoint=tmp_path / "1")
    assert_finite(tmp_path / "1")


def test_no_objects_or_labels_of_another_number_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no objects"):
        train_model(TINY, make_patches(0)[0], checkpoint=tmp_path / "1")
    with pytest.raises(EngineError, match="4 objects, but class values for 3"):
        train_model(TINY, make_patches(4)[0], class_values=np.ones(3, np.uint8), checkpoint=tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_stopping_within_a_step_leaves_no_checkpoint_not_even_half_of_one(tmp_path: Path) -> None:
    reports: list[tuple[str, float, str]] = []
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3  # once at the start, then after each step

    patches, _kinds = make_patches(64)
    with pytest.raises(Stopped):
        train_model(
            replace(TINY, epochs=50),
            patches,
            checkpoint=tmp_path / "1",
            on_progress=lambda *report: reports.append(report),
            should_stop=should_stop,
        )
    assert asked == 4
    assert list(tmp_path.iterdir()) == []
    assert reports[0] == ("training", 0.0, "starting")


def test_progress_rises_to_one_and_names_epoch_and_speed(tmp_path: Path) -> None:
    reports: list[tuple[str, float, str]] = []
    train_model(
        replace(TINY, epochs=2),
        make_patches(32)[0],
        checkpoint=tmp_path / "1",
        on_progress=lambda *report: reports.append(report),
    )
    fractions = [fraction for _stage, fraction, _message in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {stage for stage, _fraction, _message in reports} == {"training"}
    assert "epoch 2 of 2" in reports[-1][2]
    assert "patches/s" in reports[-1][2]


def test_fine_tuning_goes_on_from_the_earlier_weights_and_keeps_known_classes(tmp_path: Path) -> None:
    patches, kinds = make_patches(24)
    train_model(TINY, patches, class_values=kinds, checkpoint=tmp_path / "1")
    three = kinds.copy()
    three[:4] = 9
    still = replace(TINY, learning_rate=0.0)
    train_model(still, patches, class_values=three, start_from=tmp_path / "1", checkpoint=tmp_path / "2")
    before, after = weights_of(tmp_path / "1"), weights_of(tmp_path / "2")
    assert torch.equal(before["backbone.resnet.conv1.weight"], after["backbone.resnet.conv1.weight"])
    assert torch.equal(before["classifier.weight"], after["classifier.weight"][:2])
    assert (after["classifier.weight"][2] == 0).all()


def test_fine_tuning_another_architecture_is_a_clear_error(tmp_path: Path) -> None:
    patches, _kinds = make_patches(4)
    train_model(TINY, patches, checkpoint=tmp_path / "1")
    with pytest.raises(EngineError, match="its encoder_size_px is 16, now 32"):
        train_model(replace(TINY, encoder_size_px=32), patches, start_from=tmp_path / "1", checkpoint=tmp_path / "2")
    assert not (tmp_path / "2").exists()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (replace(TINY, settings=replace(SETTINGS, backbone="timm:abacus")), "no architecture called 'abacus'"),
        (replace(TINY, device="abacus"), "no device called 'abacus'"),
    ],
)
def test_an_unknown_name_is_a_clear_error(tmp_path: Path, config: TrainConfig, name: str) -> None:
    with pytest.raises(EngineError, match=name):
        train_model(config, make_patches(2)[0], checkpoint=tmp_path / "1")


def test_settings_out_of_range_are_clear_errors() -> None:
    with pytest.raises(EngineError, match="epochs is 0"):
        TrainConfig(epochs=0)
    with pytest.raises(EngineError, match="alchemy"):
        TrainConfig(approach="alchemy")
    with pytest.raises(EngineError, match="barlow_twins takes BarlowTwinsSettings, not SimCLRSettings"):
        TrainConfig(approach="barlow_twins", settings=SETTINGS)


def test_a_first_training_covers_every_object_with_labels_in_every_step() -> None:
    labels = np.zeros(103, np.uint8)
    labels[[5, 50, 90]] = [1, 2, 2]
    batches = plan_epoch(np.random.default_rng(0), labels, batch_size=16, config=TINY, fine_tuning=False)
    assert set(np.concatenate(batches)) == set(range(103))
    assert all((labels[batch] > 0).any() for batch in batches)
    assert all(len(set(batch)) == len(batch) for batch in batches)


def test_without_labels_no_batch_is_left_with_a_single_object() -> None:
    batches = plan_epoch(np.random.default_rng(0), np.zeros(33, np.uint8), batch_size=16, config=TINY, fine_tuning=True)
    assert [len(batch) for batch in batches] == [11, 11, 11]
    assert sorted(np.concatenate(batches)) == list(range(33))


@pytest.mark.parametrize(("n_labeled", "n_objects"), [(400, 1200), (10, 128), (900, 2700), (1500, 3000)])
def test_a_fine_tuning_epoch_is_the_labels_and_twice_as_many_others(n_labeled: int, n_objects: int) -> None:
    labels = np.zeros(3000, np.uint8)
    labels[:n_labeled] = 1
    batches = plan_epoch(np.random.default_rng(0), labels, batch_size=16, config=TINY, fine_tuning=True)
    objects = set(np.concatenate(batches).tolist())
    assert len(objects) == n_objects
    assert set(range(n_labeled)) <= objects


def test_batches_are_smaller_in_small_projects_of_large_patches_and_on_a_cpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    config = TrainConfig(batch_size=256)
    plain = create_backbone("resnet18", encoder_size_px=64)
    assert [batch_size_for(config, plain, n, cpu) for n in (10, 500, 100_000)] == [32, 62, 128]
    by_size = [
        batch_size_for(replace(config, encoder_size_px=size), plain, 100_000, gpu) for size in (64, 128, 256, 512)
    ]
    assert by_size == [256, 256, 64, 32]
    assert batch_size_for(replace(config, encoder_size_px=256), plain, 100_000, gpu, processes=2) == 128
    assert batch_size_for(replace(config, batch_size=8), plain, 100_000, cpu) == 8


def test_batches_are_smaller_for_a_network_that_enlarges_its_patches_or_has_many_weights() -> None:
    config = TrainConfig(batch_size=256)
    with torch.device("meta"):
        base, large = (
            create_backbone(f"timm:vit_{size}_patch16_224", encoder_size_px=224) for size in ("base", "large")
        )
    gpu = torch.device("cuda")
    by_network = [batch_size_for(config, network, 100_000, gpu) for network in (base, large)]
    assert by_network == [77, 32], "of 224 px each, whatever the patches of the project have"
    assert batch_size_for(config, large, 100_000, torch.device("cpu")) == 32


def test_the_learning_rate_warms_up_and_falls_to_nearly_nothing() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate_at(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] < 0.01
    assert [learning_rate_at(0, 1, config)] == [1.0]


def test_patches_beyond_the_memory_budget_are_read_anew_and_resized() -> None:
    patches, _kinds = make_patches(6, size_px=32)
    ordinals = np.array([4, 1, 4])
    kept = PatchCache(patches, size_px=16, memory_budget_bytes=1 << 20)
    not_kept = PatchCache(patches, size_px=16, memory_budget_bytes=100)
    for _ in range(2):
        np.testing.assert_array_equal(kept.read(ordinals), not_kept.read(ordinals))
    assert kept.read(ordinals).shape == (3, 16, 16, 3)
    assert patches.n_read == 2 + 2 * 3


def test_reading_ahead_keeps_the_order_and_passes_errors_on() -> None:
    patches, _kinds = make_patches(10)
    batches = [np.arange(i, i + 2) for i in range(0, 10, 2)]
    assert [read.shape for read in read_ahead(patches.read, batches)] == [(2, 16, 16, 3)] * 5
    with pytest.raises(IndexError):
        list(read_ahead(patches.read, [np.array([99])]))


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    for capability, expected in (((9, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device, c=capability: c)
        assert choose_precision("auto", gpu) == expected
    assert choose_precision("fp32", cpu) == torch.float32
    with pytest.raises(EngineError, match="fp8"):
        choose_precision("fp8", cpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == cpu
    with pytest.raises(EngineError, match="no usable GPU"):
        choose_device("cuda")
    with pytest.raises(EngineError, match="has to be auto, cpu or cuda"):
        choose_device("meta")


@pytest.mark.parametrize(
    ("has_amx", "has_avx512_bf16", "is_by_amd", "expected", "expected_of_features"),
    [
        (True, True, False, torch.bfloat16, torch.bfloat16),
        (False, True, True, torch.bfloat16, torch.bfloat16),
        (False, True, False, torch.float32, torch.bfloat16),
        (False, False, True, torch.float32, torch.float32),
    ],
    ids=["Xeon with AMX", "EPYC since Zen 4", "Xeon whose AMX is hidden", "EPYC before Zen 4"],
)
def test_a_processor_trains_in_bf16_only_where_it_multiplies_that_faster(
    has_amx: bool,
    has_avx512_bf16: bool,
    is_by_amd: bool,
    expected: torch.dtype,
    expected_of_features: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512_bf16)
    monkeypatch.setattr(devices, "_is_by_amd", lambda: is_by_amd)
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == expected
    assert choose_precision("auto", cpu, features_of_depthwise=True) == expected_of_features
