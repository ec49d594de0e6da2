"""PathsResult: a graph with everything that was measured to judge it, as the page and the command line show it."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from interp.causal.checked import Checked
from interp.causal.faithfulness import Faithfulness
from interp.causal.graph import CausalGraph
from interp.causal.stability import Stability
from interp.causal.sufficiency import Sufficiency
from interp.causal.wiring import Edge
from interp.core import Score


@dataclass(frozen=True)
class PathsResult:
    """What one run on one task found: the graph, how well the model does the task, and the graph's judgements.

    `task` is the task's name, `accuracy` the model's on it (None where there is no right answer), `items` the examples' texts. `others` are
    faithfulness curves of other methods on the same examples, drawn beside the graph's own. What was not measured is None.
    """

    graph: CausalGraph
    faithfulness: Faithfulness
    checked: Checked | None = None
    stability: Stability | None = None
    sufficiency: Sufficiency | None = None
    task: str = "task"
    accuracy: Score | None = None
    items: tuple[str, ...] = ()
    others: tuple[Faithfulness, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the graph's arrays (`interp.causal.export.to_json` holds these) as json-ready values; NaN becomes None."""
        own = ("task", "accuracy", "faithfulness", "others", "checked", "stability", "sufficiency", "items")
        about = {"method": self.graph.method, "value": self.graph.value, "metric": self.graph.metric, "edges": len(self.graph.edges)}
        return about | {"provenance": self.graph.provenance.to_dict()} | {name: _plain(getattr(self, name)) for name in own}


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
