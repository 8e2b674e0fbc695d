#!/usr/bin/env bash
# torch 2.15.0, torchvision 0.29.2: the compiler (torch._dynamo, torch._inductor, sympy) is imported by programs that
# compile nothing, which takes as much processor time as `import torch` (1.5 s) once more:
# - the constructor of any optimizer (torch._compile._disable_dynamo, around add_param_group),
# - torch.use_deterministic_algorithms, also where it changes nothing (since torch has an inductor.config.deterministic),
# - `import torchvision`, all of it with any part, by ops/roi_align.py: `from torch._dynamo.utils import
#   is_compile_supported` at its top, above a function that "avoids eagerly importing dynamo".
#
# Seen on Python 3.11, Linux: modules of the compiler in sys.modules afterwards (and 1.4 s of processor time each).
#   pass: 0 modules
#   torch.optim.SGD([torch.zeros(1, requires_grad=True)]): 538 modules
#   torch.use_deterministic_algorithms(False): 538 modules
#   import torchvision.datasets: 538 modules
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 numpy==2.4.0
modules() {
    "$folder/venv/bin/python" -W ignore - "$1" <<'PY'
import sys, time
import torch

begin = time.process_time()
exec(sys.argv[1])
seconds = time.process_time() - begin
compiler = [name for name in sys.modules if name.startswith(("torch._dynamo.", "torch._inductor.", "sympy."))]
print(f"{sys.argv[1]}: {len(compiler)} modules")
print(f"  {seconds:.1f} s", file=sys.stderr)
PY
}
failed=0
for statement in "pass" "torch.optim.SGD([torch.zeros(1, requires_grad=True)])" \
    "torch.use_deterministic_algorithms(False)" "import torchvision.datasets"; do
    found=$(modules "$statement")
    echo "$found"
    count=${found##*: }
    if [ "$statement" = pass ]; then
        [ "${count% modules}" -lt 10 ] || failed=1
    else
        [ "${count% modules}" -gt 300 ] || failed=1
    fi
done
exit $failed
