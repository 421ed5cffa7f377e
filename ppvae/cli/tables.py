"""Tables: what the commands show to people, from the same figures that ``--json`` prints."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table

WORST = 5


def text(renderable: RenderableType) -> str:
    """What to print on stdout, with brackets as they are; where that is no terminal, lines are longer than 80."""
    terminal, printed = Console(), io.StringIO()
    width = terminal.width if terminal.is_terminal else 160
    console = Console(file=printed, force_terminal=terminal.is_terminal, width=width, markup=False, emoji=False)
    console.print(renderable)
    return printed.getvalue().removesuffix("\n")


def _columns(*names: str, **options: Any) -> Table:
    """An empty table, whose columns break words where a terminal is narrow, and lose nothing."""
    return Table(*(Column(name, overflow="fold") for name in names), box=None, **options)


def facts(result: Mapping[str, Any]) -> Table:
    """One row for each figure."""
    table = _columns("figure", "value", show_header=False)
    for name, value in result.items():
        table.add_row(name.replace("_", " "), _text(value))
    return table


def demonstrated(result: Mapping[str, Any]) -> str:
    """Where to look; the demo prints its own table."""
    return f"runs and pictures are in {result['out']}"


def catalogue(result: Mapping[str, Any]) -> Group:
    """Methods, and what data and likelihoods there are: those of them that the result holds."""
    rest = {name: values for name, values in result.items() if name != "methods"}
    if "methods" not in result:
        return Group(facts(rest))
    table = _columns("method", "when to use it", "reference")
    for name, row in result["methods"].items():
        table.add_row(name, row["when"], row["reference"])
    return Group(table, "", facts(rest)) if rest else Group(table)


def swept(result: Mapping[str, Any]) -> Group:
    """The best trials with what they were trained with, how the others ended, and how to go on."""
    rows = result["best"]
    table = _columns("run", "objective", "epochs", *(rows[0]["values"] if rows else ()))
    for row in rows:
        table.add_row(row["run"], *map(_text, (row["objective"], row["epochs"], *row["values"].values())))
    counts = ", ".join(f"{result[name]} {name}" for name in ("finished", "pruned", "failed", "running"))
    return Group(table, "", f"trials: {counts}", *([result["next"]] if rows else []))


def differences(result: Mapping[str, Any]) -> Group:
    """Every site's difference between the backends, and those of the parameters that differ most."""
    table = _columns("site or parameter", "difference")
    worst = sorted(result["parameters"].items(), key=lambda item: -item[1])[:WORST]
    for name, value in [*result["sites"].items(), *worst]:
        table.add_row(name, f"{value:.1e}")
    verdict = "the backends agree" if result["ok"] else "the backends DIFFER"
    return Group(table, "", f"{result['method']} in {result['dtype']}: {verdict}")


def diagnosed(result: Mapping[str, Any]) -> Group:
    """The verdict, then what each posterior and each prediction was measured to be."""
    said = result["verdict"]
    latents = _columns("latents given", "guide", "corrected", "k-hat > 0.7", "evidence", "in 90%", "active")
    for each, judged, better in zip(result["posteriors"], said["posteriors"], said["corrected"], strict=True):
        evidence = {"mean": each["evidence"], "se": each["evidence_error"]}
        measured = _share(each["khat_share"]), "-" if each["evidence"] is None else _text(evidence)
        active = "-" if each["active"] is None else f"{each['active']} of {each['latents']}"
        levels = judged["level"], better["level"] if better else "-"
        latents.add_row(each["label"], *levels, *measured, _share(each["sbc_coverage"]), active)
    asked = _columns("prediction", "given", "verdict", "in 50%", "in 90%", "why")
    for each, judged in zip(result["predictions"], said["predictions"], strict=True):
        rates = _share(each["coverage_50"]), _share(each["coverage_90"])
        names = each["ask"], each["label"]
        asked.add_row(*names, judged["level"], *rates, "; ".join(judged["reasons"]))
    todo = [f"{number}. {each['why']}: {' or '.join(each['words'])}" for number, each in enumerate(said["advice"], 1)]
    return Group(
        *said["headline"], *said["why"], *said["remarks"], *todo, "", latents, "", _good(result["skills"]), "", asked
    )


def _good(skills: Mapping[str, Any]) -> Table:
    """How good predictions of each modality are, by the model and by others."""
    names = list(dict.fromkeys(name for skill in skills.values() for name in skill["scores"]))
    table = _columns("predicted from all others", *names)
    for name, skill in skills.items():
        scores = (skill["scores"].get(one) for one in names)
        table.add_row(f"{name}, {skill['measure']}", *("-" if score is None else f"{score:z.2f}" for score in scores))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _between(value: float, low: float, high: float) -> str:
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and {"mean", "se"} <= value.keys():
        return f"{value['mean']:.3f}" + ("" if value["se"] is None else f" ± {value['se']:.3f}")
    if isinstance(value, Mapping) and "model" in value:
        return ", ".join(f"{name} {_text(score)}" for name, score in value.items())
    if isinstance(value, Mapping) and {"made", "real"} <= value.keys():
        return "{}, of real ones {}".format(*(_between(**value[key]) for key in ("made", "real")))
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
