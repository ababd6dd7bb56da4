"""A photograph becomes feature maps; a file that is none becomes a clear error."""

import numpy as np
import pytest
from PIL import Image
from scipy.signal import correlate2d

from scc_numba.measure import photo
from scc_numba.measure.photo import load_photo, make_batch


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((40, 60, 3))


def test_the_built_in_photograph():
    name, pixels = load_photo()
    assert "china.jpg" in name
    assert pixels.shape == (427, 640, 3)
    assert 0 <= pixels.min() < pixels.max() <= 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_files_of_every_kind(tmp_path, picture, suffix, mode):
    if suffix == "jpg" and mode in ("P", "RGBA"):
        pytest.skip("JPEG has no such mode")
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray((picture * 255).astype(np.uint8)).convert(mode).save(path)
    name, pixels = load_photo(path)
    assert name == path.name
    assert pixels.shape == (40, 60, 3)
    assert pixels.max() <= 1


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image='.*none.png' is not a file"):
        load_photo(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_photo(tmp_path)


def test_a_file_that_is_no_image(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(ValueError, match="is not an image that Pillow can read"):
        load_photo(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image(tmp_path, picture, suffix):
    path = tmp_path / f"half.{suffix}"
    Image.fromarray((picture * 255).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"half\.\w+' cannot be read"):
        load_photo(path)


@pytest.mark.parametrize(
    ("batch", "height", "width"), [(1, 16, 16), (4, 7, 9), (5, 8, 8), (12, 20, 10), (3, 40, 60)]
)
def test_patches_lie_within_the_photograph(picture, batch, height, width):
    made = make_batch("test", picture, batch, 5, height, width)
    assert made.maps.shape == (batch, 5, height, width)
    assert len(made.corners) == batch
    for row, column in made.corners:
        assert 0 <= row <= made.photo.shape[0] - height
        assert 0 <= column <= made.photo.shape[1] - width


def test_a_photograph_smaller_than_a_patch(picture):
    with pytest.raises(ValueError, match="the image has 40×60 pixels, a patch needs 41×8"):
        make_batch("test", picture, 1, 4, 41, 8)


def test_feature_maps_are_standardised_and_repeat(picture):
    maps = make_batch("test", picture, 4, 6, 16, 16).maps
    np.testing.assert_allclose(maps.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(maps.std(axis=(0, 2, 3)), 1, atol=1e-12)
    np.testing.assert_array_equal(maps, make_batch("test", picture, 4, 6, 16, 16).maps)


def standardised(maps):
    return (maps - maps.mean((0, 2, 3), keepdims=True)) / maps.std((0, 2, 3), keepdims=True)


def test_the_convolutions_are_convolutions(picture):
    # the same two layers, by SciPy's correlation
    made = make_batch("test", picture, 2, 3, 10, 12)
    draw = np.random.default_rng(photo.SEED)
    first, depthwise = draw.normal(0, np.sqrt(2 / 27), (3, 3, 3, 3)), draw.normal(0, np.sqrt(2 / 9), (3, 3, 3))
    patches = np.stack([made.photo[r : r + 10, c : c + 12].transpose(2, 0, 1) for r, c in made.corners])
    patches = standardised(patches)
    maps = np.array(
        [[sum(correlate2d(patch[i], first[o, i], "same") for i in range(3)) for o in range(3)] for patch in patches]
    )
    maps = standardised(np.maximum(maps, 0))
    maps = np.array([[correlate2d(m[c], depthwise[c], "same") for c in range(3)] for m in maps])
    np.testing.assert_allclose(made.maps, standardised(maps), rtol=1e-10, atol=1e-10)
