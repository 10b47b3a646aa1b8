"""What annotators are served holds the picture, in its colours, and nothing else."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow
from PIL import ImageCms
from PIL.PngImagePlugin import PngInfo

from tasks.errors import UnreadableRecording
from tasks.ingest import stacks
from tasks.ingest.colour import in_srgb, shows_the_same
from tasks.ingest.formats import Format
from tasks.ingest.images import decode_image, encode_jpeg, kept_jpeg, kept_png
from tasks.ingest.packing import pack
from tasks.ingest.sampling import Extractor
from tasks.ingest.stripping import stripped
from tests.ingest.clips import numbered

PICTURE = np.dstack([numbered(1), numbered(2), numbered(3)])
SECRETS = (b"52.5200", b"Leica M11", b"D-Klinik", b"THUMBNAIL", b"Photoshop 3.0", b"secret", b"BEHIND")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lab_profile() -> bytes:
    """An RGB profile of other primaries: sRGB's with red and blue exchanged (valid, and visible)."""
    profile = bytearray(SRGB)
    count = int.from_bytes(profile[128:132], "big")
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, blue = tags[b"rXYZ"] + 4, tags[b"bXYZ"] + 4
    profile[red : red + 8], profile[blue : blue + 8] = profile[blue : blue + 8], profile[red : red + 8]
    return bytes(profile)


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif(turn: int = 1) -> bytes:
    tags = Pillow.Exif()
    tags[0x0112] = turn
    tags[0x0110] = "Leica M11"
    tags[0x9286] = "D-Klinik"
    tags.get_ifd(0x8825)[2] = (52.5200, 13.0, 0.0)
    return tags.tobytes().removeprefix(b"Exif\0\0") + b"52.5200 THUMBNAIL"


def dirty_jpeg(*, turn: int = 1, profile: bytes = SRGB, progressive: bool = False, grey: bool = False) -> bytes:
    file = io.BytesIO()
    picture = PICTURE[..., 0] if grey else PICTURE[..., ::-1]
    Pillow.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=90, progressive=progressive, restart=3)
    plain = file.getvalue()
    return b"".join([
        plain[:2],
        segment(0xE0, b"JFIF\0\x01\x02\x01\0\x48\0\x48\x02\x01" + b"THUMBNAIL"[:6]),
        segment(0xE0, b"JFXX\0\x10THUMBNAIL"),
        segment(0xE1, b"Exif\0\0" + exif(turn)),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>secret</x:xmpmeta>"),
        segment(0xE2, b"ICC_PROFILE\0\x01\x01" + profile) if profile else b"",
        segment(0xE2, b"MPF\0secret"),
        segment(0xED, b"Photoshop 3.0\0008BIM secret"),
        segment(0xEF, b"secret"),
        segment(0xFE, b"secret comment"),
        plain[2:].replace(plain[2:20], b"", 1) if plain[2:4] == b"\xff\xe0" else plain[2:],
        b"BEHIND the end",
    ])  # fmt: skip


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_keeps_its_picture_bit_for_bit_and_nothing_else(progressive: bool, grey: bool) -> None:
    data = dirty_jpeg(progressive=progressive, grey=grey)
    assert any(secret in data for secret in SECRETS)
    kept = kept_jpeg(data)
    assert (
        kept is not None and np.array_equal(decoded(kept[1]), decoded(data)) and np.array_equal(kept[0], decoded(data))
    )
    assert not any(secret in kept[1] for secret in SECRETS)
    with Pillow.open(io.BytesIO(kept[1])) as image:
        plain = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive", "progression"}
        assert not image.getexif() and set(image.info) <= plain
    assert stripped(kept[1]) is not None and stripped(kept[1]).data == kept[1]  # type: ignore[union-attr]


def test_what_needs_turning_or_other_colours_is_encoded_anew() -> None:
    assert kept_jpeg(dirty_jpeg(turn=6)) is None
    late = dirty_jpeg(turn=6, profile=SRGB + bytes(60000))
    assert kept_jpeg(late[:2] + segment(0xFE, bytes(60000)) + late[2:]) is None, "EXIF is looked for everywhere"
    assert kept_jpeg(dirty_jpeg(profile=lab_profile())) is None


def test_adobe_colours_stay() -> None:
    """Without this mark an RGB JPEG would be taken for YCbCr."""
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(PICTURE[..., ::-1])).save(file, "JPEG", quality=95, keep_rgb=True)
    kept = kept_jpeg(file.getvalue())
    assert kept is not None and np.array_equal(decoded(kept[1]), decoded(file.getvalue()))
    assert np.abs(kept[0].astype(int) - PICTURE).mean() < 4


def test_a_profile_is_applied_as_a_browser_would() -> None:
    profile, data = lab_profile(), dirty_jpeg(profile=lab_profile())
    assert shows_the_same(SRGB, 3) and not shows_the_same(profile, 3)
    shown = decode_image(data)
    with Pillow.open(io.BytesIO(data)) as image:
        expected = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
    assert shown is not None and np.abs(shown[..., ::-1].astype(int) - np.asarray(expected)).max() <= 2
    assert np.array_equal(in_srgb(PICTURE, b"no profile"), PICTURE) and shows_the_same(b"no profile", 3)


