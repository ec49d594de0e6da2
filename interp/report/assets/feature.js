// One feature's entry; parts that were not measured say so.

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const letterCode = (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`;

function visible(text) {
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(INVISIBLE, letterCode);
}

// In running text a leading space stays a space; a token of nothing but white space is drawn.
function contextToken(text) {
  if (text.trim() === "") return el("span", { class: "ws" }, visible(text).replace(/ /g, "␣"));
  const parts = visible(text).split(/([⏎⇥]+)/);
  return parts.filter(Boolean).map((part) => (/[⏎⇥]/.test(part) ? el("span", { class: "ws" }, part) : part));
}

// In a list of tokens " the" and "the" must differ.
function spelled(text) {
  const shown = visible(text).replace(/(?! )\p{Zs}/gu, letterCode);
  return shown.replace(/^ +/, (spaces) => "␣".repeat(spaces.length));
}

function listToken(text) {
  const [, spaces, rest] = /^(␣*)(.*)$/su.exec(spelled(text));
  return el("span", { class: "tok" }, el("span", { class: "ws" }, spaces), rest);
}

function contextLine(context, largest) {
  const tokens = context.tokens.map((token, place) => {
    const value = context.coefficients[place];
    const [, lead, rest] = token.trim() ? /^( *)([\s\S]*)$/.exec(token) : ["", "", token];
    const node = el("span", { class: place === context.peak ? "t peak" : "t", title: number(value, 3) }, contextToken(rest));
    const share = Math.min(1, Math.abs(value) / largest);
    const hue = value < 0 ? "var(--negative)" : "var(--shade)";
    if (share > 0.02) node.style.background = `color-mix(in srgb, ${hue} ${Math.round(55 * share)}%, transparent)`;
    return [lead, node];
  });
  return el("li", {}, tokens.flat());
}

function contextsPart(feature) {
  const head = el("h4", {}, "Where it is strongest");
  if (!feature.contexts.length) return [head, el("p", { class: "missing" }, "It fired nowhere in the corpus, so there are no contexts.")];
  const largest = Math.max(...feature.contexts.flatMap((context) => context.coefficients.map(Math.abs))) || 1;
  const legend = el("p", { class: "note" }, el("span", { class: "legend" },
    el("span", {}, "coefficient 0", el("span", { class: "ramp" }), number(largest, 2)), el("span", {}, "outlined: strongest token")));
  return [head, legend, el("ol", { class: "contexts" }, feature.contexts.map((context) => contextLine(context, largest)))];
}

function tokenList(title, items, className, shared = new Set()) {
  const head = el("h5", {}, title);
  if (!items.length) return el("div", {}, head, el("p", { class: "missing" }, "Not computed."));
  const largest = Math.max(...items.map((item) => Math.abs(item.logit))) || 1;
  const rows = items.map((item) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * Math.abs(item.logit)) / largest}%`;
    return el("li", { class: shared.has(item.token) ? "shared" : null }, listToken(item.token), bar, el("span", { class: "logit" }, number(item.logit, 2, true)));
  });
  return el("div", { class: className }, head, el("ol", { class: `tokens ${className}` }, rows));
}

function vocabularyPart(feature) {
  const lists = [tokenList("Promoted", feature.promoted, "up"), tokenList("Suppressed", feature.suppressed, "down")];
  return [el("h4", {}, "What it says to the vocabulary"), el("div", { class: "pair" }, lists)];
}

function measure(name, score, low, controls, color) {
  return [
    el("dt", {}, name),
    el("dd", {}, strip(score, low, 1, controls, color)),
    el("dd", { class: "text", title: scoreTitle(score) }, scoreText(score, 3)),
  ];
}

function detectionPart(feature, color) {
  const head = el("h4", {}, "Does it detect a concept?");
  const found = feature.detection;
  if (!found) return [head, el("p", { class: "missing" }, "Detection was not measured for this feature: it is not the best feature of any concept.")];
  const controls = [found.control_random, found.control_shuffled];
  return [
    head,
    el("p", {}, "Concept: ", el("strong", {}, found.concept)),
    el("dl", { class: "measures" },
      measure("AUROC, neutral texts", found.auroc, 0.3, controls, color),
      measure("AUROC, other concepts", found.auroc_other_concepts, 0.3, [], color),
      measure("Average precision", found.average_precision, 0, [], color)),
    el("p", { class: "note" },
      `Controls, marked in grey: random direction ${number(controls[0], 3)}, shuffled labels ${number(controls[1], 3)}. AUROC is drawn from 0.3 to 1, average precision from 0 to 1.`),
  ];
}

function cosine(name, value, control, color) {
  if (value === null) return [];
  return [
    el("dt", {}, name),
    el("dd", {}, strip({ value, low: null, high: null }, 0, 1, [control], color)),
    el("dd", { class: "text" }, number(value, 2)),
  ];
}

