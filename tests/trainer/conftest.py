"""Small models on one thread: results must not depend on how many there are, and other tests run beside these."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
