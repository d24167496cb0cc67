"""The engine from a shell, without Django: `python -m apps.engine train FOLDER`.

On several GPUs: `torchrun --nproc-per-node GPUS -m apps.engine train FOLDER --out OUT`. A run that was ended is taken up
again by the same command with the same --out.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from apps.engine.arrays import write_array
from apps.engine.errors import EngineError
from apps.engine.formats import read_image, read_mask
from apps.engine.masks import MaskKind, check_same_size, find_objects
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.processes import Processes, join_processes
from apps.engine.nn.train import train_model
from apps.engine.pairing import pair
from apps.engine.pixels import PatchReader, StoredImage, write_image
from apps.engine.reduce import reduce_to_plot


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 and a JSON line on stdout, or 1 and a line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m apps.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="images and masks to a model, features and a map")
    train.add_argument("folder", type=Path, help="holds images/ and masks/ (indexed) with equal names")
    train.add_argument("--epochs", type=int, default=TrainConfig.epochs)
    train.add_argument("--patch-size", type=int, default=64, help="pixels around each object's center")
    train.add_argument("--encoder-size", type=int, help="pixels the network sees; the patch size where not given")
    train.add_argument("--seed", type=int, default=TrainConfig.seed)
    train.add_argument("--out", type=Path, help="keep the model, vectors.npy and coordinates.npy in this folder")
    options = parser.parse_args(arguments)
    try:
        with join_processes() as processes:
            if options.out is not None:
                result = train_folder(options, options.out, processes)
            elif processes.count > 1:
                raise EngineError("Several processes need --out, a folder that all of them see")
            else:
                with tempfile.TemporaryDirectory() as out:
                    result = train_folder(options, Path(out), processes)
            if processes.is_first:
                print(json.dumps(result))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def train_folder(options: argparse.Namespace, out: Path, processes: Processes) -> dict[str, object]:
    """Extract, train, embed and map the images of `options.folder` into `out`; what came of it, for printing.

    Of several processes the first extracts and draws the map; they train and embed together.
    """
    config = TrainConfig(
        encoder_size_px=options.encoder_size or options.patch_size, epochs=options.epochs, seed=options.seed
    )
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def finish(stage: str) -> None:
        nonlocal started
        seconds[stage] = round(time.monotonic() - started, 2)
        started = time.monotonic()

    if processes.is_first:
        extracted = extract_folder(options.folder, out / "pixels")
        (out / "images.json").write_text(json.dumps([image.to_json() for image in extracted]))
    processes.wait_for_all()
    images = [StoredImage.from_json(image) for image in json.loads((out / "images.json").read_text())]
    reader = PatchReader(images, options.patch_size)
    finish("extract")
    trained = train_model(
        config, reader, checkpoint=out / "model", states=out / "states", processes=processes, on_progress=report
    )
    finish("train")
    vectors = embed_patches(out / "model", reader, shards=out / "shards", processes=processes, on_progress=report)
    finish("embed")
    if processes.is_first:
        write_array(out / "vectors.npy", vectors)
        coordinates = reduce_to_plot(vectors, seed=options.seed, on_progress=report)
        write_array(out / "coordinates.npy", coordinates)
        for finished in ("states", "shards"):
            shutil.rmtree(out / finished)
        finish("map")
        print(file=sys.stderr)
    return {
        "images": len(images),
        "objects": len(reader),
        "epochs": trained.epochs,
        "loss": [round(loss, 4) for loss in trained.losses],
        "patches_per_second": round(trained.patches_per_second, 1),
        "input_share": round(trained.input_share, 4),
        "seconds": seconds,
    }


def extract_folder(folder: Path, pixels: Path) -> list[StoredImage]:
    """Every image of `folder`/images with its indexed mask of `folder`/masks into the pixel store `pixels`."""
    names: dict[str, list[str]] = {}
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise EngineError(f"{folder} has no folder {part}/")
        names[part] = sorted(f"{part}/{path.name}" for path in (folder / part).iterdir() if path.is_file())
    pairing = pair(names["images"], names["masks"])
    if pairing.errors:
        raise EngineError("; ".join(pairing.errors))
    pixels.mkdir(parents=True, exist_ok=True)
    stored: list[StoredImage] = []
    first_ordinal = 0
    for found_pair in pairing.pairs:
        if found_pair.mask is None:
            raise EngineError(f"{found_pair.image} has no mask")
        image = read_image(folder / found_pair.image, name=found_pair.image)
        mask = read_mask(folder / found_pair.mask, name=found_pair.mask)
        check_same_size(image.shape, mask.shape, image_name=found_pair.image, mask_name=found_pair.mask)
        found = find_objects(mask, MaskKind.INDEXED, name=found_pair.mask)
        key = Path(found_pair.image).stem
        write_image(pixels, key, image, found)
        stored.append(StoredImage(first_ordinal, len(found), pixels, key))
        first_ordinal += len(found)
    return stored


def report(stage: str, fraction: float, message: str) -> None:
    """Progress on one line of stderr, so that stdout holds nothing but the result."""
    print(f"\r{stage} {fraction:4.0%} {message:<60}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
