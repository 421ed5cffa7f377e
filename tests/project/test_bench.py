"""The bench: its loops by hand compute what ppvae computes, and its page shows what was kept."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ppvae.runs.settings import Settings
from ppvae.zoo.page import replaced

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench  # noqa: E402
import growth  # noqa: E402
import jax_loops  # noqa: E402
import measured  # noqa: E402
import peers  # noqa: E402
import roofline  # noqa: E402
import torch_loops  # noqa: E402
from cases import CASES  # noqa: E402
from interleave import interleave  # noqa: E402


def difference(loops: Any, backend: str, name: str) -> float:
    """Between the losses of the first three steps by hand and by ppvae."""
    case = CASES[name]()
    with loops.engine.environment(Settings(**case.options(backend, "cpu"))):
        return loops.Loops(name, case, time.perf_counter, "cpu").check()


@pytest.mark.parametrize("name", CASES)
def test_loops_in_torch_compute_what_ppvae_does(name: str) -> None:
    assert difference(torch_loops, "pyro", name) < bench.AGREEMENT / 10


@pytest.mark.parametrize("name", ["tiny"])
def test_loops_in_jax_compute_what_ppvae_does(name: str) -> None:
    assert difference(jax_loops, "numpyro", name) < bench.AGREEMENT / 10


def test_a_ratio_is_that_of_what_the_loops_take() -> None:
    now = [0.0]

    def taking(seconds: float) -> Any:
        return lambda: now.__setitem__(0, now[0] + seconds)

    timing = interleave(taking(2.0), taking(3.0), 4, 0.0, lambda: now[0])
    assert (timing.hand_ms, timing.ours_ms, timing.ratio, timing.low, timing.high) == (500, 750, 1.5, 1.5, 1.5)


def test_the_page_shows_what_was_kept() -> None:
    page = measured.PAGE.read_text(encoding="utf-8")
    again = "docs/performance.md is out of date: run python benchmarks/measured.py"
    assert measured.renewed(page) == page, again


@pytest.mark.parametrize("command", measured.COMMANDS)
def test_every_command_has_its_place_in_the_page(command: str) -> None:
    text = replaced(measured.PAGE.read_text(encoding="utf-8"), command, "Nothing.")
    assert text.count("Nothing.") == 1


def test_the_flop_of_a_step_are_those_of_its_linear_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "HIDDEN", (8, 8))
    monkeypatch.setattr(roofline, "STEPS", 1)
    data, pair = roofline.made("vae")
    weights = {name: p.numel() for name, p in pair.pair.named_parameters() if p.ndim == 2}
    first = {name for name in weights if name.startswith("guide") and name.endswith(".2.0.weight")}
    assert len(first) == 6  # nobody needs the gradient with respect to the data
    products = 3 * sum(weights.values()) - sum(weights[name] for name in first)
    assert roofline.stepping(roofline.on_pyro, "pyro", pair, data)[0] == 2 * roofline.BATCH * products


def test_a_share_is_of_the_highest_rate_and_the_update_of_the_weights() -> None:
    each = {"method": "mvae", "flop": 1.5e9, "xla_flop": 2.2e9, "one_pass": 1e9, "adam_ms": 5.0}
    each |= {"pyro_ms": 80.0, "numpyro_ms": 40.0}
    rates = {"torch": 50.0, "jax": 60.0}
    figures = {"peaks": {"square": rates, "latents": {"torch": 100.0, "jax": 10.0}}, "rows": [each]}
    last = roofline.tables(figures).splitlines()[-1]
    assert last == "| `mvae` | 1.50 | 1.5 | 2.20 | 5.0 | 20.0 | 80.0 | 25 % | 40.0 | 50 % | 2.0 |"


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_a_slope_is_the_power_of_growth(power: float) -> None:
    points = [{"size": size, "seconds": 3.0 * size**power} for size in (10, 100, 1000)]
    assert growth.slope(points, "seconds") == pytest.approx(power)


def test_growth_is_drawn_and_told_sweep_by_sweep(tmp_path: Path) -> None:
    points = [{"size": size, "seconds": 0.1 * size, "megabytes": 2.0 * size**2} for size in (2, 4, 8)]
    growth.draw({"items": points, "features": points[:1]}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    told = growth.tables({"backend": "pyro", "sweeps": {"items": points, "features": points[:1]}})
    assert "| items | 2 | 8 | 0.2 to 0.8 | 1.00 | 8 to 128 | 2.00 |" in told
    assert "features" not in told  # a point alone has no slope


PEER = {"method": "mopoe", "multivae": 90.0, "pyro": 60.0, "pyro_ratio": 1.5, "numpyro": 30.0, "numpyro_ratio": 3.0}


def test_ratios_to_a_peer_stand_beside_what_is_wanted() -> None:
    assert peers.tables({"rows": [PEER]}).splitlines()[-1] == "| `mopoe` | 90 | 60 | 1.50 | 2 | 30 | 3.00 | 3 |"


def test_what_is_kept_is_shown_and_can_be_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = measured.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(measured, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(measured, "PAGE", tmp_path / "page.md")
    measured.PAGE.write_text(before, encoding="utf-8")
    figures = {"machine": measured.machine(), "rows": [PEER]}
    measured.keep("peers", figures)
    page = measured.PAGE.read_text(encoding="utf-8")
    assert measured.described(figures["machine"]) in page
    assert "| `mopoe` | 90 | 60 |" in page
    assert measured.renewed(before) == page
