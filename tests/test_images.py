"""Images of all kinds: what is converted and how, and what is left out."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparring import DataError, open_dataset
from sparring.data.containers import open_folder
from sparring.data.images import IMAGES, fit, read_image
from sparring.errors import SparringWarning

RED, WHITE, GREY = (255, 0, 0), (255, 255, 255), (128, 128, 128)


def plain(path: Path) -> None:
    Image.new("RGB", (8, 8), RED).save(path)


def cmyk(path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)).save(path)


def sixteen_bits_big_endian(path: Path) -> None:
    Image.frombytes("I;16B", (8, 8), np.full((8, 8), 128 * 257, ">u2").tobytes()).save(path)


def one_bit(path: Path) -> None:
    Image.new("1", (8, 8), 1).save(path)


def transparent(path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(path)  # its hidden colour must not show


def half_transparent_grey(path: Path) -> None:
    Image.new("LA", (8, 8), (1, 128)).save(path)  # 1 · 128/255 + 255 · 127/255


def palette(path: Path) -> None:
    Image.new("RGB", (8, 8), RED).convert("P").save(path)


def transparent_palette(path: Path) -> None:
    Image.new("P", (8, 8), 0).save(path, transparency=0)


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


KINDS: dict[str, tuple[str, Callable[[Path], None], tuple[int, int, int]]] = {
    "rgb": ("a.png", plain, RED),
    "cmyk": ("a.jpg", cmyk, RED),
    "16 bits": ("a.png", sixteen_bits, GREY),
    "16 bits, big endian": ("a.tif", sixteen_bits_big_endian, GREY),
    "1 bit": ("a.png", one_bit, WHITE),
    "transparent": ("a.png", transparent, WHITE),
    "half transparent grey": ("a.png", half_transparent_grey, GREY),
    "palette": ("a.gif", palette, RED),
    "transparent palette": ("a.png", transparent_palette, WHITE),
    "animated": ("a.gif", animated, RED),
    "animated, webp": ("a.webp", animated, RED),
    "another ending": ("a.jpg", lambda path: Image.new("RGB", (8, 8), RED).save(path, format="PNG"), RED),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_eight_bits_of_rgb(kind: str, tmp_path: Path) -> None:
    name, make, colour = KINDS[kind]
    make(tmp_path / name)
    pixels = torch.from_numpy(read_image(tmp_path / name, (4, 4))[0])
    assert pixels.shape == (3, 4, 4)
    assert pixels.dtype == torch.uint8
    # JPEG and WebP round colours; nothing else here does.
    expected = torch.tensor(colour)[:, None, None].expand(3, 4, 4)
    assert (pixels.int() - expected).abs().max() <= (3 if name.endswith(("jpg", "webp")) else 1)


def test_images_are_turned_upright_and_cropped_to_the_middle(tmp_path: Path) -> None:
    image = Image.new("RGB", (12, 8), WHITE)
    image.paste(RED, (2, 0, 6, 8))  # the left half of the middle square
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: the left becomes the top
    image.save(tmp_path / "a.png", exif=exif)
    pixels = torch.from_numpy(read_image(tmp_path / "a.png", (8, 8))[0])
    assert pixels[:, 0, 4].tolist() == list(RED)
    assert pixels[:, 7, 4].tolist() == list(WHITE)


@pytest.mark.parametrize("size", [(8, 16), (16, 8), (5, 7), (8, 8)])
def test_images_are_cropped_to_the_shape_of_a_size(size: tuple[int, int], tmp_path: Path) -> None:
    """As much of the middle as fits, with files and with arrays alike; to one level of 255."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    height, width = min(40, round(60 * size[0] / size[1])), min(60, round(40 * size[1] / size[0]))
    top, left = (40 - height) // 2, (60 - width) // 2
    middle = torch.from_numpy(pixels[top : top + height, left : left + width]).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(middle, size=size, mode="bilinear", antialias=True)[0]
    by_fit = fit(torch.from_numpy(pixels).permute(2, 0, 1)[None], size)[0]
    assert by_fit.shape == (3, *size)
    assert (by_fit - expected).abs().max() <= 0.5
    inner = (torch.from_numpy(read_image(tmp_path / "a.png", size)[0]) - expected)[
        :, 1:-1, 1:-1
    ]  # Pillow looks over edges
    assert inner.abs().max() <= 1.0


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def text(path: Path) -> None:
    path.write_text("no image")


def another_format(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, format="TGA")


def floats(path: Path) -> None:
    Image.new("F", (8, 8), 7.0).save(path, format="TIFF")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(path: Path) -> None:
    """12,000×12,000 pixels of black in 140 kB; Pillow itself would open twice as much."""
    rows = zlib.compressobj()
    data = b"".join([rows.compress(bytes(12_001)) for _ in range(12_000)] + [rows.flush()])
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


