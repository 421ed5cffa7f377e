"""Guides: each runs on whatever is present, on both backends, and holds what its pool promises."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import laplace, norm

import ppvae
from ppvae import VAE, Batch, Dataset, Modality, objectives
from ppvae.guides.barycentre import Barycentre
from ppvae.guides.consensus import Consensus
from ppvae.guides.generalised_product import GeneralisedProduct
from ppvae.guides.holder import Holder
from ppvae.guides.joint_encoder import JointEncoder
from ppvae.guides.mixture import Mixture
from ppvae.guides.mixture_of_barycentres import MixtureOfBarycentres
from ppvae.guides.mixture_of_products import MixtureOfProducts
from ppvae.guides.product import Product
from ppvae.guides.set_encoder import SetEncoder
from ppvae.language import ppl
from ppvae.language.traces import alone, random_sites
from ppvae.models.joint import Joint
from ppvae.parts import experts

LATENT, ITEMS = 2, 6
SMALL: dict[str, Any] = {"latent": LATENT, "hidden": (5,)}
MODALITIES = [
    Modality("a", (3,), center=1.0, spread=2.0),
    Modality("b", (2, 2), center=-1.0),
    Modality("c", (1,), "poisson"),
]

GUIDES: dict[str, tuple[Any, dict[str, Any]]] = {
    "product": (Product, {}),
    "product without prior": (Product, {"prior_expert": False}),
    "generalised product": (GeneralisedProduct, {}),
    "generalised product by dimension": (GeneralisedProduct, {"weights": "dimension", "prior_expert": False}),
    "generalised product by input": (GeneralisedProduct, {"weights": "input"}),
    "mixture": (Mixture, {}),
    "mixture of laplaces": (Mixture, {"family": "laplace"}),
    "mixture of products": (MixtureOfProducts, {}),
    "barycentre": (Barycentre, {}),
    "mixture of barycentres": (MixtureOfBarycentres, {}),
    "holder": (Holder, {}),
    "holder matched": (Holder, {"exact": False}),
    "consensus": (Consensus, {}),
    "consensus learned": (Consensus, {"rho": None}),
    "set encoder": (SetEncoder, {"width": 3}),
    "set encoder with attention": (SetEncoder, {"width": 3, "pool": "attention"}),
    "set encoder with full covariance": (SetEncoder, {"width": 3, "family": "full"}),
    "set encoder with a flow": (SetEncoder, {"width": 3, "family": "flow"}),
    "joint encoder": (JointEncoder, {}),
}
DRAWN = {**GUIDES, "mixture of drawn products": (MixtureOfProducts, {"subsets": 2})}
# What no row of the zoo runs by default; the contract test of the zoo compiles the others in the quick tests.
VARIANTS = {
    "generalised product by dimension",
    "generalised product by input",
    "mixture of laplaces",
    "mixture of drawn products",
    "holder matched",
    "consensus learned",
    "set encoder with attention",
    "set encoder with full covariance",
    "set encoder with a flow",
}
guided = pytest.mark.parametrize("name", list(GUIDES))


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@cache
def guide(name: str) -> Any:
    """A guide in double precision with weights that are not small, so that its experts differ."""
    make, options = DRAWN[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = make(MODALITIES, **SMALL, **options).double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def arrays(filler: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Six items: one has everything, one nothing, others lack modalities or elements, which hold ``filler``."""
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(size=(ITEMS, 3)), "b": rng.normal(size=(ITEMS, 2, 2)), "c": rng.poisson(3, (ITEMS, 1))}
    seen = {
        "a": np.array([True, False, True, True, False, True]),
        "b": np.ones((ITEMS, 2, 2), bool),
        "c": np.array([True, False, False, True, True, True]),
    }
    seen["b"][[1, 3]] = False
    seen["b"][5, 0] = False
    holed = {name: np.where(ppvae.language.batch.over(seen[name], x), x, filler) for name, x in values.items()}
    return holed, seen


def ragged(filler: float = 0.0) -> Batch:
    values, seen = arrays(filler)
    return Batch({k: torch.as_tensor(v) for k, v in values.items()}, {k: torch.as_tensor(v) for k, v in seen.items()})


def log_prob(guide: Any, batch: Batch, z: Any) -> torch.Tensor:
    return random_sites(guide, alone(batch))["z"]["fn"].log_prob(z)


def values(*shape: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(2).normal(size=(*shape, ITEMS, LATENT)))


