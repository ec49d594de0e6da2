"""A report's data drawn from a seed, with texts that try to break the page."""

from typing import Any

import numpy as np

from interp.core.reading import read_record
from interp.studies.comparison import ComparisonResult

HOSTILE = (
    "<script>window.__pwned = 1</script>",
    "</script><script>window.__pwned = 2</script>",
    "<!--<script>",
    "<img src=x onerror='window.__pwned = 3'>",
    "\u2028window.__pwned = 4\u2029",
    '\u202egnp\u202c & "quotes" \' ` ${window.__pwned = 5} {{ 7 * 7 }}',
)
CONCEPTS = (
    "cooking",
    "the sea",
    "law",
    "sadness",
    "football",
    "money",
    "winter",
    "medicine",
    "<script>alert(1)</script>",
)
WORDS = (
    "the",
    "old",
    "kitchen",
    "smelled",
    "of",
    "butter",
    "bread",
    "she",
    "waited",
    "news",
    "harbour",
    "counted",
    "coin",
    "silence",
)
STRENGTHS = (0.1, 0.25, 0.5, 1.0, 2.0)
PROMPTS = ("I think that", "The most important thing is", "Yesterday we went", HOSTILE[0])


def score(
    rng: np.random.Generator,
    value: float | None,
    spread: float = 0.06,
    control: float | None = None,
) -> dict[str, Any]:
    low, high = (
        (None, None)
        if value is None
        else (value - spread * rng.uniform(0.7, 1.3), value + spread * rng.uniform(0.7, 1.3))
    )
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": 24,
        "seed": 0,
        "control": control,
        "interval": "bootstrap 95%",
    }


def sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words)) + "."


def context(rng: np.random.Generator, hostile: str) -> dict[str, Any]:
    tokens = [
        "\n\n",
        *(" " + word for word in rng.choice(WORDS, 18)),
        hostile,
        "  ",
        ".",
        "\n",
        " Next",
        "\tcell",
    ]
    coefficients = rng.gamma(0.4, 1.0, len(tokens))
    peak = int(rng.integers(1, 18))
    coefficients[peak] = 4.5
    return {
        "tokens": tokens,
        "coefficients": [round(float(value), 4) for value in coefficients],
        "peak": peak,
    }


def dose(rng: np.random.Generator, kl: float, sign: int, strength: float) -> dict[str, Any]:
    value = strength * float(np.exp(-((np.log(kl / 0.6)) ** 2) / 1.6)) if sign > 0 else 0.08
    return {
        "kl": kl,
        "measured_kl": kl * 0.98,
        "alpha": 6 * kl**0.5,
        "sign": sign,
        "score": score(rng, value, 0.14),
        "concept_score": min(2.0, value * 1.1),
        "fluency_score": max(0.1, 1.9 - 0.5 * kl),
        "continuations": [
            {"prompt": prompt, "text": f"{sentence(rng, 16)}\n\n{sentence(rng, 14)}"}
            for prompt in PROMPTS
        ],
    }


def route(rng: np.random.Generator, name: str, strength: float) -> dict[str, Any]:
    return {
        "route": name,
        "site": "L20.resid_post" if name == "companion" else "L15.mlp",
        "dose": [dose(rng, kl, sign, strength) for sign in (1, -1) for kl in STRENGTHS],
        "chosen": {"kl": 0.5, "sign": 1},
        "report": score(rng, strength * 0.95, 0.15),
        "control": score(rng, 0.12, 0.05),
        "beats_control": strength > 0.4,
        "lift": {"value": 0.61, "percentile": 97.0, "n_random": 40}
        if name == "companion"
        else None,
        "unreachable": [] if name == "companion" else [4.0],
    }


