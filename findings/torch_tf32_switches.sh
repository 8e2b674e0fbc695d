#!/usr/bin/env bash
# torch 2.14.1 (2.15.0 too) and 2.10.0: the switches for TF32 that have an operator's name (`fp32_precision`, since 2.9) and the older ones do
# not read each other. After one of the new ones is set, reading an old one raises, and torch.compile reads the old ones
# for CUDA (torch/_inductor: kernel/bmm.py and kernel/conv.py in 2.14, compile_fx.py in 2.10). Nor does the switch of a whole
# library do what its name says: `torch.backends.cudnn.fp32_precision = "ieee"` moves matrix products in 2.14 as well, and in
# 2.10 moves them and leaves the convolutions, which it is about, in TF32. The old switches are consistent in both: the new
# names read what they set. Needs no GPU: only switches are set and read.
#
# Seen with Python 3.11 on Linux, with both versions but for what is in brackets:
#   after                                 matmul.allow_tf32  cudnn.allow_tf32  matmul  conv
#   cudnn.fp32_precision = ieee           False              RAISES            ieee    ieee      (2.10: True, tf32)
#   matmul.fp32_precision = tf32          RAISES             True              tf32    tf32
#   set_float32_matmul_precision("high")  True               True              tf32    tf32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/switches.py" <<'PY'
import sys

import torch


def read(switch):
    try:
        return switch()
    except RuntimeError:
        return "RAISES"


exec(sys.argv[1])
backends = torch.backends
print(
    read(lambda: backends.cuda.matmul.allow_tf32),
    read(lambda: backends.cudnn.allow_tf32),
    backends.cuda.matmul.fp32_precision,
    backends.cudnn.conv.fp32_precision,
)
PY
same=0
for pins in "torch==2.14.1 numpy==2.4.0" "torch==2.10.0 numpy==2.4.0"; do
    rm -rf "$folder/venv"
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check $pins
    after() { "$folder/venv/bin/python" "$folder/switches.py" "$1" 2>"$folder/log"; }
    whole=$(after 'torch.backends.cudnn.fp32_precision = "ieee"')
    products=$(after 'torch.backends.cuda.matmul.fp32_precision = "tf32"')
    old=$(after 'torch.set_float32_matmul_precision("high")')
    printf '%s\n  %s\n  %s\n  %s\n' "$pins" "$whole" "$products" "$old"
    case $pins in *2.14*) expected="False RAISES ieee ieee" ;; *) expected="False True ieee tf32" ;; esac
    [ "$whole" = "$expected" ] && [ "$products" = "RAISES True tf32 tf32" ] && [ "$old" = "True True tf32 tf32" ] || same=1
done
exit $same
