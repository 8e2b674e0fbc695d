from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.command import run
from trainkit import predict
from trainkit.core.view import View
from trainkit.data.images.decoding import PictureSource, Resize
from trainkit.data.images.views import fitted_view, view_of
from trainkit.data.transforms.pipeline import fitted
from trainkit.tasks import Segmentation
from trainkit.tasks.segmentation import MaskPrediction, mask_of
