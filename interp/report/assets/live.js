// Live steering through the server that this page came from.

(() => {
  const at = (id) => document.getElementById(`live-${id}`);
  const DEBOUNCE = 400;
  const POLL = 1000;
  let ladder = [0, 0.05, 0.1, 0.25, 0.5, 1, 2];
  let routes = null;
  let companionSite = "";
  let feature = null;
  let shown = null;
  let running = null;
  let timer = 0;

  const kl = () => ladder[Number(at("strength").value)];
  const klText = () => (kl() === 0 ? "0, no steering" : `${kl()} nats`);

  // A screen reader would repeat words that are written again.
  function say(text) {
    if (at("status").textContent !== text) at("status").textContent = text;
  }

  function asked() {
    return {
      feature,
      route: at("route").value,
      kl: kl(),
      sign: Number(at("sign").value),
      prompt: at("prompt").value,
      max_new_tokens: Number(at("tokens").value),
      temperature: Number(at("temperature").value),
      top_p: Number(at("top").value),
      seed: Number(at("seed").value),
    };
  }

  function fail(text) {
    at("error").textContent = text;
    at("error").hidden = !text;
  }

  // Texts of earlier settings stay, but are marked.
  function markStale() {
    const strength = klText();
    at("kl").textContent = strength;
    at("strength").setAttribute("aria-valuetext", strength);
    if (!shown || running) return;
    const stale = JSON.stringify(asked()) !== JSON.stringify(shown);
    const was = at("texts").classList.toggle("stale", stale);
    if (was) say(`Shown: ${shown.feature} with earlier settings. Press Run.`);
  }

  function offerRoutes() {
    const method = feature.replace(/-\d+$/, "");
    const known = routes?.[method] ?? ["native"];
    const companion = at("route").querySelector("[value=companion]");
    companion.disabled = !known.includes("companion");
    companion.textContent = companion.disabled ? "its companion (not in this report)" : `its companion, at ${companionSite}`;
    if (companion.disabled) at("route").value = "native";
  }

  function choose(id) {
    feature = id;
    at("feature").textContent = id;
    offerRoutes();
    markStale();
  }

  function sentence(prompt, text) {
    return [el("span", { class: "given" }, prompt), text || el("span", { class: "missing" }, " (the model ended at once)")];
  }

  function show(request, answer) {
    shown = request;
    const signed = `${answer.sign > 0 ? "+" : "−"}${number(answer.alpha, 2)}`;
    const measured = answer.measured_kl === null ? "not finite" : `${number(answer.measured_kl, 3)} nats`;
    at("with").textContent = `${answer.feature}, ${signed} × direction at ${answer.site}, measured ${measured}`;
    at("without").textContent = `same prompt, seed ${answer.seed}`;
    at("steered").replaceChildren(...sentence(request.prompt, answer.text));
    at("plain").replaceChildren(...sentence(request.prompt, answer.unsteered));
    at("texts").hidden = false;
    at("texts").classList.remove("stale");
    const missed = answer.reached ? "" : ` No multiple of this direction reaches ${request.kl} nats; the closest is shown.`;
    const same = answer.text === answer.unsteered && request.kl > 0 ? " Both texts are the same." : "";
    say(`Done in ${number(answer.seconds, 1)} s.${missed}${same}`);
  }

  async function watch(run) {
    while (running === run) {
      const state = await fetch("/state", { signal: run.signal }).then((answer) => answer.json());
      const ahead = state.tickets.indexOf(run.ticket);
      if (running === run) say(ahead > 0 ? `Waiting: ${ahead} before this one …` : "Writing …");
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  async function ask(request, run) {
    const init = {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...request, ticket: run.ticket }),
      signal: run.signal,
    };
    const answer = await fetch("/steer", init);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    return answer.json();
  }

  function end() {
    running = null;
    at("stop").hidden = true;
    at("texts").removeAttribute("aria-busy");
    markStale();
  }

  // The latest request wins: the one before is cancelled, also on the server.
  async function go() {
    clearTimeout(timer);
    if (!feature || !at("form").reportValidity()) return;
    running?.controller.abort();
    const controller = new AbortController();
    const run = { controller, signal: controller.signal, ticket: crypto.randomUUID() };
    const request = asked();
    running = run;
    fail("");
    say("Writing …");
    at("stop").hidden = false;
    at("texts").classList.toggle("stale", shown !== null);
    at("texts").setAttribute("aria-busy", "true");
    watch(run).catch(() => {});
    try {
      const answer = await ask(request, run);
      if (running !== run) return;
      show(request, answer);
      end();
    } catch (error) {
      if (running !== run) return;
      const lost = error instanceof TypeError;
      say(error.name === "AbortError" ? "Stopped." : "");
      if (error.name !== "AbortError") fail(lost ? "The server does not answer. Is `interp report --serve` still running?" : error.message);
      end();
    }
  }

  function onStrength() {
    markStale();
    clearTimeout(timer);
    if (shown || running) timer = setTimeout(go, DEBOUNCE);
  }

  async function start() {
    const state = await fetch("/state").then((answer) => answer.json());
    ladder = state.ladder;
    routes = state.routes;
    companionSite = state.companion_site;
    at("strength").max = ladder.length - 1;
    at("ladder").replaceChildren(...ladder.map((_, place) => el("option", { value: place })));
    if (feature) offerRoutes();
    markStale();
    if (!Object.values(routes).some((known) => known.includes("companion"))) say("This report holds no companions: features steer by their own direction.");
  }

  document.addEventListener("interp:feature", (event) => choose(event.detail.id));
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    go();
  });
  at("form").addEventListener("input", (event) => (event.target === at("strength") ? onStrength() : markStale()));
  at("stop").addEventListener("click", () => running?.controller.abort());
  at("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) go();
  });
  start().catch(() => fail("The server does not answer. Is `interp report --serve` still running?"));
})();
