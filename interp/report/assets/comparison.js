// The page of a comparison: nothing but its figures.

showFigures(JSON.parse(document.getElementById("figures").textContent));
