"""A photograph as the input of an SCC layer: patches, a 3×3 convolution, a depthwise 3×3."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SEED = 2021  # of every weight in this file; the year of the paper


@dataclass(frozen=True)
class Batch:
    """Patches of a photograph, and what two convolutions make of them.

    Attributes:
        name: where the photograph came from.
        photo: (rows, columns, 3), the photograph as reduced, from 0 to 1.
        corners: row and column of each patch in it.
        maps: (N, C, H, W), zero mean and unit variance in each channel.
    """

    name: str
    photo: Array
    corners: list[tuple[int, int]]
    maps: Array


def load_photo(path: Path | None = None) -> tuple[str, Array]:
    """Name and pixels, (rows, columns, 3) from 0 to 1, of an image file or of scikit-learn's own photograph.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image, or a damaged one.
    """
    if path is None:
        from sklearn.datasets import load_sample_image

        return "china.jpg (ships with scikit-learn)", load_sample_image("china.jpg") / 255.0
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(f"image={str(path)!r} is not a file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return path.name, np.asarray(image.convert("RGB")) / 255.0
    except UnidentifiedImageError:
        raise ValueError(f"image={str(path)!r} is not an image that Pillow can read (PNG, JPEG, …)") from None
    except (OSError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"image={str(path)!r} cannot be read: {error}") from error


def make_batch(name: str, photo: Array, batch: int, channels: int, height: int, width: int) -> Batch:
    """Cut patches and take them through the two convolutions.

    Args:
        name: where the photograph came from.
        photo: (rows, columns, 3), from 0 to 1.
        batch: N, the number of patches. They lie in a grid; where there is no room they overlap.
        channels: C, the feature maps to make.
        height: H, rows of a patch.
        width: W, columns of a patch.

    Raises:
        ValueError: the photograph is smaller than a patch.
    """
    if photo.shape[0] < height or photo.shape[1] < width:
        raise ValueError(
            f"the image has {photo.shape[0]}×{photo.shape[1]} pixels, a patch needs {height}×{width}: "
            f"choose a larger image or a smaller layer"
        )
    photo = _reduced(photo, batch, height, width)
    corners = _corners(photo.shape[:2], batch, height, width)
    patches = np.empty((batch, 3, height, width))
    for n, (row, column) in enumerate(corners):
        patches[n] = photo[row : row + height, column : column + width].transpose(2, 0, 1)
    draw = np.random.default_rng(SEED)
    first = draw.normal(0, math.sqrt(2 / 27), (channels, 3, 3, 3))
    depthwise = draw.normal(0, math.sqrt(2 / 9), (channels, 3, 3))
    maps = np.einsum("nihwab,oiab->nohw", _neighbourhoods(_standardised(patches)), first, optimize=True)
    maps = _standardised(np.maximum(maps, 0))
    maps = np.einsum("nchwab,cab->nchw", _neighbourhoods(maps), depthwise, optimize=True)
    return Batch(name, photo, corners, _standardised(maps))


def _reduced(photo: Array, batch: int, height: int, width: int) -> Array:
    # Average whole blocks of pixels, so that a grid of patches covers about the whole picture.
    rows = max(1, math.isqrt(batch))
    columns = max(1, -(-batch // rows))
    factor = max(1, min(photo.shape[0] // (rows * height), photo.shape[1] // (columns * width)))
    h, w = photo.shape[0] // factor, photo.shape[1] // factor
    return photo[: h * factor, : w * factor].reshape(h, factor, w, factor, 3).mean(axis=(1, 3))


def _corners(size: tuple[int, ...], batch: int, height: int, width: int) -> list[tuple[int, int]]:
    rows = max(1, math.isqrt(batch))
    columns = max(1, -(-batch // rows))
    down = np.linspace(0, size[0] - height, rows).astype(int)
    along = np.linspace(0, size[1] - width, columns).astype(int)
    return [(int(r), int(c)) for r in down for c in along][:batch]


def _neighbourhoods(maps: Array) -> Array:
    # (N, C, H, W) -> (N, C, H, W, 3, 3), zeros outside
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))


def _standardised(maps: Array) -> Array:
    # What batch normalisation does at the start of training: zero mean, unit variance in each channel.
    if maps.size == 0:
        return maps
    mean = maps.mean(axis=(0, 2, 3), keepdims=True)
    deviation = maps.std(axis=(0, 2, 3), keepdims=True)
    return (maps - mean) / np.maximum(deviation, 1e-6)
