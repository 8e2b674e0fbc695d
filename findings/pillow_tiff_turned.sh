#!/usr/bin/env bash
# Pillow 13.0.0 (and since 11.0.0; 10.4.0 is right): a TIFF whose orientation tag says that rows are columns (5 to 8) and
# which is not compressed is decoded with rows as long as they become after the turn. Its pixels come out scrambled, at the
# right size and without an error, with ImageOps.exif_transpose and without. Compressed (LZW), the same picture is right.
#
# Seen on Python 3.11, Linux (stored rows [0, 40, 80] and [120, 160, 200], orientation 6):
#   10.4.0, no compression: [[120, 0], [160, 40], [200, 80]]
#   13.0.0, no compression: [[160, 80, 0], [200, 120, 40]]
#   13.0.0, tiff_lzw: [[120, 0], [160, 40], [200, 80]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/read.py" <<'PY'
import sys

import numpy as np
from PIL import Image, ImageOps, __version__

compression = sys.argv[1]
stored = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
options = {} if compression == "none" else {"compression": compression}
Image.fromarray(stored).save("turned.tif", tiffinfo={274: 6}, **options)
with Image.open("turned.tif") as picture:
    read = np.asarray(ImageOps.exif_transpose(picture)).tolist()
print(f"{__version__}, {compression.replace('none', 'no compression')}: {read}")
right = read == np.rot90(stored, -1).tolist()
assert right == (sys.argv[2] == "right"), read
PY
for version in 10.4.0 13.0.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "pillow==$version" numpy==2.2.6
done
cd "$folder"
10.4.0/bin/python read.py none right
13.0.0/bin/python read.py none scrambled
13.0.0/bin/python read.py tiff_lzw right
