// Neighbours, two features side by side, two dictionaries, and the page's addresses.

function splitPair(text, known) {
  for (let place = text.indexOf("~"); place >= 0; place = text.indexOf("~", place + 1)) {
    const both = [text.slice(0, place), text.slice(place + 1)];
    if (both.every(known)) return both;
  }
  return null;
}

const matchAddress = (match) => `#match:${[match.first, match.second].map(encodeURIComponent).join("~")}`;

// What an address means: a feature `id`, perhaps `beside` another, the number of a `match`, a place of the page, or something `unknown`.
function readAddress(fragment, { data, byId }) {
  let text = fragment;
  try {
    text = decodeURIComponent(fragment);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
  }
  if (byId.has(text)) return { id: text };
  if (text === "" || document.getElementById(text)) return {};
  if (text.startsWith("match:")) {
    const both = splitPair(text.slice(6), (name) => data.matches.some((match) => name === match.first || name === match.second)) ?? [];
    const found = data.matches.findIndex((match) => both.includes(match.first) && both.includes(match.second));
    return found < 0 ? { unknown: text } : { match: found };
  }
  const both = splitPair(text, (id) => byId.has(id));
  if (!both) return { unknown: text };
  return both[0] === both[1] ? { id: both[0] } : { id: both[1], beside: both[0] };
}

function neighbourRow(feature, neighbour, { data, view, byId }) {
  const other = byId.get(neighbour.id);
  const control = feature.neighbour_control;
  const size = { value: Math.abs(neighbour.cosine), low: null, high: null };
  const hue = neighbour.cosine < 0 ? "var(--negative)" : view.colors[other.method] ?? "var(--accent)";
  return el("tr", {},
    el("th", { scope: "row" }, featureLink(other, view),
      el("span", { class: "sub" }, neighbour.id, " ", el("a", { href: address(feature.id, neighbour.id), "aria-label": `Compare with ${neighbour.id}` }, "compare"))),
    el("td", { class: "drawn" }, strip(size, 0, 1, [control], hue)),
    el("td", {}, number(neighbour.cosine, 2)),
    el("td", {}, number(control, 2)),
    el("td", {}, number(neighbour.coactivation, 2)));
}

function neighboursPart(feature, page) {
  const head = el("h4", {}, "What is nearest to it?");
  const known = feature.neighbours.filter((neighbour) => page.byId.has(neighbour.id));
  if (!known.length) return [head, el("p", { class: "missing" }, "No neighbours were computed for this feature.")];
  const titles = ["Feature", "", "Cosine", "Control", "Fires together"];
  const header = titles.map((title) => (title ? el("th", { scope: "col" }, title) : el("td", {})));
  return [
    head,
    el("table", { class: "neighbours" }, el("thead", {}, el("tr", {}, header)),
      el("tbody", {}, known.map((neighbour) => neighbourRow(feature, neighbour, page)))),
    el("p", { class: "note" },
      "Cosine of the two directions, drawn by its size from 0 to 1. Control, marked in grey: how near any feature comes to this one by chance (95 % quantile over shuffles), when its own sizes are put on neurons drawn by how much the dictionary uses them. Fires together: correlation of the two coefficients over all tokens."),
  ];
}

function scoreCell(score, low, controls, color, digits = 3) {
  if (!score || score.value === null) return el("td", { class: "missing" }, "not measured");
  const control = controls.filter((value) => value !== null);
  return el("td", { title: score.interval ? scoreTitle(score) : null },
    el("span", { class: "figure" }, scoreText(score, digits)),
    strip(score, low, 1, control, color),
    control.length ? el("span", { class: "sub" }, `control ${control.map((value) => number(value, 2)).join(", ")}`) : null);
}

function detectionCell(name, low) {
  return (feature, color) => {
    const found = feature.detection;
    const controls = found && name === "auroc" ? [found.control_random, found.control_shuffled] : [];
    return scoreCell(found?.[name], low, controls, color);
  };
}

function stabilityCell(name) {
  return (feature, color) => {
    const value = feature.stability?.[name] ?? null;
    return scoreCell({ value, low: null, high: null }, 0, [feature.stability?.control ?? null], color, 2);
  };
}

function routeOf(feature, name) {
  return feature.steering?.routes.find((route) => route.route === name) ?? null;
}

function steeringCell(name) {
  return (feature, color) => {
    const route = routeOf(feature, name);
    if (!route || route.report.value === null) return el("td", { class: "missing" }, "not measured");
    const half = ({ value, low, high }) => ({ value: value / 2, low: low === null ? null : low / 2, high: high === null ? null : high / 2 });
    const control = route.control.value === null ? null : route.control.value / 2;
    return el("td", { title: scoreTitle(route.report) },
      el("span", { class: "figure" }, scoreText(route.report)),
      strip(half(route.report), 0, 1, [control], color),
      el("span", { class: "sub" }, `control ${scoreText(route.control)}: ${route.beats_control ? "beats it" : "does not beat it"}`));
  };
}