function stabilityPart(feature, color) {
  const head = el("h4", {}, "Is it found again?");
  const found = feature.stability;
  if (!found) return [head, el("p", { class: "missing" }, "Not measured in this report.")];
  return [
    head,
    el("dl", { class: "measures" },
      cosine("By other seeds", found.seeds, found.control, color),
      cosine("On either half of the texts", found.halves, found.control, color)),
    el("p", { class: "note" },
      `Cosine with its partner in other fits, 0 to 1. Control, marked in grey: ${number(found.control, 2)}, from matching with each neuron's entries permuted over the features.`),
  ];
}

function signName(sign) {
  return sign < 0 ? "−" : "+";
}

function routeCard(route, unsteered, color, top) {
  const verdict = route.beats_control ? "beats its control" : "does not beat its control";
  const notes = [`Score ${scoreText(route.report)} at KL ${route.chosen.kl} (sign ${signName(route.chosen.sign)}), control ${scoreText(route.control)}: ${verdict}.`];
  if (route.lift) {
    notes.push(` Lift ${number(route.lift.value, 2)}, above ${number(route.lift.percentile, 0)} % of ${route.lift.n_random} random directions.`);
  }
  if (route.unreachable.length) notes.push(` Strengths that could not be reached: ${route.unreachable.join(", ")}.`);
  const name = route.route[0].toUpperCase() + route.route.slice(1);
  return el("div", { class: "chart" }, el("h5", {}, `${name} direction `, el("span", {}, `at ${route.site}`)), doseChart(route, unsteered, color, top),
    el("p", {}, notes.join("")));
}

function promptGroup(prompt, plain, doses, chosen) {
  const rest = (text) => (text.startsWith(prompt) ? text.slice(prompt.length) : text).trimStart();
  const body = (texts) => (texts.length ? texts.map((text) => el("p", {}, rest(text))) : "No text.");
  const of = (continuations) => continuations.filter((item) => item.prompt === prompt).map((item) => item.text);
  const rows = [el("dt", { class: "plain" }, el("b", {}, "Unsteered")), el("dd", { class: "plain", dir: "auto" }, body(of(plain)))];
  for (const dose of doses) {
    const mark = dose.kl === chosen.kl && dose.sign === chosen.sign ? "chosen" : null;
    rows.push(
      el("dt", { class: mark }, el("b", {}, `KL ${dose.kl}`), el("span", {}, `score ${number(dose.score.value)}${mark ? ", chosen" : ""}`),
        el("span", {}, `concept ${number(dose.concept_score, 1)}`), el("span", {}, `fluency ${number(dose.fluency_score, 1)}`)),
      el("dd", { class: mark, dir: "auto" }, body(of(dose.continuations))));
  }
  return el("section", { class: "prompt" }, el("p", { dir: "auto" }, `${prompt} …`), el("dl", { class: "doses" }, rows));
}

function showContinuations(place, plain, route, sign) {
  const doses = route.dose.filter((dose) => dose.sign === sign).sort((a, b) => a.kl - b.kl);
  const prompts = [...new Set(doses.flatMap((dose) => dose.continuations.map((item) => item.prompt)))];
  const group = (prompt) => promptGroup(prompt, plain, doses, route.chosen);
  if (!prompts.length) return place.replaceChildren(el("p", { class: "missing" }, "No continuations were kept for this direction."));
  const more = el("button", { type: "button" }, `Show ${prompts.length - 2} more prompts`);
  more.addEventListener("click", () => more.replaceWith(...prompts.slice(2).map(group)));
  return place.replaceChildren(...prompts.slice(0, 2).map(group), ...(prompts.length > 2 ? [more] : []));
}

function continuationsPart(routes, plain) {
  const place = el("div", {});
  const options = routes.flatMap((route) => [...new Set(route.dose.map((dose) => dose.sign))].map((sign) => ({ route, sign })));
  const chosen = options.filter(({ route, sign }) => sign === route.chosen.sign);
  if (!chosen.length) return [el("p", { class: "missing" }, "No strength was reached, so there is no steered text.")];
  const first = chosen.reduce((best, option) => ((option.route.report.value ?? -1) > (best.route.report.value ?? -1) ? option : best));
  const buttons = options.map((option) => {
    const button = el("button", { type: "button", "aria-pressed": String(option === first) }, `${option.route.route}, sign ${signName(option.sign)}`);
    button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      showContinuations(place, plain, option.route, option.sign);
    });
    return button;
  });
  showContinuations(place, plain, first.route, first.sign);
  return [el("div", { class: "choices", role: "group", "aria-label": "Direction shown" }, buttons), place];
}

