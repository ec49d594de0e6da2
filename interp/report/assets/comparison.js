// The page of a comparison: its figures.

showFigures(JSON.parse(document.getElementById("figures").textContent));
