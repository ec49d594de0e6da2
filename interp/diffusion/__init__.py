"""Image generators: sample them, test their bottleneck, find directions there, make and score
edits.
"""

from interp.core.moved import forwarding
from interp.diffusion.bottleneck.carriers import carrier_shares
from interp.diffusion.bottleneck.interchange import Interchange, Transfer, interchange
from interp.diffusion.bottleneck.readable import readable, readable_writable
from interp.diffusion.directions.by_name import find_directions
from interp.diffusion.directions.components import ica_directions, pca_directions
from interp.diffusion.directions.from_dictionary import dictionary_directions
from interp.diffusion.directions.jacobian import away_from, jacobian_directions, singular_vectors
from interp.diffusion.directions.mean_difference import mean_difference_directions
from interp.diffusion.directions.noiseclr import contrastive_directions
from interp.diffusion.directions.projection import overlap, projected_out
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.directions.storage import load_directions, save_directions
from interp.diffusion.directions.streamed import record_statistics, streamed_statistics
from interp.diffusion.edits.boundary import (
    cross_boundaries,
    fit_boundary,
    mixing_step,
    record_passing,
)
from interp.diffusion.edits.curved import CurvedEdit, Curves, fit_curves
from interp.diffusion.edits.dpm_encoder import decode_code, encode, translate
from interp.diffusion.edits.inversion import decode, invert
from interp.diffusion.edits.straight import Edit, edit_hooks, sample_edited
from interp.diffusion.images.factors import Reader, factor_table, read_strokes
from interp.diffusion.images.gate import FactorGate, Gate, sanity_gate
from interp.diffusion.images.sheets import sheet, write_png
from interp.diffusion.images.smoothness import interpolation_smoothness
from interp.diffusion.records.activations import StepActivations, record_sites, record_steps
from interp.diffusion.records.guidance_halves import record_halves, sample_guided
from interp.diffusion.sampling.ddim import image_seeds, sample, timesteps, unclipped
from interp.diffusion.sampling.guided import guided
from interp.diffusion.sampling.labels import Labels, labelled
from interp.diffusion.sampling.levels import cancellations, noise_levels
from interp.diffusion.sampling.prompted import prompted, text_condition
from interp.diffusion.scores.decoupling import decoupled_strengths
from interp.diffusion.scores.dose import dose_response
from interp.diffusion.scores.effects import (
    EditScore,
    EffectMatrix,
    Judge,
    Trial,
    effect_matrix,
    fresh_trial,
    judge_of,
    random_edit,
    score_edit,
)
from interp.diffusion.scores.label_efficiency import label_efficiency
from interp.diffusion.scores.matching_strength import common_strength, strength_for
from interp.diffusion.scores.projection_effect import projection_effect
from interp.diffusion.scores.separation import separation
from interp.diffusion.scores.translation import translation_score
from interp.models.adapters.skips import remove_skips, removed_skips

__all__ = [
    "CurvedEdit",
    "Curves",
    "Edit",
    "EditScore",
    "EffectMatrix",
    "FactorGate",
    "Gate",
    "Interchange",
    "Judge",
    "Labels",
    "Reader",
    "StepActivations",
    "StepDirections",
    "Transfer",
    "Trial",
    "away_from",
    "cancellations",
    "carrier_shares",
    "common_strength",
    "contrastive_directions",
    "cross_boundaries",
    "decode",
    "decode_code",
    "decoupled_strengths",
    "dictionary_directions",
    "dose_response",
    "edit_hooks",
    "effect_matrix",
    "encode",
    "factor_table",
    "find_directions",
    "fit_boundary",
    "fit_curves",
    "fresh_trial",
    "guided",
    "ica_directions",
    "image_seeds",
    "interchange",
    "interpolation_smoothness",
    "invert",
    "jacobian_directions",
    "judge_of",
    "label_efficiency",
    "labelled",
    "load_directions",
    "mean_difference_directions",
    "mixing_step",
    "noise_levels",
    "overlap",
    "pca_directions",
    "projected_out",
    "projection_effect",
    "prompted",
    "random_edit",
    "random_like",
    "read_strokes",
    "readable",
    "readable_writable",
    "record_halves",
    "record_passing",
    "record_sites",
    "record_statistics",
    "record_steps",
    "regression_directions",
    "remove_skips",
    "removed_skips",
    "sample",
    "sample_edited",
    "sample_guided",
    "sanity_gate",
    "save_directions",
    "score_edit",
    "separation",
    "sheet",
    "singular_vectors",
    "streamed_statistics",
    "strength_for",
    "text_condition",
    "timesteps",
    "translate",
    "translation_score",
    "unclipped",
    "write_png",
]

__getattr__ = forwarding(
    __name__,
    {
        **dict.fromkeys(
            ("DirectionsProtocol", "DirectionsResult", "study_directions"),
            "interp.studies.directions",
        ),
        **dict.fromkeys(
            ("GeneratorSettings", "load_generator", "train_generator", "training_curve"),
            "interp.testbeds.generators",
        ),
    },
)
