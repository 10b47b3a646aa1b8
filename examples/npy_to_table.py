"""Turn arrays into what Nightscope takes: PNG pictures, and a table with a column for each label.

Many small data sets come as NumPy arrays: pictures in one file, and a file of labels for each question, as MHSMA
(https://github.com/soroushj/mhsma-dataset) does. This writes `pictures/<name>_<number>.png` and `labels.csv`:

    python examples/npy_to_table.py out --pictures x_64_train.npy --name train \
        --label acrosome=y_acrosome_train.npy --label head=y_head_train.npy --label vacuole=y_vacuole_train.npy

Then, for a line with `kind: classification` and `multi_label: true`:

    nightscope add out/pictures --stills --study mhsma
    nightscope labels import out --format csv --line <line>

An official test set goes into a folder of its own, and is added with `--split test`. Labels are 1 and 0; a value that
is negative or not a number is a missing one, and its cell stays empty.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def convert(out: Path, pictures: Path, labels: Mapping[str, Path], name: str) -> int:
    """Write the pictures and the table.

    Args:
        out: The folder to write to; made if absent.
        pictures: An array [n, h, w] or [n, h, w, 3] (RGB), uint8.
        labels: Label -> an array [n].
        name: What the pictures' names begin with.

    Returns:
        How many pictures there are.

    Raises:
        ValueError: An array has another shape or type.
    """
    images = _array(pictures)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise ValueError(f"{pictures}: expected uint8 [n, h, w] or [n, h, w, 3], found {images.dtype} {images.shape}")
    columns = {label: _cells(path, len(images)) for label, path in labels.items()}
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    files = [f"pictures/{name}_{number:05d}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(out / file)
    with (out / "labels.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file", *columns])
        writer.writerows(zip(files, *columns.values(), strict=True))
    return len(images)


def _array(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, allow_pickle=False))


def _cells(path: Path, count: int) -> list[str]:
    values = _array(path)
    if values.shape != (count,):
        raise ValueError(f"{path}: expected {count} labels, found an array {values.shape}")
    known = np.isfinite(values.astype(float)) & (values >= 0)
    if not np.isin(values[known], (0, 1)).all():
        raise ValueError(f"{path}: expected 0 and 1, found {np.unique(values[known])[:5].tolist()}")
    return [str(int(value)) if is_known else "" for value, is_known in zip(values, known, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Turn arrays into PNG pictures and a table of labels.")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--pictures", type=Path, required=True, help="array of pictures (.npy)")
    parser.add_argument("--label", action="append", required=True, metavar="NAME=FILE", help="array of a label (.npy)")
    parser.add_argument("--name", default="picture", help="what the pictures' names begin with")
    given = parser.parse_args(arguments)
    if wrong := [each for each in given.label if "=" not in each]:
        parser.error(f"--label {wrong[0]}: expected NAME=FILE")
    labels = {name: Path(file) for name, _, file in (each.partition("=") for each in given.label)}
    try:
        count = convert(given.out, given.pictures, labels, given.name)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{count} pictures and their labels are in {given.out}")


if __name__ == "__main__":
    main()
