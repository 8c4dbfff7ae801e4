"""Every test process computes on one thread: two of them share the machine's two cores."""

import torch

torch.set_num_threads(1)
