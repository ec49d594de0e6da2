// The figures of a page, drawn by plotly in the page's own colours, and the theme.

const PRINTED_WIDTH = 680;

function showFigures(figures) {
  const at = (id) => document.getElementById(id);

  // Plotly needs colours as values, so the theme's are read from the page.
  function themed() {
    const probe = el("span", {});
    document.body.append(probe);
    const value = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const colors = { ink: value("--ink"), muted: value("--muted"), line: value("--line"), ground: value("--ground") };
    probe.remove();
    return colors;
  }

  function themedLayout(layout, printing) {
    const { ink, muted, line, ground } = themed();
    const axis = { gridcolor: line, linecolor: line, tickfont: { color: muted, size: 12 } };
    const titled = (own) => ({ ...own, ...axis, title: { ...own?.title, font: { size: 13, color: muted } } });
    const wide = innerWidth > 900 && !printing;
    const beside = { ...layout.legend, orientation: "v", x: 1.01, xanchor: "left", y: 1, yref: "paper", yanchor: "top" };
    return {
      ...layout,
      ...(printing ? { autosize: false, width: PRINTED_WIDTH } : { autosize: true, width: undefined }),
      legend: wide ? beside : layout.legend,
      font: { ...layout.font, color: ink },
      hoverlabel: { ...layout.hoverlabel, bgcolor: ground, bordercolor: line, font: { color: ink } },
      xaxis: { ...titled(layout.xaxis), fixedrange: true },
      yaxis: { ...titled(layout.yaxis), fixedrange: true },
    };
  }

  function plot(printing = false) {
    for (const place of document.querySelectorAll(".plot")) {
      const figure = figures[place.dataset.figure];
      window.Plotly.react(place, figure.data, themedLayout(figure.layout, printing), { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }

  async function loadPlotly() {
    const packed = Uint8Array.from(atob(at("plotly").textContent), (letter) => letter.charCodeAt(0));
    at("plotly").remove();
    const source = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = el("script", {});
    script.textContent = await new Response(source).text();
    document.head.append(script);
    plot();
  }

  function withoutPlotly() {
    for (const place of document.querySelectorAll(".plot")) {
      place.classList.add("failed");
      place.replaceChildren(el("p", { class: "missing" }, "This browser cannot draw the figure; its numbers are in the table below."));
    }
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  function setTheme(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    at("theme").textContent = isDark() ? "Light" : "Dark";
    at("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    if (window.Plotly) plot();
  }

  // On paper: light colours, a page's width, and what lies behind the figures, since paper has no hover.
  const opened = [];
  function beforePrint() {
    document.documentElement.classList.add("printing");
    opened.push(...document.querySelectorAll("details.printed:not([open])"));
    for (const part of opened) part.open = true;
    if (window.Plotly) plot(true);
  }

  function afterPrint() {
    document.documentElement.classList.remove("printing");
    for (const part of opened.splice(0)) part.open = false;
    if (window.Plotly) plot();
  }

  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
  at("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  dark.addEventListener("change", () => setTheme());
  matchMedia("(min-width: 901px)").addEventListener("change", () => window.Plotly && plot());
  setTheme();
  // After the text: unpacking takes longer than everything else.
  const load = () => ("DecompressionStream" in window ? loadPlotly() : withoutPlotly());
  requestAnimationFrame(() => setTimeout(load));
}