@pytest.mark.parametrize("name", list(DRAWN))
@pytest.mark.parametrize("given", [(), ("b",), ("a", "c"), ("a", "b", "c")])
def test_a_guide_runs_on_any_modalities_and_in_a_plate_of_draws(name: str, given: tuple[str, ...]) -> None:
    batch = ragged().given(given) if given else Batch(size=ITEMS)
    with ppl.items().draws(4):
        site = random_sites(guide(name), alone(batch))["z"]
    assert site["value"].shape == (4, ITEMS, LATENT)
    assert torch.isfinite(site["fn"].log_prob(site["value"])).all()
    assert site["fn"].log_prob(values(3, 4)).shape == (3, 4, ITEMS)


@pytest.mark.parametrize("name", list(DRAWN))
def test_with_nothing_present_z_is_standard(name: str) -> None:
    standard = laplace if name == "mixture of laplaces" else norm
    expected = standard.logpdf(values(1).numpy()).sum(-1)
    np.testing.assert_allclose(log_prob(guide(name), Batch(size=ITEMS), values(1)).detach(), expected, rtol=1e-9)
    ragged_found = log_prob(guide(name), ragged(), values(1))[..., 1]
    np.testing.assert_allclose(ragged_found.detach(), expected[..., 1], rtol=1e-9)


@guided
def test_what_fills_a_hole_moves_neither_density_nor_gradient(name: str) -> None:
    found = []
    for filler in (0.0, 1e9):
        guide(name).zero_grad()
        density = log_prob(guide(name), ragged(filler), values())
        density.sum().backward()
        found.append([density.detach(), *(p.grad for p in guide(name).parameters() if p.grad is not None)])
    assert all(one.equal(other) for one, other in zip(*found, strict=True))


@guided
def test_items_do_not_depend_on_each_other(name: str) -> None:
    found = log_prob(guide(name), ragged(), values())
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    batch = ragged()
    turned = Batch(
        {k: v[order] for k, v in batch.arrays.items()},
        {k: v[order] for k, v in (batch.observed or {}).items()},
    )
    torch.testing.assert_close(log_prob(guide(name), turned, values()[order]), found[order])


def test_the_order_of_modalities_does_not_matter() -> None:
    for name in ("product", "mixture", "mixture of products", "barycentre", "holder", "consensus", "set encoder"):
        make, options = GUIDES[name]
        turned = make(MODALITIES[::-1], **SMALL, **options).double()
        turned.load_state_dict(
            {**guide(name).state_dict(), **{k: v for k, v in turned.state_dict().items() if k == "members"}}
        )
        torch.testing.assert_close(log_prob(turned, ragged(), values()), log_prob(guide(name), ragged(), values()))


