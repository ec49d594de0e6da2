"""Can these numbers be trusted? A report's own weak points, asked and answered from its data."""

from collections.abc import Mapping
from typing import Any, Literal

from interp.report.tables.features import control_methods, method_titles, score_cell

State = Literal["good", "caution", "bad", "open"]

GOOD_JUDGE, USABLE_JUDGE = 0.9, 0.75
FEW_FAILURES, MANY_FAILURES = 0.01, 0.05
FEW_CASES = 10
CHANCE_ABOVE = 0.025  # a 95 % interval lies wholly above zero by chance
MANY_DEAD = 0.2


def trust(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Questions a careful reader asks of a report, the answers that its data gives, and a state for
    each.

    A state is `good`, `caution`, `bad` or `open` (not measured). The thresholds are ours: a judge
    is good when the lower end of its AUROC is at least .9 and bad below .75; failures are few up to
    1 % and many above 5 %; fewer than 10 cases call for caution.

    Example:
        >>> trust(data)[0]["question"], trust(data)[0]["state"]
    """
    asked = (_judge, _failures, _chance, _cases, _random_detection, _stability, _strengths, _dead)
    return [
        {"question": question, "answer": answer, "state": state}
        for question, answer, state in (ask(data) for ask in asked)
    ]


def _judge(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question = "Can the judge tell the concepts apart?"
    score, refused = data["judge"]["auroc"], data["judge"]["refused"]
    if score["value"] is None:
        return (
            question,
            "Its accuracy was not measured, so steering scores are only opinions.",
            "open",
        )
    control = "" if score["control"] is None else f" (shuffled labels {score['control']:.2f})"
    answer = (
        f"AUROC {score_cell(score, 3)} on held-out texts, mean of the {score['n']} concepts "
        f"it accepts{control}. "
    )
    answer += (
        f"Concepts refused because it cannot: {len(refused)}."
        if refused
        else "No concept had to be refused."
    )
    low = score["value"] if score["low"] is None else score["low"]
    return (
        question,
        answer,
        "good" if low >= GOOD_JUDGE else "caution" if low >= USABLE_JUDGE else "bad",
    )


def _failures(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question, asked, failed = (
        "How often did the judge fail?",
        data["judge"]["asked"],
        data["judge"]["failed"],
    )
    if not asked:
        return question, "It was asked nothing.", "open"
    share = failed / asked
    answer = (
        f"{failed:,} of {asked:,} judgements ({100 * share:.1f} %). Failures are counted and "
        "left out, never scored as zero."
    )
    return (
        question,
        answer,
        "good" if share <= FEW_FAILURES else "caution" if share <= MANY_FAILURES else "bad",
    )


def _chance(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question = "How many would beat their control by chance?"
    routes = [
        route
        for item in data["features"]
        if item["steering"]
        for route in item["steering"]["routes"]
    ]
    if not routes:
        return question, "No feature was steered, so no comparison was made.", "open"
    beating, expected = sum(route["beats_control"] for route in routes), CHANCE_ABOVE * len(routes)
    answer = (
        f"{len(routes)} comparisons with the best control, each with its own 95 % interval: about "
        f"{expected:.1f} would lie above zero "
        f"by chance, {beating} do."
    )
    return question, answer, "good" if beating > 3 * expected + 1 else "caution"


def _cases(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question = "On how many cases do the steering scores rest?"
    families = [
        family for family in data["steering"]["families"] if not family["control"] and family["n"]
    ]
    if not families:
        return question, "None was scored.", "open"
    least = min(family["n"] for family in families)
    texts = len(data["steering"]["prompts_report"]) * data["steering"]["samples"]
    answer = f"On {least} concepts in the smallest family and {texts} texts a concept and strength."
    if least < FEW_CASES:
        answer += " So few concepts give wide intervals, and a bootstrap over them is itself rough."
    return question, answer, "good" if least >= FEW_CASES else "caution"


def _random_detection(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question = "Do features detect better than random directions chosen the same way?"
    controls, titles = control_methods(data), method_titles(data)
    means = {
        item["method"]: item["mean_auroc"]
        for item in data["detection"]["summary"]
        if item["mean_auroc"]["value"] is not None
    }
    random = [means[name] for name in means if name in controls]
    own = {name: score for name, score in means.items() if name not in controls}
    if not random or not own:
        return question, "There was no such control.", "open"
    top = max(score["value"] if score["high"] is None else score["high"] for score in random)
    above = [
        titles[name]
        for name, score in own.items()
        if score["low"] is not None and score["low"] > top
    ]
    not_above = [titles[name] for name in own if titles[name] not in above]
    answer = (
        f"Mean AUROC of random directions: {score_cell(random[0])}. Clearly above it: "
        f"{', '.join(above) or 'none'}"
    )
    answer += f"; not clearly: {', '.join(not_above)}." if not_above else "."
    return question, answer, "bad" if not above else "caution" if not_above else "good"


def _stability(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question = "Do other seeds find the same features?"
    titles = method_titles(data)
    found = [
        (titles[item["method"]], item["stability"]["seeds"])
        for item in data["methods"]
        if item["stability"]
    ]
    scores = [
        (title, score) for title, score in found if score is not None and score["value"] is not None
    ]
    if not scores:
        return (
            question,
            "Not measured: one seed of each method. The option --stability 2 fits them again.",
            "open",
        )
    parts = [
        f"{title} {score_cell(score)}"
        + ("" if score["control"] is None else f" (control {score['control']:.2f})")
        for title, score in scores
    ]
    weakest = min(score["value"] for _, score in scores)
    return (
        question,
        "Mean cosine with the partner in another fit: " + ", ".join(parts) + ".",
        "good" if weakest >= 0.8 else "caution",
    )


def _strengths(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question = "Was the strength chosen on other prompts than those reported?"
    chosen, reported = data["steering"]["prompts_selection"], data["steering"]["prompts_report"]
    if not reported:
        return question, "Nothing was steered.", "open"
    shared = len(set(chosen) & set(reported))
    unreachable = sum(family["unreachable"] for family in data["steering"]["families"])
    answer = (
        f"Chosen on {len(chosen)}, reported on {len(reported)} others."
        if not shared
        else f"{shared} prompts are in both sets."
    )
    answer += (
        f" Strengths that no multiple reached: {unreachable}, left out and counted."
        if unreachable
        else " Every strength was reached."
    )
    return question, answer, "bad" if shared else "good"


def _dead(data: Mapping[str, Any]) -> tuple[str, str, State]:
    question, titles = "How many features never fire?", method_titles(data)
    shares = {
        titles[item["method"]]: item["dead_fraction"]
        for item in data["methods"]
        if item["method"] not in control_methods(data)
    }
    if not shares:
        return question, "No decomposition was measured.", "open"
    answer = ", ".join(f"{title} {100 * share:.0f} %" for title, share in shares.items()) + "."
    return question, answer, "good" if max(shares.values()) <= MANY_DEAD else "caution"
