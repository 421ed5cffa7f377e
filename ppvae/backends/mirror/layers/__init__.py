"""Layers: torch's layers, and the functions of ``torch.nn.functional`` behind them. Importing one fills the tables."""

from ppvae.backends.mirror.layers import (
    attention,
    convolution,
    draws,
    dropout,
    embedding,
    functional,
    margins,
    patches,
    pooling,
    projections,
    recurrent,
    resampling,
)

RULES = (
    attention,
    convolution,
    draws,
    dropout,
    embedding,
    functional,
    margins,
    patches,
    pooling,
    projections,
    recurrent,
    resampling,
)
