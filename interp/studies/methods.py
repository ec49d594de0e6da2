"""The methods that studies compare, and their titles in tables."""

from interp.decompose import Unsupervised

UNSUPERVISED: tuple[Unsupervised, ...] = ("snmf", "sae", "pca")
SUPERVISED = "difference_in_means"
RANDOM = "random"

METHOD_TITLES = {
    "snmf": "semi-NMF",
    "sae": "SAE (top-k)",
    "pca": "PCA",
    SUPERVISED: "difference in means (supervised)",
    RANDOM: "random directions",
}
