"""Jobs of the study: one method trained once on mfeat, and everything that is measured of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import ppvae
from ppvae import Dataset, metrics
from ppvae.inference.fitted import Fitted
from ppvae.zoo import build

LABEL = "digit"
OFFSETS = {1: (0,), 2: (0, 1), 3: (0, 1, 3), 4: (0, 1, 2, 4), 5: (0, 1, 2, 3, 4)}
GIVEN = (1, 3, 5)  # views that coherence is measured from


@dataclass(frozen=True)
class Setting:
    """What all jobs have in common.

    ``draws`` is K of the multi-sample objectives, ``private`` the size of each private latent, ``fewer`` the particles
    of what is conditional, ``evidence_items`` how many test items evidence is averaged over.
    """

    epochs: int = 30
    lr: float = 5e-3
    kl_warmup: float = 10
    batch_size: int = 128
    latent: int = 16
    hidden: tuple[int, ...] = (128,)
    private: int = 4
    draws: int = 3
    particles: int = 1000
    fewer: int = 200
    evidence_items: int = 200
    generated: int = 1000
    components: int = 50

    def options(self, method: str) -> dict[str, Any]:
        """What of it a method takes."""
        known = build.options_of(method)
        return {name: getattr(self, name) for name in ("latent", "hidden", "private", "draws") if name in known}

    def training(self) -> dict[str, Any]:
        """The settings of training."""
        return {
            "epochs": self.epochs,
            "lr": self.lr,
            "batch_size": self.batch_size,
            "schedule": "cosine",
            "kl_warmup": self.kl_warmup,
        }

    @property
    def key(self) -> str:
        """Tells results under one setting from those under another."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


def job(method: str, seed: int, missing: float, setting: Setting) -> dict[str, Any]:
    """Train one method and measure it: a row of its results."""
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=seed)
    seen = incomplete(train, missing, seed)
    fitted = trained(method, seen, seed, setting)
    row = {"method": method, "seed": seed, "missing": missing, "setting": setting.key}
    return {**row, **evidences(fitted, test, setting), **coherences(fitted, seen, train, test, setting)}


def trained(method: str, seen: Dataset, seed: int, setting: Setting) -> Fitted:
    """The method, trained on what it may see."""
    vae = ppvae.method(method, seen.modalities or (), seed=seed, **setting.options(method))
    return ppvae.fit(vae, seen, seed=seed, device="cpu", progress=False, **setting.training())


def incomplete(data: Dataset, missing: float, seed: int) -> Dataset:
    """The data without a share of their entries (item, modality), chosen completely at random; all rows stay."""
    rng = np.random.default_rng([seed, 1])
    observed = {name: rng.random(len(data)) >= missing for name in data.arrays}
    return Dataset(data.arrays, observed, data.labels, data.modalities).refitted()


def evidences(fitted: Fitted, test: Dataset, setting: Setting) -> dict[str, float]:
    """Test evidence in nats per item: of everything, and of each modality given the others."""
    items = test.take(slice(setting.evidence_items))
    joint = fitted.log_evidence(items, particles=setting.particles).mean()
    each = metrics.conditional_evidence(fitted, items, setting.fewer)
    return {"evidence": float(joint), **{f"evidence_{name}": float(value.mean()) for name, value in each.items()}}


def coherences(fitted: Fitted, seen: Dataset, train: Dataset, test: Dataset, setting: Setting) -> dict[str, float]:
    """Cross-modal and prior coherence, and linear probes.

    Judges and probes are fitted to the complete training rows: they measure, and have no part in training.
    """
    judges = metrics.judges(train, LABEL)
    learned = metrics.with_aggregate_prior(fitted, seen, setting.components)
    found = {}
    for name, run in (("own", fitted), ("fitted", learned)):
        agreed = metrics.prior_coherence(run, judges, setting.generated)
        found |= {f"prior_{name}_{kind}": value for kind, value in agreed.items()}
    groups = [subsets(list(test.arrays), size) for size in GIVEN]
    crossed = iter(metrics.coherences(fitted, judges, test, [subset for group in groups for subset in group]))
    for size, group in zip(GIVEN, groups, strict=True):
        found[f"coherence_{size}"] = float(np.mean([np.mean(list(next(crossed).values())) for _ in group]))
    *single, whole = metrics.probes(fitted, train, test, LABEL, [*subsets(list(test.arrays), 1), list(test.arrays)])
    return {**found, "probe_1": float(np.mean(single)), "probe_all": whole}


def subsets(names: list[str], size: int) -> list[Collection[str]]:
    """As many subsets as there are modalities, in which each is given and asked equally often."""
    return [[names[(start + step) % len(names)] for step in OFFSETS[size]] for start in range(len(names))]


def bounds(seed: int, setting: Setting) -> dict[str, Any]:
    """What the judges make of the real test items: no method can be expected to do better."""
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=seed)
    judges = metrics.judges(train, LABEL)
    agreed = metrics.agreement(judges.read(test.arrays))
    scores = {f"accuracy_{name}": score for name, score in judges.accuracy(test).items()}
    return {"seed": seed, "setting": setting.key, **scores, **{f"agree_{kind}": v for kind, v in agreed.items()}}


def seconds(method: str, setting: Setting, epochs: int = 6, rounds: int = 2) -> dict[str, Any]:
    """Seconds per epoch on complete data, on both backends in turns, the first epoch left out.

    Of each epoch the fastest round counts, so that other work on the machine does less harm; their mean is taken,
    because the stages of an objective may differ.
    """
    train, _ = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    vae = ppvae.method(method, train.modalities or (), **setting.options(method))
    options = {**setting.training(), "epochs": epochs, "device": "cpu", "progress": False}
    taken: dict[str, list[list[float]]] = {"numpyro": [], "pyro": []}
    for _ in range(rounds):
        for backend, times in taken.items():
            history = ppvae.fit(vae, train, backend=backend, **options).history
            times.append([entry["seconds"] for entry in history[1:]])
    return {"method": method, "setting": setting.key, **{b: float(np.min(t, 0).mean()) for b, t in taken.items()}}
