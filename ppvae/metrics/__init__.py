"""Metrics: what a fitted pair is worth on data that it never saw."""

from ppvae.metrics.aggregate import with_aggregate_prior
from ppvae.metrics.crossing import coherence, coherences
from ppvae.metrics.evidences import conditional_evidence
from ppvae.metrics.generating import agreement, prior_coherence
from ppvae.metrics.judging import Judges, judges
from ppvae.metrics.noiseless import generated, predicted
from ppvae.metrics.probing import probe, probes
from ppvae.metrics.shown import anything, shown

__all__ = [
    "Judges",
    "agreement",
    "anything",
    "coherence",
    "coherences",
    "conditional_evidence",
    "generated",
    "judges",
    "predicted",
    "prior_coherence",
    "probe",
    "probes",
    "shown",
    "with_aggregate_prior",
]
