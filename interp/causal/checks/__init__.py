"""Is a graph right? Faithfulness, sufficiency, stability, predicted against measured."""
