"""A report's weak points: a careful reader's questions, answered from its data."""

import math
from dataclasses import dataclass
from typing import Literal

from interp.report.data.records import Report
from interp.report.tables.features import beside, control_methods, method_titles, score_cell

State = Literal["good", "caution", "bad", "open"]

GOOD_JUDGE, USABLE_JUDGE = 0.9, 0.75
FEW_FAILURES, MANY_FAILURES = 0.01, 0.05
FEW_CASES = 10
CHANCE_ABOVE = 0.025  # how often a 95 % interval lies above zero by chance
MANY_DEAD = 0.2


@dataclass(frozen=True)
class Doubt:
    """A question, its answer and its state."""

    question: str
    answer: str
    state: State


def trust(data: Report) -> list[Doubt]:
    """A careful reader's questions, answered from a report's data.

    A state is `good`, `caution`, `bad` or `open` (not measured). The thresholds are ours: a judge
    is good where the lower end of its AUROC is at least 0.9 and bad below 0.75; up to 1 % of
    failures are few, more than 5 % many; fewer than 10 cases call for caution.

    Example:
        >>> trust(data)[0].question, trust(data)[0].state
    """
    doubts = (_judge, _failures, _chance, _cases, _random_detection, _stability, _strengths, _dead)
    return [doubt(data) for doubt in doubts]


def _judge(data: Report) -> Doubt:
    question = "Can the judge tell the concepts apart?"
    score, refused = data.judge.auroc, data.judge.refused
    if math.isnan(score.value):
        return Doubt(
            question, "Its accuracy was not measured, so steering scores are only opinions.", "open"
        )
    answer = (
        f"AUROC {score_cell(score, 3)} on held-out texts, mean of the {score.n} concepts it "
        f"accepts{beside(score, name='shuffled labels')}. "
    )
    answer += (
        f"Concepts refused because it cannot: {len(refused)}."
        if refused
        else "No concept had to be refused."
    )
    low = score.value if math.isnan(score.low) else score.low
    state: State = "good" if low >= GOOD_JUDGE else "caution" if low >= USABLE_JUDGE else "bad"
    return Doubt(question, answer, state)


def _failures(data: Report) -> Doubt:
    question = "How often did the judge fail?"
    judged, failed = data.judge.asked, data.judge.failed
    if not judged:
        return Doubt(question, "It judged nothing.", "open")
    share = failed / judged
    answer = (
        f"{failed:,} of {judged:,} judgements ({100 * share:.1f} %). Failures are counted and "
        "left out, never scored as zero."
    )
    state: State = (
        "good" if share <= FEW_FAILURES else "caution" if share <= MANY_FAILURES else "bad"
    )
    return Doubt(question, answer, state)


def _chance(data: Report) -> Doubt:
    question, routes = "How many would beat their control by chance?", data.routes
    if not routes:
        return Doubt(question, "No feature was steered, so no comparison was made.", "open")
    beating, expected = sum(route.beats_control for route in routes), CHANCE_ABOVE * len(routes)
    answer = (
        f"{len(routes)} comparisons with the best control, each with its own 95 % interval: about "
        f"{expected:.1f} would lie above zero by chance, {beating} do."
    )
    return Doubt(question, answer, "good" if beating > 3 * expected + 1 else "caution")


def _cases(data: Report) -> Doubt:
    question = "On how many cases do the steering scores rest?"
    cases = [family.n for family in data.steering.families if not family.control and family.n]
    if not cases:
        return Doubt(question, "None was scored.", "open")
    least, texts = min(cases), len(data.steering.prompts_report) * data.steering.samples
    answer = f"On {least} concepts in the smallest family and {texts} texts a concept and strength."
    if least < FEW_CASES:
        answer += " So few concepts give wide intervals, and a bootstrap over them is itself rough."
    return Doubt(question, answer, "good" if least >= FEW_CASES else "caution")


def _random_detection(data: Report) -> Doubt:
    question = "Do features detect better than random directions chosen the same way?"
    controls, titles = control_methods(data), method_titles(data)
    means = {
        item.method: item.mean_auroc
        for item in data.detection.summary
        if not math.isnan(item.mean_auroc.value)
    }
    random = [score for name, score in means.items() if name in controls]
    own = {titles[name]: score for name, score in means.items() if name not in controls}
    if not random or not own:
        return Doubt(question, "There was no such control.", "open")
    top = max(score.value if math.isnan(score.high) else score.high for score in random)
    above = [title for title, score in own.items() if score.low > top]
    not_above = [title for title in own if title not in above]
    answer = (
        f"Mean AUROC of random directions: {score_cell(random[0])}. Clearly above it: "
        f"{', '.join(above) or 'none'}"
    )
    answer += f"; not clearly: {', '.join(not_above)}." if not_above else "."
    return Doubt(question, answer, "bad" if not above else "caution" if not_above else "good")


def _stability(data: Report) -> Doubt:
    question = "Do other seeds find the same features?"
    found = [(item.title, item.stability.seeds) for item in data.methods if item.stability]
    scores = [(title, score) for title, score in found if score and not math.isnan(score.value)]
    if not scores:
        return Doubt(
            question,
            "Not measured: one seed of each method. The option --stability 2 fits them again.",
            "open",
        )
    parts = ", ".join(f"{title} {score_cell(score)}{beside(score)}" for title, score in scores)
    weakest = min(score.value for _, score in scores)
    return Doubt(
        question,
        f"Mean cosine with the partner in another fit: {parts}.",
        "good" if weakest >= 0.8 else "caution",
    )


def _strengths(data: Report) -> Doubt:
    question = "Was the strength chosen on other prompts than those reported?"
    chosen, reported = data.steering.prompts_selection, data.steering.prompts_report
    if not reported:
        return Doubt(question, "Nothing was steered.", "open")
    shared = len(set(chosen) & set(reported))
    unreachable = sum(family.unreachable for family in data.steering.families)
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
    return Doubt(question, answer, "bad" if shared else "good")


def _dead(data: Report) -> Doubt:
    question, controls = "How many features never fire?", control_methods(data)
    shares = {
        item.title: item.dead_fraction for item in data.methods if item.method not in controls
    }
    if not shares:
        return Doubt(question, "No decomposition was measured.", "open")
    answer = ", ".join(f"{title} {100 * share:.0f} %" for title, share in shares.items()) + "."
    return Doubt(question, answer, "good" if max(shares.values()) <= MANY_DEAD else "caution")
