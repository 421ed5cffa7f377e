"""Fitted: a trained pair, and what it answers about data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

from ppvae.data.dataset import Dataset
from ppvae.inference import questions
from ppvae.inference.chunks import answer
from ppvae.inference.plain import Plain
from ppvae.inference.points import point
from ppvae.inference.predicted import as_measured
from ppvae.inference.questions import Question
from ppvae.language.batch import Batch, over
from ppvae.language.modality import Modality
from ppvae.language.ppl import BACKENDS
from ppvae.runs import checkpoint
from ppvae.runs.description import Description, describe, versions
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot
from ppvae.runs.vae import VAE

if TYPE_CHECKING:
    from ppvae.inference.consistency import Consistency
    from ppvae.inference.correction.answers import Posteriors

Given = Sequence[str] | None


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """A trained pair.

    Attributes:
        vae: the pair, holding the trained weights.
        modalities: what it was trained on.
        settings: how it was trained; its backend and dtype also run the answers.
        history: per epoch ``epoch``, ``loss`` and ``sites`` (nats per item), ``seconds``, and ``validation_loss``
            where there was validation data.
        snapshot: weights and optimiser state, from which training can go on.
        notes: facts about the run worth keeping, such as which rows were held out.

    Answers are computed item by item: an item's draws depend on the item and the seed alone, never on its row or on
    the other items. They stand on a ``posterior``: ``"guide"`` is q(z | x_given) as it was trained; ``"corrected"`` is
    each item's own, importance resampled from 1,000 particles of t distributions around its modes
    (:mod:`ppvae.inference.correction`), in JAX whichever backend trained the pair, with what all items share held at a
    draw of the guide; ``"auto"`` corrects the items whose k-hat is above 0.7, and resamples the guide's draws for the
    others. Answers of the last two say how each item was
    :class:`~ppvae.inference.correction.served.Served`: ``answer.served.stage``, ``.khat``, ``.passes``.
    """

    vae: VAE
    modalities: Sequence[Modality]
    settings: Settings
    history: Sequence[Mapping[str, Any]]
    snapshot: Snapshot
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        what = self.vae.recipe.get("method") or f"{type(self.vae.model).__name__} with {type(self.vae.guide).__name__}"
        loss = f", loss {self.history[-1]['loss']:.6g}" if self.history else ""
        end = f"{len(self.history)} epochs{loss}: {', '.join(self.names)}"
        return f"Fitted({what} on {self.settings.backend}, {end})"

    @property
    def names(self) -> list[str]:
        """The modalities that the run knows."""
        return [modality.name for modality in self.modalities]

    @property
    def explained(self) -> list[str]:
        """The modalities that the model explains, and does not take as given."""
        return [name for name in self.names if name not in self.vae.model.conditions]

    def known(self, names: Iterable[str]) -> list[str]:
        """The names as a list.

        Raises:
            ValueError: the run does not know one of them, or a single name was given in place of a list.
        """
        if isinstance(names, str):
            raise ValueError(f"modalities are given as a list of names: [{names!r}]")
        for name in (found := list(names)):
            if name not in self.names:
                raise ValueError(f"unknown modality {name!r}; this run knows {', '.join(self.names)}")
        return found

    def shown(self, data: Dataset, given: Given) -> list[str]:
        """What an answer sees of the data: what is given, all by default, and always what the model takes as given.

        Raises:
            TypeError: the data are no data set.
            ValueError: the run does not know one of the names.
        """
        if not isinstance(data, Dataset):
            raise TypeError(
                f"answers are about a data set, not a {type(data).__name__}: give ppvae.Dataset(arrays, "
                "modalities=[m for m in fitted.modalities if m.name in arrays])"
            )
        held = [name for name in self.names if name in data.arrays]
        always = [name for name in held if name in self.vae.model.conditions]
        return held if given is None else list(dict.fromkeys([*self.known(given), *always]))

    def asked(self, names: Iterable[str] | None) -> list[str]:
        """The modalities that are asked for: by default all that the model explains.

        Raises:
            ValueError: the run does not know one of them, or the model takes it as given.
        """
        for name in (found := self.explained if names is None else self.known(names)):
            if name not in self.explained:
                others = ", ".join(self.explained)
                raise ValueError(f"the model takes {name!r} as given and does not explain it; ask for {others}")
        return found

    def encode(
        self, data: Dataset, given: Given = None, draws: int = 1, seed: int = 0, posterior: str = "guide"
    ) -> dict[str, np.ndarray]:
        """Draws of each item's own latents from q(z | x_given): site to ``(draws, items, *event)``.

        What all items share is in :meth:`to_arviz`; each draw of theirs stands on one draw of that.
        """
        if posterior != "guide":
            return self._posteriors(data, given, seed, posterior).encode(draws)
        return self._ask(Question(questions.encode, draws, jointly=True), data, given, seed)

    def query(
        self,
        data: Dataset,
        given: Given = None,
        ask: Given = None,
        draws: int = 1,
        seed: int = 0,
        posterior: str = "guide",
    ) -> dict[str, np.ndarray]:
        """Draws of the asked modalities given the others: name to ``(draws, items, *shape)``.

        Each item is predicted from what it has of ``given`` (all by default), and of what the model takes as given.
        ``ask`` defaults to all modalities that the model explains. Elements that nobody measured in training are NaN.
        ``data.frame(name, values)`` gives values ``(items, elements)`` their ids and features back.
        """
        asked = tuple(self.asked(ask))
        if posterior != "guide":
            return self._posteriors(data, given, seed, posterior).query(asked, draws)
        drawn = self._ask(Question(questions.predict, draws, asked, jointly=True), data, given, seed)
        return as_measured(drawn, self.modalities)

    def generate(self, items: int, seed: int = 0, draws: int | None = None) -> dict[str, np.ndarray]:
        """New items from the model: name to ``(items, *shape)``.

        With ``draws`` each item is measured so many times, ``(draws, items, *shape)``: their mean is the item without
        its measurement noise.
        """
        keys = np.arange(items, dtype=np.uint32)
        question = Question(questions.generate, 1 if draws is None else draws, tuple(self.explained))
        found = answer(self.vae.pair, self.settings, question, Batch(size=items), keys, seed)
        drawn = as_measured(found, self.modalities)
        return drawn if draws is not None else {name: values[0] for name, values in drawn.items()}

    def impute(self, data: Dataset, draws: int = 100, seed: int = 0, posterior: str = "guide") -> dict[str, np.ndarray]:
        """The data with each hole filled by the mean of its predictive draws: name to ``(items, *shape)``.

        What nobody measured in training stays NaN. ``data.frame(name, values)`` gives ids and features back.
        A categorical element takes its most frequent draw, a text the draw that agrees with the others in most places.
        Modalities that the model takes as given are left out.
        """
        asked = [name for name in self.shown(data, None) if name not in self.vae.model.conditions]
        drawn = self.query(data, None, asked, draws, seed, posterior)
        observed = data.observed or {}
        for modality in self.modalities:
            if (name := modality.name) in drawn:
                values, array = drawn[name], data.arrays[name]
                whole = name not in observed
                drawn[name] = array if whole else np.where(over(observed[name], array), array, point(modality, values))
        return drawn

    def log_weights(
        self, data: Dataset, given: Given = None, particles: int = 1000, seed: int = 0, posterior: str = "guide"
    ) -> np.ndarray:
        """``log p(x_given, z) − log q(z | x_given)`` of each particle: ``(particles, items)``, in nats.

        Their mean over particles is the ELBO, their log mean exp the importance-weighted evidence. Corrected, q is what
        z was drawn from.
        """
        if posterior != "guide":
            return self._posteriors(data, given, seed, posterior).log_weights(particles)
        return self._ask(Question(questions.log_weights, particles, jointly=True), data, given, seed)["log_weights"]

    def log_evidence(
        self, data: Dataset, given: Given = None, particles: int = 1000, seed: int = 0, posterior: str = "guide"
    ) -> np.ndarray:
        """log p(x_given) of each item in nats, ``(items,)``: importance weighted (Burda et al. 2016).

        ``poutine.scale`` in a program tempers what training maximises; evidence, and every other answer, is of the
        densities as they are without it.
        """
        if posterior != "guide":
            return self._posteriors(data, given, seed, posterior).log_evidence(particles)
        return self.elbo_and_evidence(data, given, particles, seed)[1]

    def elbo_and_evidence(
        self, data: Dataset, given: Given = None, particles: int = 1000, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ELBO and log p(x_given) of each item in nats, ``(items,)`` each, by the same particles.

        Weights are summed chunk by chunk, so that memory does not grow with particles times items.
        """
        question = Question(questions.log_weights, particles, reduce=_sums)
        sums = self._ask(question, data, given, seed)["log_weights"]
        return sums[::2].sum(0) / particles, logsumexp(sums[1::2], axis=0) - np.log(particles)

    def consistency(self, data: Dataset, particles: int = 1000, seed: int = 0) -> Consistency:
        """Which modality of which item disagrees with the rest: ``log p(x_m | rest) − log p(x_m)``, in nats.

        ``found.suspects()`` are rows that may be mispaired, swapped or corrupted; ``fit(weights=)`` can do without.

        Raises:
            ValueError: the data have fewer than two modalities that the model explains.
        """
        from ppvae.inference.consistency import consistency

        return consistency(self, data, particles, seed)

    def to_arviz(
        self,
        data: Dataset,
        given: Given = None,
        draws: int = 100,
        seed: int = 0,
        coords: Mapping[str, Any] | None = None,
        posterior: str = "guide",
    ) -> Any:
        """Everything ArviZ can look at: an ``InferenceData`` on ArviZ 0.2x, an xarray ``DataTree`` on 1.x.

        Groups ``posterior``, ``posterior_predictive``, ``prior``, ``prior_predictive``, ``log_likelihood`` (nats, NaN
        where nothing was measured: leave such items out of ``az.loo``), ``sample_stats`` (log weights of the draws,
        their mean ``elbo``, and ``khat``), ``observed_data`` (NaN in holes) and ``constant_data`` (labels). Dimensions
        are ``chain`` (one), ``draw``, ``item``, ``latent`` for z and ``NAME_latent`` for other sites, ``NAME_feature``
        for a modality, numbered where it has several axes. A site called like a dimension gets an underscore:
        ``item_``. Draws are independent, so R-hat says nothing: ``az.summary(..., kind="stats")``.

        What all items share has no ``item``: each of its draws is that on which the draws of all items stand. Corrected
        items stand on draws of their own, so that it is left out there. Corrected draws count alike: ``sample_stats``
        has no weights, and says of each item its ``khat``, ``passes`` and ``stage``.

        Args:
            data: the items.
            given: what the posterior is conditioned on; all modalities by default.
            draws: of everything; ask for 1,000 before you trust ``khat``.
            seed: of the draws.
            coords: labels of a dimension's entries, ``{"item": ids, "rna_feature": genes}``; by default the data's ids
                and features where they have them, else counted.
            posterior: ``"guide"``, ``"corrected"`` or ``"auto"``.

        Raises:
            ValueError: coords name no dimension, or have not as many labels as that has entries.
        """
        from ppvae.inference import arviz, arviz_groups

        named = {**arviz_groups.coords(self, data), **(coords or {})}
        if posterior == "guide":
            own = arviz_groups.of_guide(self, data, given, draws, seed)
        else:
            own = self._posteriors(data, given, seed, posterior).groups(draws)
        return arviz.inference_data({**own, **arviz_groups.of_model(self, data, draws, seed)}, named)

    def to(self, backend: str) -> Fitted:
        """The same weights on the other backend."""
        if backend not in BACKENDS:
            raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
        return replace(self, settings=self.settings.model_copy(update={"backend": backend}))

    def to_pyro(self) -> Plain:
        """``(model, guide, params)`` for Pyro's own ``SVI``, ``Predictive``, ``MCMC``, ``render_model``.

        Both programs are functions of a batch that state their weights by ``pyro.param``; ``vae.load`` takes them back.
        They have torch's default dtype and device of this moment, and networks behave as in answers: dropout is off.
        """
        from ppvae.inference import plain_pyro

        return plain_pyro.programs(self.vae)

    def to_numpyro(self) -> Plain:
        """``(model, guide, params)`` for NumPyro's own ``SVI``, ``Predictive``, ``MCMC``, ``substitute``, ...

        Both programs are functions of a batch that read their weights through ``numpyro.param``, where these are not
        substituted; ``vae.load`` takes them back. They have JAX's default dtype of this moment, and networks behave as
        in answers: dropout is off. A batch passes through ``jax.jit``.
        """
        from ppvae.inference import plain_numpyro

        return plain_numpyro.programs(self.vae)

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write a run folder that ``ppvae.load`` reads.

        Args:
            path: the folder; it may be missing, empty, or hold this run at this or an earlier moment.
            force: replace another run, or write beside other files.

        Raises:
            ValueError: the folder holds something else, or training writes to it just now.
            OSError: the disk is full; what was there stays.
        """
        description = self.description()
        with checkpoint.claimed(path, description, force):
            checkpoint.write(path, self.snapshot, description)

    def description(self) -> Description:
        """What ``run.json`` says of the run.

        Raises:
            ValueError: JSON cannot hold it.
        """
        return describe(
            versions=versions(),
            recipe=dict(self.vae.recipe) or None,
            modalities=[modality.plain() for modality in self.modalities],
            settings=self.settings.model_dump(mode="json"),
            history=list(self.history),
            notes=dict(self.notes),
        )

    def _posteriors(self, data: Dataset, given: Given, seed: int, posterior: str) -> Posteriors:
        from ppvae.inference.correction.answers import posteriors

        self.shown(data, given)  # which tells what it cannot answer about
        return posteriors(self, data, given, seed, posterior)

    def _ask(self, question: Question, data: Dataset, given: Given, seed: int) -> dict[str, np.ndarray]:
        names = self.shown(data, given)
        if not names and given is None:
            known = ", ".join(self.names)
            raise ValueError(f"the data have none of the run's modalities {known}; they have {', '.join(data.arrays)}")
        for modality in self.modalities:
            if modality.name in names:
                data.check(modality)
        batch = data.batch(given=names) if names else Batch(size=len(data))
        trained = data.order == self.notes.get("order")
        return answer(self.vae.pair, self.settings, question, batch, data.keys, seed, trained)


def _sums(log_weights: np.ndarray) -> np.ndarray:
    """The sum of log weights over particles, and the log of the sum of weights, ``(2, items)``, in double precision."""
    weights = log_weights.astype(np.float64)
    return np.stack([weights.sum(0), logsumexp(weights, axis=0)])