def feature(rng: np.random.Generator, method: str, index: int) -> dict[str, Any]:
    concept = CONCEPTS[index % len(CONCEPTS)] if index % 3 != 2 else None
    auroc = float(rng.uniform(0.6, 0.98))
    found = {
        "concept": concept,
        "auroc": score(rng, auroc, 0.02),
        "auroc_other_concepts": score(rng, auroc - 0.05, 0.03),
        "average_precision": score(rng, auroc - 0.2, 0.05),
        "control_random": 0.53,
        "control_shuffled": 0.5,
    }
    strength = float(rng.uniform(0.1, 1.7))
    return {
        "id": f"{method}-{index}",
        "method": method,
        "index": index,
        "label": HOSTILE[index % len(HOSTILE)]
        if index % 7 == 6
        else f"{', '.join(rng.choice(WORDS, 3, replace=False))} ({method} {index})",
        "label_source": "top tokens",
        "concept": concept,
        "firing_rate": float(rng.uniform(0.001, 0.08)),
        "nonzero_neurons": int(rng.integers(10, 400)),
        "stability": {"seeds": 0.87, "halves": None if index == 3 else 0.74, "control": 0.31}
        if method == "snmf"
        else None,
        "contexts": []
        if index == 5
        else [context(rng, HOSTILE[(index + shift) % len(HOSTILE)]) for shift in range(6)],
        "promoted": [
            {"token": token, "logit": float(3 - place / 3)}
            for place, token in enumerate([" bread", "\n", HOSTILE[1], " butter", "oven"])
        ],
        "suppressed": []
        if index == 4
        else [
            {"token": token, "logit": float(-2 + place / 3)}
            for place, token in enumerate([" law", "coin", " "])
        ],
        "detection": found if concept else None,
        "steering": {
            "concept": concept,
            "routes": [route(rng, "native", strength * 0.6), route(rng, "companion", strength)],
        }
        if concept and index % 2 == 0
        else None,
    }


def family(
    rng: np.random.Generator, method: str, name: str, peak: float, control: bool = False
) -> dict[str, Any]:
    titles = {
        "snmf": "semi-NMF",
        "sae": "top-k SAE",
        "difference-in-means": "difference in means",
        "random": "random direction",
    }
    site = "L20.resid_post" if name == "companion" else "L15.mlp"
    curve = [
        {"kl": kl, "score": score(rng, peak * float(np.exp(-((np.log(kl / 0.6)) ** 2) / 1.8)), 0.1)}
        for kl in STRENGTHS
    ]
    return {
        "family": f"{method}-{name}",
        "title": f"{titles[method]}, {name} at {site}",
        "method": method,
        "route": name,
        "site": site,
        "control": control,
        "curve": curve,
        "report": score(rng, peak * 0.96, 0.1),
        "minus_best_control": None if control else score(rng, peak * 0.96 - 0.14, 0.11),
        "unreachable": 0 if name == "companion" else 3,
        "n": 24,
    }


def steering(rng: np.random.Generator) -> dict[str, Any]:
    peaks = {
        ("snmf", "companion"): 1.15,
        ("snmf", "native"): 0.7,
        ("sae", "companion"): 0.9,
        ("sae", "native"): 0.55,
    }
    peaks |= {("difference-in-means", "companion"): 1.05}
    families = [family(rng, method, name, peak) for (method, name), peak in peaks.items()]
    families += [
        family(rng, "random", "native", 0.11, control=True),
        family(rng, "random", "companion", 0.14, control=True),
    ]
    plain = {
        **families[-1],
        "family": "none",
        "title": "no steering",
        "method": "none",
        "route": "native",
        "minus_best_control": None,
    }
    families.append(
        {
            **plain,
            "curve": [{"kl": 0.0, "score": score(rng, 0.06, 0.02)}],
            "report": score(rng, 0.06, 0.02),
        }
    )
    return {
        "prompts_selection": ["Once upon a time", "My friend told me"],
        "prompts_report": list(PROMPTS),
        "strengths_kl": list(STRENGTHS),
        "samples": 1,
        "max_new_tokens": 50,
        "unsteered": {
            "score": {concept: score(rng, 0.07, 0.03) for concept in CONCEPTS},
            "continuations": [
                {"prompt": prompt, "text": f"{prompt} {sentence(rng, 24)}"} for prompt in PROMPTS
            ],
        },
        "families": families,
    }


