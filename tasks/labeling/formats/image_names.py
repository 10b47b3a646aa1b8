"""Names of images, as label files have them: paths, addresses, and what Label Studio makes of a name.

Label Studio puts eight hex digits before the name of what is uploaded (`a1b2c3d4-name.png`) or downloaded
(`a1b2c3d4__name.png`), replaces blanks, percent-encodes, and in exports names files by an address of its own whose
query holds the true path (`?d=` for local files, `?fileuri=` in base64 for storages).
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
_PREFIX = re.compile(r"[0-9a-f]{8}(?:-|__)(?=.)")
_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{0,4}$")  # of 'clip.v2_0003', nothing is a suffix
_MOST_PREFIXES = 3  # an export that was uploaded again has two


def stem_of(file_name: str) -> str:
    """The name of an image without its folders and its suffix; of an address, of the path that it names."""
    return _without_suffix(last_part(_path_of(file_name)))


def spellings(image: str) -> Iterator[str]:
    """What an image may have been called before Label Studio, most literal first, each once, in NFC."""
    seen: set[str] = set()
    for spelling in _spellings(unicodedata.normalize("NFC", image)):
        if spelling and spelling not in seen:
            seen.add(spelling)
            yield spelling


def as_uploaded(stem: str) -> str:
    """A name as Label Studio keeps it on upload: blanks become _, and what may not stand in an address goes."""
    return re.sub(r"[^-\w.]", "", stem.strip().replace(" ", "_"))


def last_part(path: str) -> str:
    """What stands behind a path's last / or \\."""
    return re.split(r"[/\\]", path)[-1]


def _spellings(image: str) -> Iterator[str]:
    yield image
    decoded = last_part(unicodedata.normalize("NFC", unquote(image)))
    for spelling in (image, decoded):
        for _ in range(_MOST_PREFIXES):
            yield spelling
            if _image_suffix(spelling):  # name.png.txt
                yield _without_suffix(spelling)
            stripped = _PREFIX.sub("", spelling, count=1) if _PREFIX.match(spelling) else spelling
            if stripped == spelling:
                break
            spelling = stripped
        yield spelling


def _without_suffix(name: str) -> str:
    return _SUFFIX.sub("", name)


def _image_suffix(name: str) -> bool:
    found = _SUFFIX.search(name)
    return found is not None and found[0].lower() in IMAGE_SUFFIXES


def _path_of(name: str) -> str:
    """The path in an address; a plain path as it is (in which ? and # are characters like others)."""
    if "://" not in name and not name.startswith(("/data/", "/tasks/", "/projects/")):
        return name
    try:
        parts = urlsplit(name)
        query = parse_qs(parts.query)
    except ValueError:
        return name
    if "fileuri" in query:
        try:
            return base64.b64decode(query["fileuri"][0], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return name
    return query["d"][0] if "d" in query else parts.path
