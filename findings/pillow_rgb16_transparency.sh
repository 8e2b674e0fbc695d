#!/usr/bin/env bash
# Pillow 13.0.0: of a PNG with 16 bits a colour (colour type 2, bit depth 16) it keeps the upper 8 bits of every pixel,
# but of info["transparency"], the one colour that the file calls transparent (tRNS, 16 bits), convert("RGBA") takes the
# lower 8. They match where a file was widened from 8 bits (each byte twice), and nowhere else: a picture that was made
# with 16 bits comes out opaque, and a loader that lays transparent pictures on white shows the background's own colour.
#
# Seen on Python 3.11, Linux:
#   widened: transparency (51400, 25700, 12850), alpha of the two pixels [0, 255]
#   made with 16 bits: transparency (51216, 25616, 12816), alpha of the two pixels [255, 255]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PY'
import io
import struct
import zlib

from PIL import Image

FILES = {"widened": (0xC8C8, 0x6464, 0x3232), "made with 16 bits": (0xC810, 0x6410, 0x3210)}
DRAWN = (0, 0, 0)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(background: tuple[int, int, int]) -> bytes:
    """Two pixels, of which the first has the colour that is called transparent."""
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = b"\0" + struct.pack(">6H", *background, *DRAWN)
    parts = (chunk(b"IHDR", header), chunk(b"tRNS", struct.pack(">3H", *background)), chunk(b"IDAT", zlib.compress(pixels)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


alphas = {}
for name, background in FILES.items():
    picture = Image.open(io.BytesIO(png(background)))
    picture.load()
    assert picture.getpixel((0, 0)) == (200, 100, 50)
    alphas[name] = [picture.convert("RGBA").getpixel((x, 0))[3] for x in (0, 1)]
    print(f"{name}: transparency {picture.info['transparency']}, alpha of the two pixels {alphas[name]}")
assert alphas == {"widened": [0, 255], "made with 16 bits": [255, 255]}, alphas
PY