def detection(rng: np.random.Generator) -> dict[str, Any]:
    def best(method: str, found: int | None, center: float) -> dict[str, Any]:
        value = float(np.clip(rng.normal(center, 0.06), 0.4, 0.99))
        return {
            "method": method,
            "feature": found,
            "auroc": score(rng, value, 0.02),
            "auroc_other_concepts": score(rng, value - 0.04, 0.02),
            "average_precision": score(rng, value - 0.1, 0.05),
            "paper_score": None if found is None else 1.3,
        }

    centers = {"snmf": 0.88, "sae": 0.84, "difference-in-means": 0.94}
    concepts = []
    for number, concept in enumerate(CONCEPTS):
        found = [best(method, number, center) for method, center in centers.items()]
        concepts.append({"concept": concept, "best": [*found, best("random", None, 0.55)]})
    summary = [
        {
            "method": method,
            "concepts": len(CONCEPTS),
            "at_least_0.9": 4,
            "mean_auroc": score(rng, center, 0.03),
        }
        for method, center in {**centers, "random": 0.55}.items()
    ]
    return {"concepts": concepts, "summary": summary}


def neighbours(rng: np.random.Generator, own: str, ids: list[str]) -> list[dict[str, Any]]:
    others = [str(name) for name in rng.permutation([name for name in ids if name != own])[:5]]
    return [
        {
            "id": name,
            "cosine": round(0.9 - 0.3 * place, 3),
            "coactivation": None if place == 4 else round(0.7 - 0.2 * place, 3),
        }
        for place, name in enumerate(others)
    ]


