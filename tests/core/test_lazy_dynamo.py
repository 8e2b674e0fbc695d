from __future__ import annotations

import subprocess
import sys

FRESH = """
import inspect, sys, torch
from torch import nn
from trainkit.core.lazy_dynamo import defer_dynamo

defer_dynamo()
model = nn.Linear(3, 2)
optimizer = torch.optim.Adam(model.parameters())

def step():
    optimizer.zero_grad()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()

step()
optimizer.load_state_dict(optimizer.state_dict())
inspect.stack()  # looks into every module
assert "torch._dynamo.eval_frame" not in sys.modules
stand_in = sys.modules["torch._dynamo"]
zero_grad = torch.optim.Optimizer.zero_grad.__wrapped__
assert zero_grad in vars(zero_grad).values()  # torch believes it hidden from the compiler
"""
COMPILES = """
@torch.compiler.disable
def unseen(x):
    assert not torch.compiler.is_compiling()
    return x + 1

def seen(x):
    assert torch.compiler.is_compiling()
    return 2 * unseen(x)

assert torch.equal(torch.compile(seen, backend="eager")(torch.ones(2)), torch.full((2,), 4.0))
assert sys.modules["torch._dynamo"] is torch._dynamo is not stand_in
assert stand_in.reset is torch._dynamo.reset
step()
assert zero_grad not in vars(zero_grad).values()
real = torch._dynamo
defer_dynamo()
assert torch._dynamo is real
"""
SUBMODULE = """
from torch._dynamo.utils import counters
import torch._dynamo
assert torch._dynamo is sys.modules["torch._dynamo"] is not stand_in
step()
"""


def test_gives_way_as_soon_as_something_is_compiled() -> None:
    subprocess.run([sys.executable, "-c", FRESH + COMPILES], check=True)


def test_gives_way_to_an_import_of_what_is_in_it() -> None:
    subprocess.run([sys.executable, "-c", FRESH + SUBMODULE], check=True)
