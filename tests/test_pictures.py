"""Pictures show what they are given, where it belongs."""

import numpy as np
import pytest

from sparring.modalities.images import Images
from sparring.modalities.points import Points

IMAGES = Images((1, 28, 28))


def test_tiles_stand_row_by_row() -> None:
    images = np.stack([np.full((56, 56), value, np.uint8) for value in (10, 20, 30)])
    sheet = np.asarray(IMAGES.picture(images, columns=2))
    assert sheet.shape == (118, 118)
    assert (sheet[30, 30], sheet[30, 90], sheet[90, 30]) == (10, 20, 30)
    assert sheet[90, 90] == 64  # an empty place


@pytest.mark.parametrize(("shape", "mode"), [((4, 28, 28), "L"), ((4, 64, 64, 3), "RGB"), ((4, 32, 32, 4), "RGB")])
def test_grey_colour_and_alpha(shape: tuple[int, ...], mode: str) -> None:
    assert IMAGES.picture(np.zeros(shape, np.uint8)).mode == mode


def test_points_are_drawn_where_they_lie() -> None:
    points = np.full((500, 2), 0.8, np.float32)
    picture = np.asarray(Points((2,), scale=0.5).picture(points)).astype(int)
    blue = picture[..., 2] - picture[..., 0] > 60
    rows, columns = np.nonzero(blue)
    assert rows.mean() < 100  # up
    assert columns.mean() > 300  # right


def test_what_is_transparent_is_shown_on_white() -> None:
    images = np.zeros((1, 64, 64, 4), np.uint8)
    images[:, :, 32:] = (255, 0, 0, 255)
    pixels = np.asarray(IMAGES.picture(images))
    assert pixels[30, 10].tolist() == [255, 255, 255]
    assert pixels[30, 60].tolist() == [255, 0, 0]
