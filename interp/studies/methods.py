"""The methods that studies set side by side, and what tables call them."""

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
