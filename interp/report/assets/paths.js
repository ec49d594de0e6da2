// The page of causal paths: its figures.

showFigures(JSON.parse(document.getElementById("figures").textContent));
