"""Metrics: what a fitted pair is worth on data that it never saw."""

from ppvae.metrics.aggregate import with_aggregate_prior
from ppvae.metrics.crossing import coherence, coherence_intervals, coherences
from ppvae.metrics.encoding import encoded
from ppvae.metrics.evidences import conditional_evidence
from ppvae.metrics.generating import agreement, prior_coherence, prior_coherence_intervals
from ppvae.metrics.grouping import Clustering, clustering
from ppvae.metrics.hearing import log_mel, mel_distance
from ppvae.metrics.judging import Judged, Judges, judges
from ppvae.metrics.noiseless import generated, predicted
from ppvae.metrics.probing import probe, probes
from ppvae.metrics.reconstructing import r2, reconstruction
from ppvae.metrics.resampling import Interval, interval
from ppvae.metrics.resembling import frechet
from ppvae.metrics.retrieving import Retrieval, matched, retrieval
from ppvae.metrics.scoring import crps, energy, predictive_scores
from ppvae.metrics.seeing import ssim
from ppvae.metrics.shown import anything, shown
from ppvae.metrics.spelling import edit_distance, levenshtein

__all__ = [
    "Clustering",
    "Interval",
    "Judged",
    "Judges",
    "Retrieval",
    "agreement",
    "anything",
    "clustering",
    "coherence",
    "coherence_intervals",
    "coherences",
    "conditional_evidence",
    "crps",
    "edit_distance",
    "encoded",
    "energy",
    "frechet",
    "generated",
    "interval",
    "judges",
    "levenshtein",
    "log_mel",
    "matched",
    "mel_distance",
    "predicted",
    "predictive_scores",
    "prior_coherence",
    "prior_coherence_intervals",
    "probe",
    "probes",
    "r2",
    "reconstruction",
    "retrieval",
    "shown",
    "ssim",
    "with_aggregate_prior",
]
