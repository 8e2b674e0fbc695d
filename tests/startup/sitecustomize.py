"""With this directory in PYTHONPATH, every Python process arms the failpoints that its environment names."""

import os
import sys
from pathlib import Path

if os.environ.get("FAILPOINTS"):
    sys.path.append(str(Path(__file__).parents[2]))
    from tests import failpoints

    failpoints.arm()