function plainCell(value) {
  return (feature) => el("td", {}, value(feature) ?? "–");
}

function comparisonRows(features, view) {
  const names = ["native", "companion"].filter((name) => features.some((feature) => routeOf(feature, name)));
  return [
    ["Dictionary", plainCell((feature) => view.titles[feature.method] ?? feature.method)],
    ["Fires on", plainCell((feature) => `${number(100 * feature.firing_rate, 2)} % of tokens`)],
    ["Neurons in its direction", plainCell((feature) => feature.nonzero_neurons.toLocaleString("en"))],
    ["Concept", plainCell((feature) => feature.detection?.concept ?? feature.steering?.concept ?? null)],
    ["AUROC, neutral texts", detectionCell("auroc", 0.3)],
    ["AUROC, other concepts", detectionCell("auroc_other_concepts", 0.3)],
    ["Average precision", detectionCell("average_precision", 0)],
    ["Found by other seeds", stabilityCell("seeds")],
    ["Found on halves", stabilityCell("halves")],
    ...names.map((name) => [`Steering score, ${name}`, steeringCell(name)]),
  ];
}

function relation(first, second, data) {
  const near = first.neighbours.find((item) => item.id === second.id) ?? second.neighbours.find((item) => item.id === first.id);
  const pairs = data.matches.flatMap((match) => match.pairs);
  const pair = pairs.find((item) => [item.first, item.second].includes(first.id) && [item.first, item.second].includes(second.id));
  const cosineOf = near?.cosine ?? pair?.cosine;
  if (cosineOf === undefined) return "Neither is among the nearest features of the other, so the cosine of their directions was not kept.";
  const controls = [first.neighbour_control, second.neighbour_control].filter((value) => value !== null);
  const said = [`The cosine of their directions is ${number(cosineOf, 2)}`];
  if (controls.length) said.push(` (by chance the nearest reach ${controls.map((value) => number(value, 2)).join(" and ")})`);
  if (near && near.coactivation !== null) said.push(`, and their coefficients correlate with ${number(near.coactivation, 2)} over all tokens`);
  if (pair) said.push(". They are partners in the one-to-one pairing of the two dictionaries");
  return `${said.join("")}.`;
}

const colorOf = (feature, view) => view.colors[feature.method] ?? "var(--accent)";

function columnHead(feature, view) {
  return el("p", { class: "of" }, methodDot(feature.method, view), nameOf(feature));
}

function columns(features, view, part) {
  return el("div", { class: "pair" }, features.map((feature) => el("div", {}, columnHead(feature, view), part(feature))));
}

function tokenColumns(features, view) {
  const common = (name) => {
    const [left, right] = features.map((feature) => new Set(feature[name].map((item) => item.token)));
    return new Set([...left].filter((token) => right.has(token)));
  };
  const [up, down] = [common("promoted"), common("suppressed")];
  return columns(features, view, (feature) => [
    tokenList("Promoted", feature.promoted, "up", up),
    tokenList("Suppressed", feature.suppressed, "down", down),
  ]);
}

// One row of the grid is one route, so that curves of the same kind stand side by side.
function steeringColumns(features, { data, view }) {
  const names = ["native", "companion"].filter((name) => features.some((feature) => routeOf(feature, name)));
  if (!names.length) return el("p", { class: "missing" }, "Neither was steered.");
  const cell = (feature, name) => {
    const route = routeOf(feature, name);
    const unsteered = data.steering.unsteered.score[feature.steering?.concept] ?? null;
    const chart = route ? routeCard(route, unsteered, colorOf(feature, view), view.score_top) : el("p", { class: "missing" }, `Its ${name} direction was not steered.`);
    return el("div", {}, columnHead(feature, view), chart);
  };
  return el("div", { class: "pair routes" }, names.flatMap((name) => features.map((feature) => cell(feature, name))));
}