BAD = {
    "empty": (empty, "none of PNG, JPEG"),
    "truncated": (truncated, "truncated"),
    "text": (text, "none of PNG, JPEG"),
    "another format": (another_format, "none of PNG, JPEG"),
    "floats": (floats, "values go from 7 to 7, and it is not clear"),
    "bomb": (bomb, "12000×12000 pixels, more than 100,000,000"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_image_is_left_out_listed_and_counted(fault: str, tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    BAD[fault][0](tmp_path / "bad.png")
    with pytest.warns(SparringWarning, match=rf"(?s)1 of the 11 images.*bad\.png: .*({BAD[fault][1]}).*left out"):
        dataset = open_dataset(str(tmp_path), size=4)
    assert (dataset.train.num_items, dataset.heldout.num_items) == (9, 1)


def test_too_many_bad_images_are_an_error(tmp_path: Path) -> None:
    for number in range(100):
        (plain if number < 88 else text)(tmp_path / f"{number:03}.png")
    with pytest.raises(DataError, match=r"(?s)12 of the 100 images.*088\.png.*097\.png.*and 2 more.*Repair or remove"):
        open_dataset(str(tmp_path))


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """In a process that may have no more: 144 MB would be unpacked, and three times as much as RGB."""
    bomb(tmp_path / "bomb.png")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from sparring.data.images import read_image\n"
        "held = 1024 * int(Path('/proc/self/status').read_text().split('VmSize:')[1].split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 50_000_000,) * 2)\n"
        "try:\n    read_image(Path(sys.argv[1]), (4, 4))\n"
        "except ValueError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bomb.png")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "more than 100,000,000" in output


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    inside = tmp_path / "folder"
    inside.mkdir()
    plain(inside / "a.png")
    (inside / "within.png").symlink_to(inside / "a.png")
    assert open_folder(inside, IMAGES).num_files == 2
    plain(tmp_path / "secret.png")
    (inside / "out.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"out\.png.* is a link to .*secret\.png"):
        open_folder(inside, IMAGES)
    (inside / "out.png").unlink()
    (inside / "below").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"below.* is a link to"):
        open_folder(inside, IMAGES)


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    plain(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert open_folder(tmp_path, IMAGES).num_files == 1


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ("with space.png", "new\nline.png", "ünïcode.PNG", "-n.png", os.fsdecode(b"\xff.png"))
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / name)
    text(tmp_path / os.fsdecode(b"bad\n\xfe.png"))
    for number in range(10):
        plain(tmp_path / f"{number}.png")
    with pytest.warns(SparringWarning, match=r"bad\\n\\udcfe\.png: it is damaged, or none of"):
        dataset = open_dataset(str(tmp_path), size=4)
    assert dataset.train.num_items + dataset.heldout.num_items == 15


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """By a user who may not: root, as which tests may run, reads everything."""
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").chmod(0)
    folders = [*tmp_path.parents, tmp_path]
    before = {each: each.stat().st_mode for each in folders if each.stat().st_uid == os.getuid()}
    code = (
        "import os, sys, warnings\n"
        "import filelock, sparring.modalities, PIL.Image\n"
        "PIL.Image.init()  # while modules may still be read\n"
        "if os.getuid() == 0:\n    os.setuid(65534)\n"
        "warnings.simplefilter('always')\n"
        "sparring.modalities.open_dataset(sys.argv[1], dry=True)\n"
    )
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    try:
        for each in before:
            each.chmod(before[each] | 0o011)
        tmp_path.chmod(0o755)
        environment = os.environ | {"SPARRING_CACHE": str(cache)}
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    finally:
        for each, mode in before.items():
            each.chmod(mode)
    assert "3.png: Permission denied" in done.stderr


def test_resizing_is_that_of_the_metrics(tmp_path: Path) -> None:
    """Bilinear and antialiased, in both directions, to one level of 255."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    for size in (16, 64):
        expected = torch.nn.functional.interpolate(whole, size=(size, size), mode="bilinear", antialias=True)[0]
        assert (torch.from_numpy(read_image(tmp_path / "a.png", (size, size))[0]) - expected).abs().max() <= 1.0


def test_transparency_stays_and_hidden_colours_go(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 255, 0, 255), (0, 0, 8, 4))
    image.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", (8, 8), channels=4)[0]
    assert pixels[:, 0, 0].tolist() == [0, 255, 0, 255]
    assert pixels[:, 7, 0].tolist() == [0, 0, 0, 0]
    Image.new("RGB", (8, 8), RED).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png", (8, 8), channels=4)[0][:, 0, 0].tolist() == [255, 0, 0, 255]
    assert read_image(tmp_path / "b.png", (8, 8), channels=1)[0][:, 0, 0].tolist() == [76]  # .299 · 255


def test_a_size_of_another_shape_says_what_is_lost(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("RGB", (32, 128), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
    usual, other = (open_dataset(str(tmp_path), size=size, dry=True) for size in (None, 32))
    assert "cropped to their usual shape, 4.00 times as high as wide" in usual.survey.description[1]
    assert other.survey.description[1].endswith("32×32 px: an image of the usual shape, 128×32, loses 75%")
