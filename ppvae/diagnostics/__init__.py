"""Diagnostics: can the trained pair be believed? Calls metrics, training, inference and below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

show(
    __name__,
    {
        "active_units": "Activity activity",
        "annealing": "Sandwich Schedule ais bdmc",
        "calibration": "Calibration Symmetric Uniform calibration predictive sbc tarp vsbc",
        "cross_prediction": "Crossing crossing",
        "elbo_surgery": "Surgery surgery",
        "evidence": "Evidence ModelComparison compare conditional evidence leave_one_modality_out "
        "pointwise_information stacking",
        "inference_gaps": "Gaps Missing gaps missing",
        "khat": "KHat alone_and_all khat",
        "modality_contributions": "Balance Contribution Shapley contribution gradient_balance shapley shapley_evidence",
        "nuts": "Chains NutsComparison compare_with_nuts nuts",
        "predictive_checks": "PredictiveCheck predictive_check",
        "rescue": "Rescue rescue",
        "samples.c2st": "c2st",
        "samples.outside": "Outside outside",
        "simulation": "Simulation simulate",
        "traversals": "Traversal traversal",
    },
)

if TYPE_CHECKING:
    from ppvae.diagnostics.active_units import Activity as Activity
    from ppvae.diagnostics.active_units import activity as activity
    from ppvae.diagnostics.annealing import Sandwich as Sandwich
    from ppvae.diagnostics.annealing import Schedule as Schedule
    from ppvae.diagnostics.annealing import ais as ais
    from ppvae.diagnostics.annealing import bdmc as bdmc
    from ppvae.diagnostics.calibration import Calibration as Calibration
    from ppvae.diagnostics.calibration import Symmetric as Symmetric
    from ppvae.diagnostics.calibration import Uniform as Uniform
    from ppvae.diagnostics.calibration import calibration as calibration
    from ppvae.diagnostics.calibration import predictive as predictive
    from ppvae.diagnostics.calibration import sbc as sbc
    from ppvae.diagnostics.calibration import tarp as tarp
    from ppvae.diagnostics.calibration import vsbc as vsbc
    from ppvae.diagnostics.cross_prediction import Crossing as Crossing
    from ppvae.diagnostics.cross_prediction import crossing as crossing
    from ppvae.diagnostics.elbo_surgery import Surgery as Surgery
    from ppvae.diagnostics.elbo_surgery import surgery as surgery
    from ppvae.diagnostics.evidence import Evidence as Evidence
    from ppvae.diagnostics.evidence import ModelComparison as ModelComparison
    from ppvae.diagnostics.evidence import compare as compare
    from ppvae.diagnostics.evidence import conditional as conditional
    from ppvae.diagnostics.evidence import evidence as evidence
    from ppvae.diagnostics.evidence import leave_one_modality_out as leave_one_modality_out
    from ppvae.diagnostics.evidence import pointwise_information as pointwise_information
    from ppvae.diagnostics.evidence import stacking as stacking
    from ppvae.diagnostics.inference_gaps import Gaps as Gaps
    from ppvae.diagnostics.inference_gaps import Missing as Missing
    from ppvae.diagnostics.inference_gaps import gaps as gaps
    from ppvae.diagnostics.inference_gaps import missing as missing
    from ppvae.diagnostics.khat import KHat as KHat
    from ppvae.diagnostics.khat import alone_and_all as alone_and_all
    from ppvae.diagnostics.khat import khat as khat
    from ppvae.diagnostics.modality_contributions import Balance as Balance
    from ppvae.diagnostics.modality_contributions import Contribution as Contribution
    from ppvae.diagnostics.modality_contributions import Shapley as Shapley
    from ppvae.diagnostics.modality_contributions import contribution as contribution
    from ppvae.diagnostics.modality_contributions import gradient_balance as gradient_balance
    from ppvae.diagnostics.modality_contributions import shapley as shapley
    from ppvae.diagnostics.modality_contributions import shapley_evidence as shapley_evidence
    from ppvae.diagnostics.nuts import Chains as Chains
    from ppvae.diagnostics.nuts import NutsComparison as NutsComparison
    from ppvae.diagnostics.nuts import compare_with_nuts as compare_with_nuts
    from ppvae.diagnostics.nuts import nuts as nuts
    from ppvae.diagnostics.predictive_checks import PredictiveCheck as PredictiveCheck
    from ppvae.diagnostics.predictive_checks import predictive_check as predictive_check
    from ppvae.diagnostics.rescue import Rescue as Rescue
    from ppvae.diagnostics.rescue import rescue as rescue
    from ppvae.diagnostics.samples.c2st import c2st as c2st
    from ppvae.diagnostics.samples.outside import Outside as Outside
    from ppvae.diagnostics.samples.outside import outside as outside
    from ppvae.diagnostics.simulation import Simulation as Simulation
    from ppvae.diagnostics.simulation import simulate as simulate
    from ppvae.diagnostics.traversals import Traversal as Traversal
    from ppvae.diagnostics.traversals import traversal as traversal
