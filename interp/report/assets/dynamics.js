// The page of learning dynamics: its figures, and sliders over checkpoints that move a point in them and change the samples shown.

const dynamicsFigures = JSON.parse(document.getElementById("figures").textContent);
showFigures(dynamicsFigures);

for (const slider of JSON.parse(document.getElementById("sliders").textContent)) {
  const at = (part) => document.getElementById(`${slider.name}-${part}`);
  const input = at("slider");
  let playing = 0;

  function move(name, [x, y]) {
    const traces = dynamicsFigures[name].data;
    const place = traces.findIndex((trace) => trace.meta === "now");
    // Kept in the figure itself, so that it stays when the theme draws it anew.
    Object.assign(traces[place], { x: [x], y: [y] });
    const plot = document.querySelector(`.plot[data-figure="${name}"]`);
    if (window.Plotly && plot.data) window.Plotly.restyle(plot, { x: [[x]], y: [[y]] }, [place]);
  }

  function show(place) {
    input.value = place;
    const text = `step ${slider.steps[place].toLocaleString("en")}`;
    at("step").textContent = text;
    input.setAttribute("aria-valuetext", text);
    if (slider.sheets.length) at("sheet").src = slider.sheets[slider.shown[place]];
    for (const [name, points] of Object.entries(slider.points)) move(name, points[place]);
  }

  function stop() {
    clearInterval(playing);
    playing = 0;
    at("play").textContent = "Play";
  }

  function play() {
    if (playing) return stop();
    if (Number(input.value) === slider.steps.length - 1) show(0);
    at("play").textContent = "Stop";
    playing = setInterval(() => {
      show(Number(input.value) + 1);
      if (Number(input.value) === slider.steps.length - 1) stop();
    }, 220);
  }

  input.addEventListener("input", () => {
    stop();
    show(Number(input.value));
  });
  at("play").addEventListener("click", play);
  show(slider.steps.length - 1);
}
