// The page of causal paths: nothing but its figures.

showFigures(JSON.parse(document.getElementById("figures").textContent));
