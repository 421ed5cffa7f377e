"""Metrics: what a fitted pair is worth on data that it never saw. Calls inference and below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

show(
    __name__,
    {
        "aggregate_prior": "with_aggregate_prior",
        "bootstrap": "Interval interval",
        "classifiers": "Judged Judges crossed judges",
        "clustering": "Clustering clustering",
        "coherence": "agreement coherence coherence_intervals coherences label_coherences "
        "prior_coherence prior_coherence_intervals",
        "distances.edit_distance": "edit_distance levenshtein",
        "distances.frechet": "frechet",
        "distances.mel_distance": "log_mel loudness_distance mel_distance",
        "distances.ssim": "ssim",
        "predictive_means": "generated predicted",
        "probes": "probe probes",
        "proper_scores": "conditional_evidence crps energy predictive_scores",
        "reconstruction": "likeness likenesses r2 reconstruction",
        "retrieval": "Retrieval matched retrieval",
        "skills": "Skill accuracy baselines skills",
        "subsets": "anything encoded shown",
    },
)

if TYPE_CHECKING:
    from ppvae.metrics.aggregate_prior import with_aggregate_prior as with_aggregate_prior
    from ppvae.metrics.bootstrap import Interval as Interval
    from ppvae.metrics.bootstrap import interval as interval
    from ppvae.metrics.classifiers import Judged as Judged
    from ppvae.metrics.classifiers import Judges as Judges
    from ppvae.metrics.classifiers import crossed as crossed
    from ppvae.metrics.classifiers import judges as judges
    from ppvae.metrics.clustering import Clustering as Clustering
    from ppvae.metrics.clustering import clustering as clustering
    from ppvae.metrics.coherence import agreement as agreement
    from ppvae.metrics.coherence import coherence as coherence
    from ppvae.metrics.coherence import coherence_intervals as coherence_intervals
    from ppvae.metrics.coherence import coherences as coherences
    from ppvae.metrics.coherence import label_coherences as label_coherences
    from ppvae.metrics.coherence import prior_coherence as prior_coherence
    from ppvae.metrics.coherence import prior_coherence_intervals as prior_coherence_intervals
    from ppvae.metrics.distances.edit_distance import edit_distance as edit_distance
    from ppvae.metrics.distances.edit_distance import levenshtein as levenshtein
    from ppvae.metrics.distances.frechet import frechet as frechet
    from ppvae.metrics.distances.mel_distance import log_mel as log_mel
    from ppvae.metrics.distances.mel_distance import loudness_distance as loudness_distance
    from ppvae.metrics.distances.mel_distance import mel_distance as mel_distance
    from ppvae.metrics.distances.ssim import ssim as ssim
    from ppvae.metrics.predictive_means import generated as generated
    from ppvae.metrics.predictive_means import predicted as predicted
    from ppvae.metrics.probes import probe as probe
    from ppvae.metrics.probes import probes as probes
    from ppvae.metrics.proper_scores import conditional_evidence as conditional_evidence
    from ppvae.metrics.proper_scores import crps as crps
    from ppvae.metrics.proper_scores import energy as energy
    from ppvae.metrics.proper_scores import predictive_scores as predictive_scores
    from ppvae.metrics.reconstruction import likeness as likeness
    from ppvae.metrics.reconstruction import likenesses as likenesses
    from ppvae.metrics.reconstruction import r2 as r2
    from ppvae.metrics.reconstruction import reconstruction as reconstruction
    from ppvae.metrics.retrieval import Retrieval as Retrieval
    from ppvae.metrics.retrieval import matched as matched
    from ppvae.metrics.retrieval import retrieval as retrieval
    from ppvae.metrics.skills import Skill as Skill
    from ppvae.metrics.skills import accuracy as accuracy
    from ppvae.metrics.skills import baselines as baselines
    from ppvae.metrics.skills import skills as skills
    from ppvae.metrics.subsets import anything as anything
    from ppvae.metrics.subsets import encoded as encoded
    from ppvae.metrics.subsets import shown as shown
