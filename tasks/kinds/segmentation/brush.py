"""Label Studio's run lengths of brush strokes ⇄ COCO's.

The format (`rle-pack` of thi.ng/umbrella, which Label Studio's page uses; `label_studio_sdk.converter.brush` reads it
bit by bit, trusts what it reads, and pulls in a dozen libraries): a stream of bits, the most significant first,

    32 bits  number of values: 4 a pixel (red, green, blue, alpha), along the rows
     5 bits  size of a value - 1: 8 bits
    4 x 4    the four sizes that a length may have - 1: 3, 4, 8, 16 bits
    then     1 bit: whether one value is repeated; 2 bits: which size; the length - 1; the value, or as many values

Alpha alone is the mask. The page smooths the edge of a stroke and leaves values between 0 and 255 there: a pixel
belongs to the mask where its alpha is at least half of the largest, which is 255 for what is painted,
and 1 or 100 for what some converters write.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.runs import Crop, Ints, crop_of_rows, crop_of_text, rows_of_crop

_CHANNELS = 4
_VALUE_BITS = 8
_SIZES = (3, 4, 8, 16)
_HEADER_BITS = 32 + 5 + 4 * 4
_REST = (1 << 64) - 1


def decode(stated: Any, width_px: int, height_px: int) -> Crop:
    """What a stroke covers.

    Args:
        stated: Label Studio's `rle`: a list of bytes.
        width_px: Of the picture that it was painted on.
        height_px: As `width_px`.

    Raises:
        ValueError: It is damaged, or of another picture; saying why.
    """
    data = _bytes_of(stated)
    lengths, covered = _alpha_runs(data, _header(data, width_px, height_px))
    end = np.cumsum(lengths)
    return crop_of_rows((end - lengths)[covered], end[covered], width_px)


def encode(counts: str, width_px: int, height_px: int) -> list[int]:
    """A mask, COCO's text of the whole picture, as Label Studio's `rle`."""
    start, end = rows_of_crop(crop_of_text(counts, height_px), width_px)
    edges = np.stack([start, end], axis=1).ravel() * _CHANNELS
    lengths = np.diff(np.concatenate([[0], edges, [width_px * height_px * _CHANNELS]]))
    values = np.where(np.arange(len(lengths)) % 2, 255, 0)
    return list(_packed(lengths[lengths > 0], values[lengths > 0], width_px * height_px * _CHANNELS))


def _bytes_of(stated: Any) -> bytes:
    if not isinstance(stated, list):
        raise ValueError("has no run lengths")
    try:
        data = bytes(stated)
    except (TypeError, ValueError) as error:
        raise ValueError("has run lengths that are not bytes") from error
    if len(data) * 8 < _HEADER_BITS:
        raise ValueError("has run lengths that are cut off")
    return data


def _header(data: bytes, width_px: int, height_px: int) -> list[int]:
    """The four sizes of lengths, in bits."""
    head = int.from_bytes(data[:8].ljust(8, b"\0"), "big") >> (64 - _HEADER_BITS)
    values, value_bits = head >> 21, (head >> 16 & 31) + 1
    if values != width_px * height_px * _CHANNELS:
        raise ValueError(f"was painted on a picture of {values / _CHANNELS:.12g} pixels, not {width_px} x {height_px}")
    if value_bits != _VALUE_BITS:
        raise ValueError(f"has values of {value_bits} bits, expected {_VALUE_BITS}")
    return [(head >> shift & 15) + 1 for shift in (12, 8, 4, 0)]


def _alpha_runs(data: bytes, sizes: list[int]) -> tuple[Ints, NDArray[np.bool_]]:
    """Lengths in pixels along the rows, and whether each is covered. One step a packet, not one a value."""
    wanted = int.from_bytes(data[:4], "big")
    padded, last = data + bytes(8), 8 * len(data)
    at, done = _HEADER_BITS, 0
    packets = []  # values before it, its values, the bit where its values stand, whether there is but one
    while done < wanted:
        byte, shift = at >> 3, at & 7
        window = int.from_bytes(padded[byte : byte + 8], "big") << shift & _REST
        size = sizes[window >> 61 & 3]
        count = (window >> (61 - size) & (1 << size) - 1) + 1
        repeated = window >> 63
        packets.append((done, count, at + 3 + size, repeated))
        at += 3 + size + _VALUE_BITS * (1 if repeated else count)
        done += count
        if at > last:
            raise ValueError("has run lengths that are cut off")
    if done != wanted:
        raise ValueError("has more values than its picture")
    table = np.array(packets, dtype=np.int64).reshape(-1, 4)
    return _pixels_of(np.frombuffer(padded, dtype=np.uint8), table[:, 0], table[:, 1], table[:, 2], table[:, 3] == 1)


def _pixels_of(
    data: NDArray[np.uint8], before: Ints, count: Ints, place: Ints, repeated: NDArray[np.bool_]
) -> tuple[Ints, NDArray[np.bool_]]:
    """Of all packets what says alpha: each fourth value."""
    pixels = (before + count) // _CHANNELS - before // _CHANNELS
    entries = np.where(repeated, np.minimum(pixels, 1), pixels)
    of = np.repeat(np.arange(len(entries)), entries)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(entries) - entries, entries)
    value = np.where(repeated, 0, (_CHANNELS - 1 - before) % _CHANNELS)[of] + _CHANNELS * nth
    bit = place[of] + _VALUE_BITS * value
    pair = data[bit >> 3].astype(np.int64) << 8 | data[(bit >> 3) + 1]
    alpha = pair >> (8 - (bit & 7)) & 255
    covered = (alpha > 0) & (2 * alpha >= alpha.max(initial=0))
    return np.where(repeated, pixels, 1)[of], covered


def _packed(lengths: Ints, values: Ints, total: int) -> bytes:
    """Runs of one value each as a stream of bits."""
    most = 1 << _SIZES[-1]
    packets = (lengths + most - 1) // most
    value = np.repeat(values, packets)
    count = np.full(len(value), most, dtype=np.int64)
    count[np.cumsum(packets) - 1] = lengths - (packets - 1) * most
    which = np.searchsorted(1 << np.array(_SIZES[:-1]), count)
    size = np.array(_SIZES)[which]
    code = ((4 | which) << size | (count - 1)) << _VALUE_BITS | value
    width = 3 + size + _VALUE_BITS
    bits = code[:, None] >> np.maximum(width[:, None] - 1 - np.arange(width.max(initial=0)), 0) & 1
    stream = bits[np.arange(bits.shape[1]) < width[:, None]]
    head = total << 21 | (_VALUE_BITS - 1) << 16 | (2 << 12 | 3 << 8 | 7 << 4 | 15)
    head_bits = head >> np.arange(_HEADER_BITS - 1, -1, -1) & 1
    return np.packbits(np.concatenate([head_bits, stream]).astype(np.uint8)).tobytes()
