"""Activations to dictionaries."""

from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.difference_in_means import DifferenceInMeans, fit_difference_in_means, fit_difference_in_means_many
from interp.decompose.matching import Matching, match_directions
from interp.decompose.pca import Pca, fit_pca
from interp.decompose.quality import Reconstruction, reconstruction
from interp.decompose.random_directions import RandomDirections, random_dictionary
from interp.decompose.sae import Sae, fit_sae
from interp.decompose.snmf import Snmf, fit_snmf
from interp.decompose.storage import load_dictionary, save_dictionary

__all__ = [
    "Dictionary",
    "DifferenceInMeans",
    "Matching",
    "Method",
    "Pca",
    "RandomDirections",
    "Reconstruction",
    "Sae",
    "Snmf",
    "fit_difference_in_means",
    "fit_difference_in_means_many",
    "fit_pca",
    "fit_sae",
    "fit_snmf",
    "load_dictionary",
    "match_directions",
    "random_dictionary",
    "reconstruction",
    "save_dictionary",
]
