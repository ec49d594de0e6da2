"""Activations to dictionaries."""

from interp.decompose.by_name import COEFFICIENT_SPARSITY, SAE_STEPS, Unsupervised, fit_unsupervised
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.difference_in_means import (
    DifferenceInMeans,
    fit_difference_in_means,
    fit_difference_in_means_many,
)
from interp.decompose.hierarchy import Hierarchy, fit_hierarchy, load_hierarchy
from interp.decompose.matching import Matching, match_directions
from interp.decompose.pca import Pca, fit_pca
from interp.decompose.quality import Reconstruction, reconstruction
from interp.decompose.random_directions import RandomDirections, random_dictionary
from interp.decompose.sae.fit import Sae, fit_sae, sweep_sae
from interp.decompose.sae.public import load_public_sae
from interp.decompose.sharing.hub import Pushed, pull_dictionary, push_dictionary
from interp.decompose.sharing.saelens_folder import load_saelens, save_saelens
from interp.decompose.snmf.fit import Snmf, fit_snmf
from interp.decompose.snmf.online import SnmfStream
from interp.decompose.stability import Stability, stability
from interp.decompose.storage import load_dictionary, save_dictionary

__all__ = [
    "COEFFICIENT_SPARSITY",
    "SAE_STEPS",
    "Dictionary",
    "DifferenceInMeans",
    "Hierarchy",
    "Matching",
    "Method",
    "Pca",
    "Pushed",
    "RandomDirections",
    "Reconstruction",
    "Sae",
    "Snmf",
    "SnmfStream",
    "Stability",
    "Unsupervised",
    "fit_difference_in_means",
    "fit_difference_in_means_many",
    "fit_hierarchy",
    "fit_pca",
    "fit_sae",
    "fit_snmf",
    "fit_unsupervised",
    "load_dictionary",
    "load_hierarchy",
    "load_public_sae",
    "load_saelens",
    "match_directions",
    "pull_dictionary",
    "push_dictionary",
    "random_dictionary",
    "reconstruction",
    "save_dictionary",
    "save_saelens",
    "stability",
    "sweep_sae",
]
