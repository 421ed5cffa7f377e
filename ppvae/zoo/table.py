"""The zoo: each published method as a row (model, guide, objective)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        model: where its generative program is, ``file:Class`` in :mod:`ppvae.models`.
        guide: where its guide is, ``file:Class`` in :mod:`ppvae.guides`.
        objective: a name of :mod:`ppvae.objectives`.
        reference: the paper.
        when: when to use it.
        options: options that differ from the defaults of its parts.
        warmup: steps over which the weight of its latents grows, where nobody chooses ``kl_warmup``.
    """

    model: str
    guide: str
    objective: str
    reference: str
    when: str
    options: Mapping[str, Any] = field(default_factory=dict)
    warmup: int = 0


METHODS = {
    "vae": Row(
        "joint:Joint",
        "product:Product",
        "elbo",
        "Kingma & Welling 2014, arXiv:1312.6114",
        "one modality, or several seen as one: the baseline",
        {"prior_expert": False},
    ),
    "mvae": Row(
        "joint:Joint",
        "product:Product",
        "mvae",
        "Wu & Goodman 2018, arXiv:1802.05335",
        "sharp joint posteriors; any subset may be missing",
        warmup=500,
    ),
    "gpoe": Row(
        "joint:Joint",
        "generalised_product:GeneralisedProduct",
        "elbo",
        "Cao & Fleet 2014, arXiv:1410.7827",
        "modalities of unequal or overlapping information: each expert's weight is learned",
    ),
    "mmvae": Row(
        "joint:Joint",
        "mixture:Mixture",
        "mmvae",
        "Shi et al. 2019, arXiv:1911.03393",
        "translation from one modality to another",
        {"prior": "diagonal"},
    ),
    "mmjsd": Row(
        "joint:Joint",
        "mixture:Mixture",
        "mmjsd",
        "Sutter et al. 2020, arXiv:2006.08242",
        "a mixture whose experts are pulled towards their common mean",
    ),
    "mopoe": Row(
        "joint:Joint",
        "mixture_of_products:MixtureOfProducts",
        "elbo",
        "Sutter et al. 2021, arXiv:2105.02470",
        "translation from any subset, at the price of a broader posterior",
    ),
    "mvtcae": Row(
        "joint:Joint",
        "product:Product",
        "mvtcae",
        "Hwang et al. 2021, NeurIPS 34",
        "sharp posteriors that each modality alone comes close to",
        {"prior_expert": False},
    ),
    "crmvae": Row(
        "joint:Joint",
        "product:Product",
        "crmvae",
        "Suzuki & Matsuo 2023, openreview.net/forum?id=Rn8u4MYgeNJ",
        "as mvtcae, with each modality reconstructed from itself too",
        {"prior_expert": False},
    ),
    "barycentre": Row(
        "joint:Joint",
        "barycentre:Barycentre",
        "elbo",
        "Qiu et al. 2025, arXiv:2412.20487",
        "a joint posterior no sharper than its experts are",
    ),
    "mobarycentre": Row(
        "joint:Joint",
        "mixture_of_barycentres:MixtureOfBarycentres",
        "elbo",
        "Qiu et al. 2025, arXiv:2412.20487",
        "as barycentre, for translation from any subset",
    ),
    "code": Row(
        "joint:Joint",
        "consensus:Consensus",
        "weighted",
        "Mancisidor et al. 2025, arXiv:2505.01134",
        "modalities that repeat each other: experts are not counted as independent",
    ),
    "helvae": Row(
        "joint:Joint",
        "holder:Holder",
        "elbo",
        "Vo & Valera 2026, arXiv:2601.06572",
        "between product and mixture, one Gaussian, without subsets",
        {"exact": False},
    ),
    "holder": Row(
        "joint:Joint",
        "holder:Holder",
        "elbo",
        "Vo, Martínez-García & Valera 2026, arXiv:2606.13381",
        "as helvae, the pool itself instead of its moments",
    ),
    "set_encoder": Row(
        "joint:Joint",
        "set_encoder:SetEncoder",
        "set_encoder",
        "Hirt et al. 2024, arXiv:2309.00380",
        "how modalities combine is learned, not given by a formula",
    ),
    "jmvae": Row(
        "joint:Joint",
        "joint_encoder:JointEncoder",
        "jmvae",
        "Suzuki et al. 2016, arXiv:1611.01891",
        "mostly complete rows: one network sees all modalities at once",
    ),
    "telbo": Row(
        "joint:Joint",
        "joint_encoder:JointEncoder",
        "telbo",
        "Vedantam et al. 2018, arXiv:1705.10762",
        "as jmvae, in two stages: single modalities never disturb the model",
    ),
    "jnf": Row(
        "joint:Joint",
        "flow_surrogates:FlowSurrogates",
        "jnf",
        "Senellart et al. 2023, arXiv:2305.11832",
        "single modalities that leave much open: their posteriors are flows",
    ),
    "dmvae": Row(
        "shared_private:SharedPrivate",
        "product_private:ProductPrivate",
        "dmvae",
        "Lee & Pavlovic 2021, arXiv:2012.13024",
        "what only one modality shows gets latents of its own; products",
    ),
    "mmvae_plus": Row(
        "shared_private:SharedPrivate",
        "mixture_private:MixturePrivate",
        "mmvae",
        "Palumbo et al. 2023, openreview.net/forum?id=sdQGxouELX",
        "what only one modality shows gets latents of its own; mixtures",
    ),
    "cmvae": Row(
        "clustered:Clustered",
        "mixture_private:MixturePrivate",
        "mmvae",
        "Palumbo et al. 2024, openreview.net/forum?id=k5THrhXDV3",
        "items that fall into groups: the shared latent is clustered",
    ),
    "mmvm": Row(
        "separate:Separate",
        "separate:Separate",
        "mmvm",
        "Sutter et al. 2024, arXiv:2403.05300",
        "representations of each modality that share softly",
    ),
    "nexus": Row(
        "hierarchical:Hierarchical",
        "hierarchical:Hierarchical",
        "dropout",
        "Vasco et al. 2022, doi:10.1016/j.neunet.2021.11.019",
        "many unlike modalities: each keeps a latent under a common one",
    ),
    "mhvae": Row(
        "ladder:Ladder",
        "ladder:Ladder",
        "elbo",
        "Dorent et al. 2023, arXiv:2309.08747",
        "detail at several scales: a hierarchy of shared latents",
    ),
    "cvae": Row(
        "conditional:Conditional",
        "conditional:Conditional",
        "elbo",
        "Sohn et al. 2015, NeurIPS 28",
        "one modality is always the cause and is never to be predicted",
    ),
    "m2": Row(
        "labelled:Labelled",
        "labelled:Labelled",
        "m2",
        "Kingma et al. 2014, arXiv:1406.5298",
        "few labels and many items without: a class is one of the latents",
    ),
    "mofa": Row(
        "factor:Factor",
        "factor:Factor",
        "elbo",
        "Argelaguet et al. 2018, doi:10.15252/msb.20178124",
        "loadings that can be read: linear, sparse, Bayesian",
    ),
    "delayed": Row(
        "delayed:Delayed",
        "delayed:Delayed",
        "elbo",
        "Archer et al. 2015, arXiv:1511.07367",
        "series that see the same thing with unknown lags between them",
    ),
}


def find(name: str) -> Row:
    """The row of a method."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]
