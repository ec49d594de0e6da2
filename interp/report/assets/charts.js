"use strict";

// Nothing on this page is written as html: every text becomes a text node here.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function number(value, digits = 2, signed = false) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(digits);
  if (Number(text) === 0) return (0).toFixed(digits);
  return (signed && value > 0 ? "+" : "") + text.replace("-", "−");
}

function scoreText(score, digits = 2) {
  if (!score || score.value === null) return "not defined";
  const inside = score.low === null || score.high === null ? "" : ` [${number(score.low, digits)}, ${number(score.high, digits)}]`;
  return number(score.value, digits) + inside;
}

function scoreTitle(score) {
  return `${score.interval}, n = ${score.n}, seed ${score.seed}`;
}

// A score on a line: the interval, the value, and a grey mark for every control.
function strip(score, low, high, controls, color) {
  const x = (value) => 4 + (172 * (Math.min(high, Math.max(low, value)) - low)) / (high - low);
  const chart = draw("svg", { viewBox: "0 0 180 20", "aria-hidden": "true" });
  chart.append(draw("line", { x1: 4, x2: 176, y1: 10, y2: 10, stroke: "var(--line)", "stroke-width": 2 }));
  for (const control of controls.filter((value) => value !== null)) {
    chart.append(draw("line", { x1: x(control), x2: x(control), y1: 3, y2: 17, stroke: "var(--grey)", "stroke-width": 2 }));
  }
  if (score.value === null) return chart;
  if (score.low !== null && score.high !== null) {
    chart.append(draw("line", { x1: x(score.low), x2: x(score.high), y1: 10, y2: 10, stroke: color, "stroke-width": 3 }));
  }
  chart.append(draw("circle", { cx: x(score.value), cy: 10, r: 4.5, fill: color }));
  return chart;
}

const PLOT = { width: 400, height: 216, left: 34, right: 10, top: 12, bottom: 36 };

function scales(strengths, top) {
  const logs = strengths.map(Math.log);
  const low = Math.min(...logs);
  const span = Math.max(...logs) - low || 1;
  const inner = PLOT.width - PLOT.left - PLOT.right - 24;
  return {
    x: (kl) => PLOT.left + 12 + (inner * (Math.log(kl) - low)) / span,
    y: (score) => PLOT.top + ((PLOT.height - PLOT.top - PLOT.bottom) * (top - Math.min(top, Math.max(0, score)))) / top,
  };
}

function axes(chart, strengths, top, { x, y }) {
  const right = PLOT.width - PLOT.right;
  for (const score of [0, 0.25, 0.5, 0.75, 1].map((share) => share * top)) {
    chart.append(draw("line", { x1: PLOT.left, x2: right, y1: y(score), y2: y(score), stroke: "var(--line)" }));
    const even = score === 0 || score === top / 2 || score === top;
    if (even) chart.append(draw("text", { x: PLOT.left - 8, y: y(score) + 4, "text-anchor": "end" }, String(score)));
  }
  for (const kl of strengths) {
    chart.append(draw("text", { x: x(kl), y: PLOT.height - PLOT.bottom + 16, "text-anchor": "middle" }, String(kl)));
  }
  chart.append(draw("text", { x: (PLOT.left + right) / 2, y: PLOT.height - 3, "text-anchor": "middle" }, "strength, KL in nats"));
}

function level(chart, score, { y }, dash) {
  if (!score || score.value === null) return;
  const [left, right] = [PLOT.left, PLOT.width - PLOT.right];
  if (score.low !== null && score.high !== null && dash === "") {
    const height = Math.max(1, y(score.low) - y(score.high));
    chart.append(draw("rect", { x: left, width: right - left, y: y(score.high), height, fill: "var(--grey)", opacity: 0.22 }));
  }
  const line = { x1: left, x2: right, y1: y(score.value), y2: y(score.value), stroke: "var(--grey)", "stroke-width": 1.5 };
  chart.append(draw("line", { ...line, "stroke-dasharray": dash }));
}

function curve(chart, doses, chosen, color, { x, y }) {
  const known = doses.filter((dose) => dose.score.value !== null);
  const points = known.map((dose) => `${x(dose.kl)},${y(dose.score.value)}`).join(" ");
  const main = known.some((dose) => dose.sign === chosen.sign);
  const ink = main ? color : "var(--line-strong)";
  chart.append(draw("polyline", { points, fill: "none", stroke: ink, "stroke-width": main ? 2.25 : 1.25 }));
  for (const dose of known) {
    const at = x(dose.kl);
    const { value, low, high } = dose.score;
    if (main && low !== null && high !== null) chart.append(draw("line", { x1: at, x2: at, y1: y(low), y2: y(high), stroke: ink }));
    if (main && dose.kl === chosen.kl) {
      chart.append(draw("circle", { cx: at, cy: y(value), r: 8, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5 }));
    }
    const title = draw("title", {}, `KL ${dose.kl} (measured ${number(dose.measured_kl, 3)}), α ${number(dose.alpha, 2)}: ${scoreText(dose.score)}`);
    chart.append(draw("circle", { cx: at, cy: y(value), r: main ? 4 : 2.5, fill: ink }, title));
  }
}

// One route's dose-response: the chosen sign in colour, the other sign thin, the control as a band, no steering as a dotted line.
function doseChart(route, unsteered, color, top) {
  const doses = route.dose.filter((dose) => dose.kl > 0);
  const strengths = [...new Set(doses.map((dose) => dose.kl))].sort((a, b) => a - b);
  if (!strengths.length) return el("p", { class: "missing" }, "No strength was reached.");
  const shown = doses.filter((dose) => dose.sign === route.chosen.sign && dose.score.value !== null);
  const words = shown.map((dose) => `KL ${dose.kl}: ${scoreText(dose.score)}`).join("; ");
  const label = `Steering score by strength, ${route.route} direction. ${words}. Control ${scoreText(route.control)}.`;
  const chart = draw("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": label });
  const scale = scales(strengths, top);
  axes(chart, strengths, top, scale);
  level(chart, route.control, scale, "");
  level(chart, unsteered, scale, "2 4");
  for (const sign of [-route.chosen.sign, route.chosen.sign]) {
    const line = doses.filter((dose) => dose.sign === sign).sort((a, b) => a.kl - b.kl);
    if (line.length) curve(chart, line, route.chosen, color, scale);
  }
  return chart;
}
