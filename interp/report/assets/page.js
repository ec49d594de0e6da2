// The list of features, its filters, the page's address, and the keys.

(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const at = (id) => document.getElementById(id);
  const data = read("data");
  const view = read("view");
  const byId = new Map(data.features.map((feature) => [feature.id, feature]));
  const page = { data, view, byId, tree: familyTree(data.hierarchy) };
  const CHUNK = 60;
  let results = [];
  let drawn = 0;
  let current = null;
  let pinned = null;

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
  const say = (text) => (at("said").textContent = text);

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

  function inFamily() {
    const chosen = at("family")?.value;
    if (!chosen) return () => true;
    const members = new Set(page.tree.members(...chosen.split(":").map(Number)));
    return (feature) => members.has(feature.id);
  }

  function matches() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const related = inFamily();
    return (feature) => (!at("method").value || feature.method === at("method").value)
      && (!at("concept").value || concepts(feature).includes(at("concept").value))
      && (!at("steered").checked || feature.steering !== null)
      && (!at("beats").checked || routes(feature).some((route) => route.beats_control))
      && related(feature)
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

  const linkTo = (id) => (pinned !== null && pinned !== id ? address(pinned, id) : address(id));

  function row(feature, key) {
    const place = concepts(feature)[0];
    const link = el("a", { "data-id": feature.id },
      methodDot(feature.method, view), el("span", { class: "name" }, nameOf(feature)),
      el("span", { class: "number" }, number(key.of(feature), key.digits, key.signed)),
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
    markRows();
  }

  function refresh() {
    const key = KEYS[at("sort").value];
    results = data.features.filter(matches()).sort(compare(key));
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

  // The pinned feature stays where it is; one steps over it.
  function go(offset) {
    let place = step() + offset;
    if (results[place]?.id === pinned) place += offset;
    const target = results[Math.max(0, place)];
    if (target && target.id !== current && target.id !== pinned) location.hash = linkTo(target.id);
  }

  // One row takes part in tabbing; arrows reach the others.
  function markRows() {
    const links = [...at("list").querySelectorAll("a")];
    for (const link of links) {
      const here = link.dataset.id === current;
      link.href = linkTo(link.dataset.id);
      link.tabIndex = here ? 0 : -1;
      link.classList.toggle("pinned", link.dataset.id === pinned);
      if (here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (links.length && !links.some((link) => link.tabIndex === 0)) links[0].tabIndex = 0;
  }

  // The list scrolls inside itself only, so that opening a feature never moves the reader's page.
  function reveal() {
    const place = results.findIndex((feature) => feature.id === current);
    if (place >= drawn) drawMore(place + 1);
    markRows();
    const link = at("list").querySelector("a[aria-current]");
    if (!link) return;
    const [inner, outer] = [link.getBoundingClientRect(), at("list").getBoundingClientRect()];
    if (inner.top < outer.top || inner.bottom > outer.bottom) at("list").scrollTop += inner.top - outer.top - outer.height / 3;
  }

  function show(id, beside = null) {
    current = id;
    pinned = beside ?? (pinned === id ? id : null);
    const feature = byId.get(id);
    const parts = beside === null ? entryParts(feature, page) : pairParts(byId.get(beside), feature, page);
    at("entry").setAttribute("aria-label", beside === null ? `Feature ${id}` : `${beside} and ${id} side by side`);
    at("entry").dataset.id = id;
    at("entry").replaceChildren(...parts);
    document.body.classList.toggle("comparing", beside !== null);
    showPin();
    reveal();
    step();
    if (beside === null) document.dispatchEvent(new CustomEvent("interp:feature", { detail: { id } }));
    else say(`${beside} and ${id} side by side`);
  }

  function showPin() {
    const comparing = document.body.classList.contains("comparing");
    at("pin").textContent = pinned === null ? "Pin to compare" : "Unpin";
    at("pin").setAttribute("aria-pressed", String(pinned !== null));
    at("save-png").hidden = at("save-json").hidden = comparing;
    at("pinned").hidden = pinned === null;
    const name = pinned === null ? "" : nameOf(byId.get(pinned));
    at("pinned").firstElementChild.textContent = comparing ? `Compared with ${pinned}: ${name}` : `Pinned ${pinned}: ${name}. Choose another to see both.`;
  }

  function pin() {
    const comparing = document.body.classList.contains("comparing");
    pinned = pinned === null ? current : null;
    say(pinned === null ? "Unpinned" : `Pinned ${pinned}. Choose another feature to see both side by side.`);
    if (comparing) location.hash = address(current);
    else {
      showPin();
      markRows();
    }
  }

  function follow() {
    const place = readAddress(location.hash.slice(1), page);
    at("unknown").hidden = place.unknown === undefined;
    at("unknown").textContent = place.unknown === undefined ? "" : `This page has nothing called “${visible(place.unknown)}”; search below, or choose from the list.`;
    document.body.classList.toggle("reading", place.id !== undefined);
    document.title = place.id === undefined ? data.title : `${place.beside ? `${place.beside} and ` : ""}${place.id}: ${data.title}`;
    if (place.unknown !== undefined) at("unknown").scrollIntoView({ behavior: "instant", block: "center" });
    if (place.match !== undefined) showMatch(place.match);
    if (place.id === undefined) {
      if (document.body.classList.contains("comparing")) show(current);
      return;
    }
    show(place.id, place.beside ?? null);
    const top = at("reader").getBoundingClientRect().top;
    if (top < -20 || top > innerHeight / 2) at("reader").scrollIntoView({ behavior: "instant" });
    if (!at("index").contains(document.activeElement) && !at("reader").contains(document.activeElement)) at("entry").focus({ preventScroll: true });
  }

  function showMatch(which, scroll = true) {
    at("match").value = String(which);
    at("matched").replaceChildren(...matchParts(data.matches[which], page));
    if (scroll) at("dictionaries").scrollIntoView({ behavior: "instant" });
  }

  function leave() {
    if (at("search") === document.activeElement) (at("list").querySelector('a[tabindex="0"]') ?? at("list")).focus();
    else if (document.body.classList.contains("comparing") || pinned !== null) pin();
    else if (document.body.classList.contains("reading")) {
      location.hash = "features";
      document.body.classList.remove("reading");
      at("list").querySelector('a[tabindex="0"]')?.focus();
    }
  }

  // On a narrow screen opening a feature hides the list, so arrows only move the focus there.
  function onArrow(event) {
    const link = document.activeElement.closest?.("#list a");
    const offset = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...at("list").querySelectorAll("a")];
    const next = link && offset && links[links.indexOf(link) + offset];
    if (!next) return;
    event.preventDefault();
    const wide = matchMedia("(min-width: 901px)").matches;
    if (wide) location.replace(linkTo(next.dataset.id));
    next.focus();
    if (links.indexOf(next) === links.length - 1 && drawn < results.length) drawMore();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || at("keys").open) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape" && (!typing || event.target === at("search"))) leave();
    if (typing) return;
    if (event.key === "/") {
      event.preventDefault();
      at("search").focus();
    } else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "c") pin();
    else if (event.key === "?") at("keys").showModal();
    else onArrow(event);
  }

  function fillChoices() {
    const methods = [...new Set(data.features.map((feature) => feature.method))];
    at("method").append(...methods.map((name) => el("option", { value: name }, view.titles[name] ?? name)));
    const names = [...new Set(data.features.flatMap(concepts))].sort();
    at("concept").append(...names.map((name) => el("option", { value: name }, name)));
    const steered = data.features.some((feature) => feature.steering !== null);
    const detected = data.features.some((feature) => feature.detection !== null);
    at("sort").value = steered ? "margin" : detected ? "auroc" : "index";
    for (const [level, { features }] of (data.hierarchy?.levels ?? []).entries()) {
      if (level === 0) continue;
      const options = features.map((feature, index) => el("option", { value: `${level}:${index}` }, nameOf(feature)));
      at("family").append(el("optgroup", { label: `Level ${level}, ${features.length} broader` }, options));
    }
    const title = (name) => view.titles[name] ?? name;
    at("match")?.append(...data.matches.map((match, which) => el("option", { value: String(which) }, `${title(match.first)} and ${title(match.second)}`)));
  }

  function listen() {
    const click = (id, act) => at(id).addEventListener("click", act);
    const here = () => location.href.split("#")[0];
    at("filters").addEventListener("input", refresh);
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    click("previous", () => go(-1));
    click("next", () => go(1));
    click("pin", pin);
    at("pinned").querySelector("button").addEventListener("click", pin);
    click("copy", (event) => copyBy(event.currentTarget, here() + linkTo(current), say));
    click("copy-methods", (event) => copyBy(event.currentTarget, [...at("methods-text").children].map((item) => item.textContent.trim()).join("\n\n"), say));
    click("save-json", () => saveJson(byId.get(current), data));
    click("save-png", () => savePng(byId.get(current), page));
    click("show-keys", () => at("keys").showModal());
    click("close-keys", () => at("keys").close());
    if (at("match")) {
      at("match").addEventListener("input", () => (location.hash = matchAddress(data.matches[at("match").value])));
      click("copy-match", (event) => copyBy(event.currentTarget, here() + matchAddress(data.matches[at("match").value]), say));
    }
    addEventListener("hashchange", follow);
    addEventListener("keydown", onKey);
  }

  fillChoices();
  refresh();
  listen();
  if (results.length) show(results[0].id);
  if (at("match")) showMatch(0, false);
  follow();
  showFigures(view.figures);
})();