function steeringPart(feature, steering, color, top) {
  const head = el("h4", {}, "Does it steer?");
  const found = feature.steering;
  if (!found) return [head, el("p", { class: "missing" }, "This feature was not steered, so whether it causes anything is open.")];
  const unsteered = steering.unsteered.score[found.concept] ?? null;
  const dotted = unsteered ? ` Dotted: no steering, ${scoreText(unsteered)}.` : "";
  const order = ["native", "companion"];
  const routes = [...found.routes].sort((a, b) => order.indexOf(a.route) - order.indexOf(b.route));
  if (!routes.length) return [head, el("p", { class: "missing" }, "It was meant to steer, but no route was scored.")];
  return [
    head,
    el("p", {}, "Concept: ", el("strong", {}, found.concept)),
    el("div", { class: "pair" }, routes.map((route) => routeCard(route, unsteered, color, top))),
    el("p", { class: "note" }, `All features are drawn on the same scale. Ring: chosen strength. Thin line: the opposite sign. Grey band: control.${dotted}`),
    el("h4", {}, "What the model writes"),
    continuationsPart(routes, steering.unsteered.continuations),
  ];
}

const address = (...ids) => `#${ids.map(encodeURIComponent).join("~")}`;

const nameOf = (feature) => visible(feature.label) || "(no label)";

function methodDot(method, view) {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  dot.style.background = view.colors[method] ?? "var(--grey)";
  return dot;
}

function featureLink(feature, view, ...ids) {
  return el("a", { href: address(...(ids.length ? ids : [feature.id])) }, methodDot(feature.method, view), nameOf(feature));
}

// Branches of the hierarchy read both ways: `above` a feature of a level, and `below` it, the heaviest first.
function familyTree(hierarchy) {
  const gathered = (name) => {
    const found = new Map();
    for (const branch of hierarchy?.branches ?? []) {
      const key = name === "below" ? `${branch.level}:${branch.parent}` : `${branch.level - 1}:${branch.child}`;
      const far = name === "below" ? { level: branch.level - 1, index: branch.child } : { level: branch.level, index: branch.parent };
      found.set(key, [...(found.get(key) ?? []), { ...far, share: branch.share }]);
    }
    for (const list of found.values()) list.sort((a, b) => b.share - a.share);
    return (level, index) => found.get(`${level}:${index}`) ?? [];
  };
  const [above, below] = [gathered("above"), gathered("below")];
  const leaves = (level, index) =>
    level === 0 ? [index] : [...new Set(below(level, index).flatMap((child) => leaves(child.level, child.index)))];
  return {
    above,
    members: (level, index) => leaves(level, index).map((leaf) => `${hierarchy.method}-${leaf}`),
    label: (level, index) => visible(hierarchy.levels[level].features[index].label) || "(no label)",
  };
}

function familyBranch(feature, place, { view, byId, tree }) {
  const members = tree.members(place.level, place.index).filter((id) => id !== feature.id && byId.has(id)).map((id) => byId.get(id));
  const broader = tree.above(place.level, place.index);
  const list = el("ul", { class: "members" }, members.map((member) => el("li", {}, featureLink(member, view))));
  return el("li", {},
    el("p", {}, el("strong", {}, tree.label(place.level, place.index)), el("span", { class: "sub" }, `level ${place.level}, weight ${number(place.share, 2)}`)),
    place.level === 1 ? list : el("details", {}, el("summary", {}, `${members.length} features`), list),
    broader.length ? el("ul", { class: "broader", "aria-label": "Broader still" }, broader.map((next) => familyBranch(feature, next, { view, byId, tree }))) : null);
}

function familyPart(feature, page) {
  if (feature.method !== page.data.hierarchy?.method) return [];
  const head = el("h4", {}, "Which family does it belong to?");
  const broader = page.tree.above(0, feature.index);
  if (!broader.length) return [head, el("p", { class: "missing" }, "It belongs to no broader feature.")];
  return [
    head,
    el("ul", { class: "family" }, broader.map((place) => familyBranch(feature, place, page))),
    el("p", { class: "note" }, "Broader features come from factoring the directions again; below each stand the others it is made of. Weight: this feature's part in it, against its largest part."),
  ];
}

function entryParts(feature, page) {
  const { data, view } = page;
  const color = view.colors[feature.method] ?? "var(--accent)";
  return [
    el("h3", { id: "entry-title" }, nameOf(feature)),
    el("p", { class: "meta" },
      el("span", {}, methodDot(feature.method, view), `${view.titles[feature.method] ?? feature.method}, feature ${feature.index}`),
      el("span", {}, el("code", {}, feature.id)),
      el("span", {}, `label from ${feature.label_source}`),
      el("span", {}, `fires on ${number(100 * feature.firing_rate, 2)} % of tokens`),
      el("span", {}, `${feature.nonzero_neurons.toLocaleString("en")} neurons in its direction`)),
    contextsPart(feature),
    vocabularyPart(feature),
    detectionPart(feature, color),
    stabilityPart(feature, color),
    neighboursPart(feature, page),
    familyPart(feature, page),
    steeringPart(feature, data.steering, color, view.score_top),
  ].flat(3);
}