def compiled(names: Any) -> list[Any]:
    return [pytest.param(name, marks=[] if name in VARIANTS else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", compiled(GUIDES))
def test_both_backends_give_the_same_densities_and_gradients(name: str) -> None:
    report = ppvae.parity(VAE(Joint(MODALITIES, **SMALL), guide(name)), ragged(), dtype="float64")
    assert report["ok"], report


@pytest.mark.parametrize("name", list(DRAWN))
def test_training_moves_every_parameter_and_keeps_it_finite(name: str) -> None:
    check_training(name, "pyro")


@pytest.mark.parametrize("name", compiled([*GUIDES, "mixture of drawn products"]))
def test_training_on_numpyro_does_so_too(name: str) -> None:
    check_training(name, "numpyro")


def check_training(name: str, backend: str) -> None:
    make, options = DRAWN[name]
    torch.manual_seed(0)
    wide = {**SMALL, "hidden": (32,)}  # of five rectified units all may be off for each of six items
    vae = VAE(Joint(MODALITIES, **wide), make(MODALITIES, **wide, **options))
    before = {key: p.detach().clone() for key, p in vae.pair.named_parameters()}
    data = Dataset(*arrays(), modalities=MODALITIES)
    fitted = ppvae.fit(vae, data, backend=backend, epochs=2, batch_size=ITEMS, dtype="float64")
    after = dict(fitted.vae.pair.named_parameters())
    assert all(torch.isfinite(p).all() for p in after.values())
    still = {key for key, p in after.items() if p.equal(before[key])}
    assert still <= {"guide.subset_logits"}  # read by the objective ``weighted`` alone


def test_a_mixture_of_laplaces_has_their_density() -> None:
    loc, scale, present = (part.detach().numpy() for part in guide("mixture of laplaces").encoders(ragged()))
    loc, scale = (np.where(present[..., None], part, nothing) for part, nothing in ((loc, 0.0), (scale, 1.0)))
    weights = np.where(present.any(0), present, True) / np.maximum(present.sum(0), 3 * ~present.any(0))
    each = laplace.logpdf(values().numpy(), loc, scale).sum(-1)
    found = log_prob(guide("mixture of laplaces"), ragged(), values()).detach()
    np.testing.assert_allclose(found, logsumexp(each, 0, b=weights), rtol=1e-10)


def test_as_many_subsets_as_there_are_is_all_of_them() -> None:
    whole, some = (MixtureOfProducts(MODALITIES, **SMALL, subsets=k).double() for k in (None, 7))
    some.load_state_dict(whole.state_dict())
    assert log_prob(some, ragged(), values()).equal(log_prob(whole, ragged(), values()))


def test_the_density_over_drawn_subsets_is_on_average_that_over_all() -> None:
    whole = guide("mixture of products")
    some = MixtureOfProducts(MODALITIES, **SMALL, subsets=2).double()
    some.load_state_dict({k: v for k, v in whole.state_dict().items() if k != "members"})
    torch.manual_seed(0)
    with torch.no_grad():
        complete = [0]  # the item that has everything
        runs = torch.stack([log_prob(some, ragged(), values()).exp()[complete] for _ in range(400)])
        expected = log_prob(whole, ragged(), values()).exp()[complete]
    error = runs.std(0) / len(runs) ** 0.5
    assert (error < 0.1 * expected).all()
    assert ((runs.mean(0) - expected).abs() < 4 * error).all()


def test_no_list_of_all_subsets_is_kept_where_some_are_drawn() -> None:
    many = [Modality(f"m{i}", (1,)) for i in range(14)]
    made = MixtureOfProducts(many, **SMALL, subsets=3)
    assert dict(made.named_buffers()).keys() == {n for n, _ in made.named_buffers() if n.startswith("encoders.")}
    assert made(Batch({m.name: torch.ones(4, 1) for m in many})).shape == (4, LATENT)


def test_a_joint_encoder_speaks_for_complete_items_and_leaves_others_to_the_surrogates() -> None:
    made = guide("joint encoder")
    complete = torch.tensor([True, False, False, False, False, True])
    with torch.no_grad():
        loc, scale, present = made.encoders(ragged())
        surrogate = torch.distributions.Normal(*experts.product(loc, scale, present, prior=False))
        joint = torch.distributions.Normal(*made.joint(ragged()))
        expected = torch.where(complete[:, None], joint.log_prob(values()), surrogate.log_prob(values())).sum(-1)
        torch.testing.assert_close(log_prob(made, ragged(), values()), expected)


def test_incomplete_rows_teach_the_surrogates_and_complete_ones_the_joint_network() -> None:
    made = guide("joint encoder")
    for rows, learns in ((slice(2, 5), "encoders."), (slice(5, 6), "joint.")):
        batch = ragged()
        part = Batch(
            {k: v[rows] for k, v in batch.arrays.items()}, {k: v[rows] for k, v in (batch.observed or {}).items()}
        )
        made.zero_grad()
        log_prob(made, part, values()[rows]).sum().backward()
        moved = {k for k, p in made.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved
        assert all(key.startswith(learns) for key in moved)


def test_the_powers_of_a_generalised_product_follow_its_input() -> None:
    """Where powers come from the input, whatever favours a modality there gives its expert the whole say."""
    made = GeneralisedProduct(MODALITIES, **SMALL, weights="input", prior_expert=False).double()
    with torch.no_grad():
        for layers in made.powers.values():
            layers[-1].weight.zero_()
            layers[-1].bias.zero_()
        made.powers["a"][-1].weight[0, 0] = 1e3
        batch = ragged()
        batch.arrays["a"][0] = torch.tensor([50.0, 0.0, 0.0])  # type: ignore[index]
        loc, scale, _ = made.encoders(batch)
        z = values()
        sure = torch.distributions.Normal(loc[0, 0], scale[0, 0]).log_prob(z[0]).sum(-1)
        torch.testing.assert_close(log_prob(made, batch, z)[0], sure)


def test_a_correlation_out_of_range_is_refused() -> None:
    for rho in (-0.1, 1.0):
        with pytest.raises(ValueError, match="a correlation of experts is from 0 to below 1"):
            Consensus(MODALITIES, **SMALL, rho=rho)


def test_the_weights_of_a_consensus_learn_from_their_objective() -> None:
    made = Consensus(MODALITIES, **SMALL, rho=None)
    batch = ragged()
    shares = objectives.make("weighted")(Joint(MODALITIES, **SMALL), made, batch, 1.0)  # type: ignore[operator]
    sum(share.mean() for share in shares.values()).backward()
    for parameter in (made.subset_logits, made.rho_logit):
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any()


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_the_moments_of_a_mixture_reach_the_objective_mmjsd(backend: str) -> None:
    vae = VAE(Joint(MODALITIES, **SMALL), Mixture(MODALITIES, **SMALL), objectives.make("mmjsd"))
    fitted = ppvae.fit(vae, Dataset(*arrays(), modalities=MODALITIES), backend=backend, epochs=1, batch_size=ITEMS)
    assert np.isfinite([entry["loss"] for entry in fitted.history]).all()
