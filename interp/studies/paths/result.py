"""PathsResult: a task's graph and all measurements that judge it."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from interp.causal.checks.faithfulness import Faithfulness
from interp.causal.checks.prediction_check import PredictionCheck
from interp.causal.checks.stability import Stability
from interp.causal.checks.sufficiency import Sufficiency
from interp.causal.graph.graph import CausalGraph
from interp.causal.wiring.wiring import Edge
from interp.core import Score
from interp.core.display.markup import Html, block, element, facts, foreign
from interp.core.display.scores import score_table


@dataclass(frozen=True, kw_only=True)
class PathsResult:
    """A task's graph, its checks, and how well the model does the task.

    `accuracy` is the model's on `task` (None without a right answer), `items` the examples' texts,
    `others` faithfulness curves of other methods on the same examples. What was not measured is
    None.
    """

    graph: CausalGraph
    faithfulness: Faithfulness
    checked: PredictionCheck | None = None
    stability: Stability | None = None
    sufficiency: Sufficiency | None = None
    task: str = "task"
    accuracy: Score | None = None
    items: tuple[str, ...] = ()
    others: tuple[Faithfulness, ...] = ()

    def _repr_html_(self) -> str:
        judged, found, again = self.faithfulness, self.checked, self.stability
        rows = [
            ("the model is right", self.accuracy),
            ("CMD, small is good", judged.cmd),
            ("CMD of random graphs", judged.random_cmd),
            ("predicted with measured, Spearman", None if found is None else found.spearman),
            ("overlap with graphs of other examples", None if again is None else again.halves),
        ]
        about = [
            ("examples judged on", f"{judged.clean.n:,}"),
            ("random graphs", judged.random),
            ("metric", foreign(self.graph.metric)),
        ]
        body = score_table(("", "score"), rows, about="The graph and its checks", muted={2})
        shown = block(
            "Causal paths",
            element("p", element("b", f"The graph is {judged.verdict}.")),
            body,
            facts(about),
            name=self.task,
        )
        return element("div", shown, Html(self.graph._repr_html_()))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the graph's arrays (for those, `interp.causal.graph.export.to_json`) as
        json-ready values; NaN becomes None.
        """
        own = ["task", "accuracy", "faithfulness", "others"]
        own += ["checked", "stability", "sufficiency", "items"]
        return {
            "method": self.graph.method,
            "value": self.graph.value,
            "metric": self.graph.metric,
            "edges": len(self.graph.edges),
            "provenance": self.graph.provenance.to_dict(),
        } | {name: _plain(getattr(self, name)) for name in own}


def _plain(value: Any) -> Any:
    if isinstance(value, Score):
        return value.to_dict()
    if isinstance(value, Edge):
        return str(value)
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