def dirty_png(mode: str = "RGB", **more: bytes) -> bytes:
    texts = PngInfo()
    texts.add_text("Author", "secret")
    texts.add_text("Comment", "secret" * 100, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", "<x>secret</x>")
    texts.add(b"prVt", b"secret")
    file = io.BytesIO()
    picture = Pillow.fromarray(np.ascontiguousarray(PICTURE[..., ::-1])).convert(mode)
    picture.save(
        file, "PNG", pnginfo=texts, dpi=(300, 300), exif=b"Exif\0\0" + exif(), **({"icc_profile": SRGB} | more)
    )
    return file.getvalue() + b"BEHIND"


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_png_keeps_its_picture_and_nothing_else(mode: str) -> None:
    data = dirty_png(mode)
    kept = kept_png(data)
    assert kept is not None and np.array_equal(decoded(kept[1]), decoded(data))
    names = [kept[1][at + 4 : at + 8] for at in chunks(kept[1])]
    assert set(names) == {b"IHDR", b"IDAT", b"IEND"} and not any(secret in kept[1] for secret in SECRETS)
    assert kept_png(dirty_png("RGB", icc_profile=lab_profile())) is None


def chunks(data: bytes) -> list[int]:
    found, at = [], 8
    while at < len(data):
        found.append(at)
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    made = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:33] + made + data[33:]


def test_png_brightness_stays() -> None:
    plain = cv2.imencode(".png", PICTURE)[1].tobytes()
    data = with_chunk(plain, b"gAMA", struct.pack(">I", 100000))
    kept = kept_png(data)
    assert kept is not None and kept[1] == data


def folder(tmp_path: Path, **files: bytes) -> Path:
    (tmp_path / "f").mkdir(exist_ok=True)
    for name, data in files.items():
        (tmp_path / "f" / name.replace("_", ".")).write_bytes(data)
    pack(sorted((tmp_path / "f").iterdir()), packed := tmp_path / "f.frames.zip")
    return packed


def taken(packed: Path) -> list[bytes]:
    sink = Extractor(range(100))
    stacks.read(packed, Format.IMAGES, sink)
    return [picture.data for picture in sink.pictures]


def test_what_is_stored_of_a_folder_has_no_metadata(tmp_path: Path) -> None:
    files = {"a_jpg": dirty_jpeg(), "b_jpg": dirty_jpeg(turn=6), "c_png": dirty_png(), "d_png": dirty_png("P"),
             "e_jpg": dirty_jpeg(profile=lab_profile()), "f_png": dirty_png("RGBA")}  # fmt: skip
    stored = taken(folder(tmp_path, **files))
    assert len(stored) == 6
    assert not any(secret in data for data in stored for secret in SECRETS)
    assert decoded(stored[1]).shape == (128, 96, 3), "turned as EXIF says"
    for picture, name in ((stored[0], "a_jpg"), (stored[2], "c_png"), (stored[5], "f_png")):
        assert np.abs(decoded(picture).astype(int) - decoded(files[name])).mean() < 3


def test_ink_and_deep_pictures(tmp_path: Path) -> None:
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(PICTURE[..., ::-1])).convert("CMYK").save(file, "JPEG", quality=95)
    (stored,) = taken(folder(tmp_path, a_jpg=file.getvalue()))
    assert np.abs(decoded(stored).astype(int) - PICTURE).mean() < 5
    deep = cv2.imencode(".png", numbered(5).astype(np.uint16) * 16)[1].tobytes()
    (tmp_path / "f" / "a.jpg").unlink()
    (stored,) = taken(folder(tmp_path, a_png=deep))
    assert np.abs(decoded(stored)[..., 0].astype(int) - numbered(5)).max() < 12


def animation() -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(PICTURE).save(file, "PNG", save_all=True, append_images=[Pillow.fromarray(255 - PICTURE)])
    return file.getvalue()


def pages() -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(PICTURE).save(file, "TIFF", save_all=True, append_images=[Pillow.fromarray(255 - PICTURE)])
    return file.getvalue()


def half_transparent() -> bytes:
    return bytes(cv2.imencode(".png", np.dstack([PICTURE, numbered(7)]))[1].tobytes())


def transparent_colour() -> bytes:
    return with_chunk(cv2.imencode(".png", numbered(3))[1].tobytes(), b"tRNS", struct.pack(">H", 255))


@pytest.mark.parametrize(
    ("make", "says"),
    [(animation, "animation"), (pages, "2 pages"), (half_transparent, "transparent"),
     (transparent_colour, "transparent")],
)  # fmt: skip
def test_odd_pictures_are_refused_by_name(tmp_path: Path, make: object, says: str) -> None:
    name = "b_tif" if make is pages else "b_png"
    packed = folder(tmp_path, a_png=cv2.imencode(".png", PICTURE)[1].tobytes(), **{name: make()})  # type: ignore[operator]
    with pytest.raises(UnreadableRecording, match=f"'b{name[1:].replace('_', '.')}'.*{says}"):
        taken(packed)


def test_cut_damaged_and_foreign_pictures_are_lost_frames() -> None:
    png, jpeg = cv2.imencode(".png", PICTURE)[1].tobytes(), encode_jpeg(PICTURE)
    gif = io.BytesIO()
    Pillow.fromarray(numbered(1)).save(gif, "GIF")
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 255
    for data in (
        png[:-20],
        png[: len(png) // 2],
        bytes(damaged),
        jpeg[: len(jpeg) // 2],
        gif.getvalue(),
        b"",
        b"BM",
        b"II*\0",
    ):
        try:
            assert decode_image(data) is None
        except UnreadableRecording:
            assert data == b"II*\0"


@pytest.mark.parametrize("seed", range(6))
def test_damage_anywhere_is_no_crash(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for whole in (dirty_jpeg(), dirty_png(), dirty_jpeg(progressive=True)):
        for _ in range(60):
            data = bytearray(whole)
            for at in generator.integers(0, len(data), 6):
                data[at] = generator.integers(0, 256)
            cut = bytes(data[: generator.integers(1, len(data))]) if generator.random() < 0.3 else bytes(data)
            for look in (stripped, kept_jpeg, kept_png, decode_image):
                try:
                    look(cut)
                except UnreadableRecording as error:
                    assert str(error)
