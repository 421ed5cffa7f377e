"""Automatic and easy guides: Pyro's own, made of the model that they run, in the words of the running backend."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from pyro.contrib.easyguide import EasyGuide, easyguide
from pyro.infer.autoguide import AutoGuide, AutoGuideList, guides, structured
from torch import nn

from ppvae.language import ppl
from ppvae.language.program import Program
from ppvae.language.traces import is_local

guides.pyro = structured.pyro = easyguide.pyro = ppl.pyro  # which is Pyro itself outside of ppvae
KINDS = (AutoGuide, EasyGuide)


class Automatic(Program):
    """A guide that is one of Pyro's ``AutoGuide``s or ``EasyGuide``s, made of the model."""

    def __init__(self, guide: AutoGuide | EasyGuide) -> None:
        super().__init__()
        self.guide = guide

    def forward(self, batch: Any) -> Any:
        return self.guide(batch)


def automatic(program: nn.Module) -> Iterator[AutoGuide | EasyGuide]:
    """The automatic and easy guides that a program holds."""
    return (module for module in program.modules() if isinstance(module, KINDS))


_theirs: dict[type, Any] = {kind: kind._setup_prototype for kind in KINDS}


def _found(self: AutoGuide | EasyGuide, *args: Any, **kwargs: Any) -> None:
    """What the model's latents are; within ppvae those that all items share, in the run's dtype.

    Raises:
        ValueError: each item has one of the latents of its own.
    """
    _theirs[EasyGuide if isinstance(self, EasyGuide) else AutoGuide](self, *args, **kwargs)
    sites, known = dict(self.prototype_trace.iter_stochastic_nodes()), ppl.engaged()
    local = [name for name, site in sites.items() if known and is_local(site)]
    if local and not isinstance(self, AutoGuideList):
        self.prototype_trace = None
        raise ValueError(
            f"Pyro's {type(self).__name__} would have parameters of one data set's items for {local[0]!r}, which each "
            f"item has of its own: hide it, poutine.block(model, hide={local}), and draw it in the guide's text, with "
            'parameters from a network of the data; leave it out if the model marks it infer={"enumerate": "parallel"}'
        )
    for name in local:  # which other parts of the list draw
        for frame in sites[name]["cond_indep_stack"]:
            self._prototype_frames.pop(frame.name, None)
    for site in sites.values() if known else ():
        if site["value"].is_floating_point():
            site["value"] = site["value"].to(torch.get_default_dtype())


def _sized(self: EasyGuide, name: str, size: int | None = None, *args: Any, **kwargs: Any) -> Any:
    """A plate of an easy guide, which Pyro would leave without a size where the guide's text gives none."""
    frame = self.frames.get(name)
    return _plate(self, name, frame.size if size is None and frame else size, *args, **kwargs)


def _copied(self: AutoGuide | EasyGuide, memo: dict[int, Any]) -> AutoGuide | EasyGuide:
    """A copy, of the copied model where that is copied too; Pyro's own way takes the model from the original."""
    new = memo[id(self)] = object.__new__(type(self))
    memo[id(self.prototype_trace)] = self.prototype_trace
    new.__dict__.update(copy.deepcopy(vars(self), memo))
    for part in new.children():
        if isinstance(part, AutoGuide):
            part._update_master(weakref.ref(new))
    return new


_plate: Any = EasyGuide.plate
EasyGuide.plate = _sized  # type: ignore[method-assign]
for _kind in KINDS:
    _kind._setup_prototype = _found  # type: ignore[method-assign]
    _kind.__deepcopy__ = _copied  # type: ignore[union-attr]