def hierarchy(size: int) -> dict[str, Any]:
    """Pairs of semi-NMF features under every feature of the middle level, and pairs of those under
    the top; one has a hostile name.
    """
    sizes = (size, max(1, size // 2), max(1, size // 4))
    names = [
        [f"level {level}, number {number}" for number in range(count)]
        for level, count in enumerate(sizes)
    ]
    names[1][0] = HOSTILE[0]
    branches = [
        {
            "level": level,
            "parent": child // 2,
            "child": child,
            "share": 1.0 if child % 2 == 0 else 0.4,
        }
        for level in (1, 2)
        for child in range(min(sizes[level - 1], 2 * sizes[level]))
    ]
    return {
        "method": "snmf",
        "levels": [{"features": [{"label": name} for name in level]} for level in names],
        "branches": branches,
    }


def matches(rng: np.random.Generator, size: int) -> list[dict[str, Any]]:
    order = rng.permutation(size)
    pairs = [
        {"first": f"snmf-{a}", "second": f"sae-{b}", "cosine": round(0.95 - 0.9 * a / size, 3)}
        for a, b in enumerate(order)
    ]
    return [
        {
            "first": "snmf",
            "second": "sae",
            "pairs": pairs,
            "mean_cosine": score(rng, 0.48, 0.05, 0.21),
        }
    ]


def report_data(features_per_method: int = 20, seed: int = 0) -> dict[str, Any]:
    """A whole report: two methods, steering, detection, a judge, and gaps where the schema allows
    them.
    """
    rng = np.random.default_rng(seed)
    numbers = {
        "snmf": ("semi-NMF", 0.41, 12.0, 0.01),
        "sae": ("top-k SAE", 0.52, 8.0, 1.0),
        "random": ("random directions", 0.03, 10.0, 1.0),
    }
    methods = [
        {
            "method": method,
            "title": title,
            "features": features_per_method,
            "explained_variance": score(rng, explained, 0.01),
            "l0": active,
            "direction_density": density,
            "dead_fraction": 0.03,
            "seconds": 41.2,
            "stability": {"seeds": score(rng, 0.81, 0.04, 0.31), "halves": None}
            if method == "snmf"
            else None,
        }
        for method, (title, explained, active, density) in numbers.items()
    ]
    listed = [
        feature(rng, method, index)
        for method in ("snmf", "sae")
        for index in range(features_per_method)
    ]
    ids = [item["id"] for item in listed]
    around = np.random.default_rng(seed + 1)
    for item in listed:
        item["neighbour_control"] = 0.34 if item["method"] == "snmf" else 0.21
        item["neighbours"] = [] if item["index"] == 7 else neighbours(around, item["id"], ids)
    return {
        "schema": 2,
        "title": "Features of SmolLM2-135M-Instruct at L15.mlp",
        "model": {
            "name": "smollm2-135m-instruct",
            "weight_hash": "5af571cbf074",
            "site": "L15.mlp",
            "companion_site": "L20.resid_post",
        },
        "corpus": {
            "texts": 1740,
            "rows": 42312,
            "concepts": len(CONCEPTS),
            "selection": "without padding, BOS and the first position",
        },
        "provenance": {"seed": 0, "note": HOSTILE[1], "versions": {"torch": "2.13"}},
        "methods": methods,
        "detection": detection(rng),
        "judge": {
            "name": "embedding similarity",
            "auroc": score(rng, 0.947, 0.01, 0.5),
            "accepted": list(CONCEPTS[:7]),
            "refused": [{"concept": "sadness", "auroc": 0.71}],
            "asked": 9600,
            "failed": 12,
        },
        "steering": steering(rng),
        "features": listed,
        "matches": matches(around, features_per_method),
        "hierarchy": hierarchy(features_per_method),
    }


def comparison() -> ComparisonResult:
    """A comparison's result with two sites, one place and a hostile model name."""
    rng = np.random.default_rng(0)
    ways = [
        (method, site, site, "native")
        for site in ("L1.mlp", "L3.mlp")
        for method in ("snmf", "sae")
    ]
    ways += [(method, "L1.mlp", "L2.resid_post", "companion") for method in ("snmf", "sae")]
    ways += [("difference_in_means", "L2.resid_post", "L2.resid_post", "native")]
    rows = [_way(rng, *way) for way in ways]
    keys = ("site", "method", "size", "route", "place")
    names = [{key: row[key] for key in keys} for row in rows]
    pairs = (
        (4, 0, "companion minus own direction"),
        (4, 6, "unsupervised minus difference in means, same place"),
    )
    values = {
        "settings": {
            "model": HOSTILE[0],
            "sites": ["L1.mlp", "L3.mlp"],
            "places": ["L2.resid_post"],
            "protocol": {
                "strengths": [0.25, 0.5],
                "selection_prompts": ["I think"],
                "report_prompts": list(PROMPTS[1:]),
            },
            "lift": {"kl": 0.5, "n_random": 50},
            "seed": 0,
            "weight_hash": "",
        },
        "concepts": list(CONCEPTS[-3:]),
        "judge": {
            "name": "offline",
            "auroc": score(rng, 0.97),
            "accepted": list(CONCEPTS),
            "refused": {},
        },
        "detection": [
            {
                "site": "L1.mlp",
                "method": method,
                "size": 100,
                "seconds": 2.0,
                "explained_variance": score(rng, 0.3),
                "l0": 8.0,
                "concepts": 9,
                "detected": 4,
                "auroc": score(rng, 0.8, control=0.5),
            }
            for method in ("snmf", "random")
        ],
        "steering": rows,
        "controls": [
            {
                "place": "L1.mlp",
                "family": "random dense at L1.mlp",
                "report": score(rng, 0.04),
                "unreachable": 0,
            }
        ],
        "differences": [
            {
                "question": question,
                "first": names[one],
                "second": names[other],
                "kl": 0.5,
                "difference": score(rng, 0.3),
            }
            for one, other, question in pairs
        ],
        "judged": 100,
        "failed": 0,
    }
    return read_record(ComparisonResult, values)


def _way(
    rng: np.random.Generator, method: str, site: str, place: str, route: str
) -> dict[str, Any]:
    return {
        "site": site,
        "method": method,
        "size": None if method == "difference_in_means" else 100,
        "route": route,
        "place": place,
        "n": 3,
        "report": score(rng, float(rng.uniform(0.2, 1.5))),
        "margin": score(rng, 0.4),
        "beat_control": 2,
        "unreachable": 0,
        "curve": [{"kl": 0.5, "score": score(rng, 0.5)}],
        "benign_kl": score(rng, 0.2),
        "perplexity_ratio": score(rng, 1.2),
        "lift": score(rng, 0.1),
        "lift_percentile": score(rng, 80.0),
    }
