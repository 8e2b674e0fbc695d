#!/usr/bin/env bash
# torch 2.14.1 (2.15.0 too): torch.compile finds compiled code for the CPU in its cache by the graph and the library's version, not by
# the vector instructions that it was generated for. A cache that was filled with AVX2 and is then used with AVX-512 (one
# folder for several machines, or ATEN_CPU_CAPABILITY set once) gives wrong numbers without a word: loops that step by 8
# values are compiled anew with vectors of 16. The other way round is right here. With a folder of its own for each
# capability all is well. Needs a processor with AVX-512 and a C++ compiler.
#
# Seen on an Intel Xeon, Python 3.11, Linux, g++ 12: the largest difference between a small compiled network and the same
# network as it is, outputs being of size 1:
#   avx2, fresh folder: 0.00
#   avx512, the same folder: 0.68
#   avx512, fresh folder: 0.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.0
cat >"$folder/compare.py" <<'PY'
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
inputs = torch.randn(16, 3)
print(f"{(torch.compile(model)(inputs) - model(inputs)).abs().max().item():.2f}")
PY
difference() { ATEN_CPU_CAPABILITY=$1 TORCHINDUCTOR_CACHE_DIR=$folder/$2 "$folder/venv/bin/python" "$folder/compare.py" 2>"$folder/log"; }
first=$(difference avx2 one)
shared=$(difference avx512 one)
own=$(difference avx512 two)
printf 'avx2, fresh folder: %s\navx512, the same folder: %s\navx512, fresh folder: %s\n' "$first" "$shared" "$own"
[ "$first" = 0.00 ] && [ "$own" = 0.00 ] && [ "$shared" != 0.00 ]