function pairParts(first, second, page) {
  const { data, view } = page;
  const features = [first, second];
  const heading = (feature) => el("th", { scope: "col" }, featureLink(feature, view), el("span", { class: "sub" }, feature.id));
  const rows = comparisonRows(features, view).map(([name, cell]) => ({ name, cells: features.map((feature) => cell(feature, colorOf(feature, view))) }));
  const empty = ({ cells }) => cells.every((cell) => cell.classList.contains("missing"));
  const missing = rows.filter(empty).map(({ name }) => name.toLowerCase().replace("auroc", "AUROC"));
  return [
    el("h3", { id: "entry-title" }, "Side by side"),
    el("p", { class: "prose" }, relation(first, second, data)),
    el("table", { class: "aligned" },
      el("caption", { class: "hidden" }, `Scores of ${first.id} and ${second.id}`),
      el("thead", {}, el("tr", {}, el("td", {}), features.map(heading))), el("tbody", {}, rows.filter((row) => !empty(row)).map(({ name, cells }) => el("tr", {}, el("th", { scope: "row" }, name), cells)))),
    ...(missing.length ? [el("p", { class: "note" }, `Measured for neither: ${missing.join("; ")}.`)] : []),
    el("p", { class: "note" }, "AUROC is drawn from 0.3 to 1, cosines and average precision from 0 to 1, steering scores from 0 to 2. Controls are marked in grey."),
    el("h4", {}, "Where they are strongest"),
    columns(features, view, (feature) => contextsPart(feature).slice(1)),
    el("h4", {}, "What they say to the vocabulary"),
    tokenColumns(features, view),
    el("p", { class: "note" }, "Bold and underlined: in the list of both."),
    el("h4", {}, "Do they steer?"),
    steeringColumns(features, page),
  ].flat(3);
}

// All cosines of a pairing as ticks, with the mean and its interval, and the control in grey.
function pairingChart(match) {
  const x = (value) => 6 + 628 * Math.min(1, Math.max(0, value));
  const { value, low, high, control } = match.mean_cosine;
  const label = `Cosines of ${match.pairs.length} pairs, mean ${scoreText(match.mean_cosine)}, control ${number(control, 2)}.`;
  const chart = draw("svg", { viewBox: "0 0 640 76", role: "img", "aria-label": label, class: "pairing" });
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    chart.append(draw("line", { x1: x(tick), x2: x(tick), y1: 8, y2: 54, stroke: "var(--line)" }));
    chart.append(draw("text", { x: x(tick), y: 72, "text-anchor": tick === 0 ? "start" : tick === 1 ? "end" : "middle" }, String(tick)));
  }
  for (const pair of match.pairs) {
    chart.append(draw("line", { x1: x(Math.abs(pair.cosine)), x2: x(Math.abs(pair.cosine)), y1: 30, y2: 50, stroke: "var(--accent)", "stroke-width": 1.5, opacity: 0.55 }));
  }
  if (control !== null) chart.append(draw("line", { x1: x(control), x2: x(control), y1: 8, y2: 54, stroke: "var(--grey)", "stroke-width": 2.5 }));
  if (value === null) return chart;
  if (low !== null) chart.append(draw("line", { x1: x(low), x2: x(high), y1: 18, y2: 18, stroke: "var(--ink)", "stroke-width": 2.5 }));
  chart.append(draw("circle", { cx: x(value), cy: 18, r: 4.5, fill: "var(--ink)" }));
  return chart;
}

function pairRow(pair, control, { view, byId }) {
  const [first, second] = [byId.get(pair.first), byId.get(pair.second)];
  const size = { value: Math.abs(pair.cosine), low: null, high: null };
  return el("li", {}, el("a", { href: address(pair.first, pair.second) },
    el("span", { class: "figure" }, number(pair.cosine, 2)),
    el("span", { class: "drawn" }, strip(size, 0, 1, [control], "var(--accent)")),
    ...[first, second].map((feature) => el("span", { class: "side" }, methodDot(feature.method, view), nameOf(feature), el("span", { class: "sub" }, feature.id)))));
}

function matchParts(match, page) {
  const { view, byId } = page;
  const pairs = match.pairs.filter((pair) => byId.has(pair.first) && byId.has(pair.second)).sort((a, b) => Math.abs(b.cosine) - Math.abs(a.cosine));
  const { control, n, seed } = match.mean_cosine;
  const above = control === null ? null : pairs.filter((pair) => Math.abs(pair.cosine) > control).length;
  const [first, second] = [match.first, match.second].map((name) => view.titles[name] ?? name);
  const shown = 20;
  const list = el("ol", { class: "pairs" }, pairs.slice(0, shown).map((pair) => pairRow(pair, control, page)));
  const more = el("button", { type: "button" }, `Show all ${pairs.length} pairs`);
  more.addEventListener("click", () => {
    list.append(...pairs.slice(shown).map((pair) => pairRow(pair, control, page)));
    list.children[shown].firstChild.focus();
    more.remove();
  });
  return [
    el("p", { class: "prose" }, `${first} and ${second}: mean cosine of partners `, el("strong", {}, scoreText(match.mean_cosine)),
      control === null ? ", without a control" : `, control ${number(control, 2)}`, ` (n = ${n}, seed ${seed}).`,
      above === null ? "" : ` ${above} of ${pairs.length} pairs are closer than the control.`),
    pairingChart(match),
    el("p", { class: "note" }, "Every tick is a pair, by the size of its cosine; the dot is their mean with its interval, the grey line the control. A pair opens both features side by side."),
    list,
    ...(pairs.length > shown ? [more] : []),
  ];
}
