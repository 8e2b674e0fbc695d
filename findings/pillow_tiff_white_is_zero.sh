#!/usr/bin/env bash
# Pillow 13.0.0: a grey TIFF may say that its smallest value is white (PhotometricInterpretation 0, WhiteIsZero), as
# scans and X-rays do. With 8 bits a pixel Pillow inverts it while decoding, so that 0 comes out as 255; with 16 bits it
# hands on the values as they are stored, and the picture is a negative of what was meant. Nothing in its mode (I;16) or
# its info tells; tag_v2[262] does.
#
# Seen on Python 3.11, Linux:
#   8 bits: mode L, tag 262 is 0, stored [0, 255], read [255, 0]
#   16 bits: mode I;16, tag 262 is 0, stored [0, 65535], read [0, 65535]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.1
"$folder/venv/bin/python" - <<'PY'
import io
import struct

import numpy as np
from PIL import Image

BLACK_IS_ZERO, WHITE_IS_ZERO = (struct.pack("<HHIHH", 262, 3, 1, meaning, 0) for meaning in (1, 0))

read = {}
for bits, kind in ((8, np.uint8), (16, np.uint16)):
    stored = np.array([[0, 2**bits - 1]], dtype=kind)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "tiff")
    content = file.getvalue()
    assert content.count(BLACK_IS_ZERO) == 1
    picture = Image.open(io.BytesIO(content.replace(BLACK_IS_ZERO, WHITE_IS_ZERO)))
    read[bits] = np.asarray(picture).tolist()[0]
    mode, tag = picture.mode, picture.tag_v2[262]
    print(f"{bits} bits: mode {mode}, tag 262 is {tag}, stored {stored.tolist()[0]}, read {read[bits]}")
assert read == {8: [255, 0], 16: [0, 65535]}, read
PY
