"""Batch normalisation over the global batch. torch.nn.SyncBatchNorm does it on CUDA only."""

import torch
from torch import Tensor, nn

from sparring.distributed.collectives import global_moments, world_size
from sparring.errors import UsageError


def synchronize_batch_norm(network: nn.Module) -> None:
    """Make a network's batch normalisation use the statistics of the global batch, where there are several processes.

    Its parameters and buffers stay, under the same names.
    """
    if world_size() == 1:
        return
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            if not (child.affine and child.track_running_stats and child.momentum is not None):
                raise UsageError(f"cannot synchronize the layer {name!r}: {child}")
            layer = _GlobalBatchNorm(child.num_features, child.eps, child.momentum)
            layer._parameters, layer._buffers = child._parameters, child._buffers
            setattr(network, name, layer.train(child.training))
        else:
            synchronize_batch_norm(child)


class _GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the mean and variance of the rows of all processes together."""

    def _check_input_dim(self, samples: Tensor) -> None:
        """Any shape [batch, features, ...]."""

    def forward(self, samples: Tensor) -> Tensor:
        """The normalised batch."""
        if not self.training:
            return super().forward(samples)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        given = samples.dtype
        samples = samples.to(self.weight.dtype)  # under autocast sums of bfloat16 would lose digits
        shape = (1, -1, *[1] * (samples.ndim - 2))
        mean, variance, n = global_moments(samples, [0, *range(2, samples.ndim)])
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return torch.addcmul((self.bias - mean * scale).view(shape), samples, scale.view(shape)).to(given)
