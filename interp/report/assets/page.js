// The list of features, its filters and links to features.

(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const at = (id) => document.getElementById(id);
  const data = read("data");
  const view = read("view");
  const byId = new Map(data.features.map((feature) => [feature.id, feature]));
  const CHUNK = 60;
  let results = [];
  let drawn = 0;
  let current = null;

  const best = (values) => values.reduce((top, value) => (value !== null && (top === null || value > top) ? value : top), null);
  const routes = (feature) => feature.steering?.routes ?? [];
  const margin = ({ report, control }) => (report.value === null || control.value === null ? null : report.value - control.value);
  const KEYS = {
    margin: { name: "margin over control", digits: 2, signed: true, of: (feature) => best(routes(feature).map(margin)) },
    steering: { name: "steering score", digits: 2, of: (feature) => best(routes(feature).map((route) => route.report.value)) },
    auroc: { name: "AUROC", digits: 3, of: (feature) => feature.detection?.auroc.value ?? null },
    firing: { name: "firing rate, %", digits: 2, of: (feature) => 100 * feature.firing_rate },
    index: { name: "index", digits: 0, ascending: true, of: (feature) => feature.index },
  };

  const concepts = (feature) => [feature.concept, feature.detection?.concept, feature.steering?.concept].filter(Boolean);
  const haystacks = new Map();
  function haystack(feature) {
    if (!haystacks.has(feature.id)) {
      const tokens = [...feature.promoted, ...feature.suppressed].map((item) => item.token);
      const contexts = feature.contexts.map((context) => context.tokens.join(""));
      haystacks.set(feature.id, [feature.id, feature.label, ...concepts(feature), ...tokens, ...contexts].join("\n").toLowerCase());
    }
    return haystacks.get(feature.id);
  }

  function matches(feature) {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return (!at("method").value || feature.method === at("method").value)
      && (!at("concept").value || concepts(feature).includes(at("concept").value))
      && (!at("steered").checked || feature.steering !== null)
      && (!at("beats").checked || routes(feature).some((route) => route.beats_control))
      && words.every((word) => haystack(feature).includes(word));
  }

  function compare(key) {
    const direction = key.ascending ? 1 : -1;
    return (a, b) => {
      const [left, right] = [key.of(a), key.of(b)];
      if (left === right) return a.index - b.index;
      if (left === null || right === null) return left === null ? 1 : -1;
      return direction * (left - right);
    };
  }

  function row(feature, key) {
    const dot = el("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = view.colors[feature.method] ?? "var(--grey)";
    const place = concepts(feature)[0];
    const link = el("a", { href: `#${encodeURIComponent(feature.id)}`, "data-id": feature.id, "aria-current": feature.id === current ? "true" : null },
      dot, el("span", { class: "name" }, visible(feature.label) || "(no label)"), el("span", { class: "number" }, number(key.of(feature), key.digits, key.signed)),
      el("span", { class: "sub" }, place ? `${feature.id}, ${place}` : feature.id));
    return el("li", {}, link);
  }

  const sentinel = el("li", { "aria-hidden": "true" });
  const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && drawMore(), { rootMargin: "400px" });

  function drawMore(until = drawn + CHUNK) {
    const key = KEYS[at("sort").value];
    const rows = results.slice(drawn, until).map((feature) => row(feature, key));
    drawn += rows.length;
    sentinel.remove();
    at("list").append(...rows);
    watcher.disconnect();
    if (drawn < results.length) {
      at("list").append(sentinel);
      watcher.observe(sentinel);
    }
  }

  function refresh() {
    const key = KEYS[at("sort").value];
    results = data.features.filter(matches).sort(compare(key));
    drawn = 0;
    at("count").textContent = `${results.length} of ${data.features.length} features`;
    at("key").textContent = key.name;
    at("list").replaceChildren(...(results.length ? [] : [el("li", { class: "none" }, "No feature matches. Remove a filter or a word.")]));
    at("list").scrollTop = 0;
    drawMore();
    step();
  }

  function step() {
    const place = results.findIndex((feature) => feature.id === current);
    at("previous").disabled = place <= 0;
    at("next").disabled = place === results.length - 1;
    return place;
  }

  function go(offset) {
    const target = results[Math.max(0, step() + offset)];
    if (target && target.id !== current) location.hash = encodeURIComponent(target.id);
  }

  // The list scrolls inside itself only, so that opening a feature never moves the reader's page.
  function markRow() {
    const place = results.findIndex((feature) => feature.id === current);
    if (place >= drawn) drawMore(place + 1);
    for (const link of at("list").querySelectorAll("a")) {
      if (link.dataset.id !== current) {
        link.removeAttribute("aria-current");
        continue;
      }
      link.setAttribute("aria-current", "true");
      const [inner, outer] = [link.getBoundingClientRect(), at("list").getBoundingClientRect()];
      if (inner.top < outer.top || inner.bottom > outer.bottom) at("list").scrollTop += inner.top - outer.top - outer.height / 3;
    }
  }

  function show(id) {
    current = id;
    const feature = byId.get(id);
    at("entry").setAttribute("aria-label", `Feature ${id}`);
    at("entry").replaceChildren(...entryParts(feature, data, view));
    markRow();
    step();
  }

  function follow() {
    let id = "";
    try {
      id = decodeURIComponent(location.hash.slice(1));
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
    }
    const known = byId.has(id);
    document.body.classList.toggle("reading", known);
    if (!known) return;
    show(id);
    const top = at("reader").getBoundingClientRect().top;
    if (top < -20 || top > innerHeight / 2) at("reader").scrollIntoView({ behavior: "instant" });
    if (!at("index").contains(document.activeElement) && !at("reader").contains(document.activeElement)) at("entry").focus({ preventScroll: true });
  }

  function copyWithoutClipboard(text) {
    const field = el("textarea", { class: "hidden" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }

  async function copyLink() {
    const link = `${location.href.split("#")[0]}#${encodeURIComponent(current)}`;
    const done = navigator.clipboard ? await navigator.clipboard.writeText(link).then(() => true, () => copyWithoutClipboard(link)) : copyWithoutClipboard(link);
    at("said").textContent = done ? "Link copied" : link;
    at("copy").textContent = done ? "Copied" : "Could not copy";
    setTimeout(() => (at("copy").textContent = "Copy link"), 1600);
  }

  function onKey(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      at("search").focus();
    } else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
  }

  function fillChoices() {
    const methods = [...new Set(data.features.map((feature) => feature.method))];
    at("method").append(...methods.map((name) => el("option", { value: name }, view.titles[name] ?? name)));
    const names = [...new Set(data.features.flatMap(concepts))].sort();
    at("concept").append(...names.map((name) => el("option", { value: name }, name)));
    const steered = data.features.some((feature) => feature.steering !== null);
    const detected = data.features.some((feature) => feature.detection !== null);
    at("sort").value = steered ? "margin" : detected ? "auroc" : "index";
  }

  fillChoices();
  refresh();
  at("filters").addEventListener("input", refresh);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("previous").addEventListener("click", () => go(-1));
  at("next").addEventListener("click", () => go(1));
  at("copy").addEventListener("click", copyLink);
  addEventListener("hashchange", follow);
  addEventListener("keydown", onKey);
  if (results.length) show(results[0].id);
  follow();
  showFigures(view.figures);
})();
