// Exports: links and text to the clipboard, one feature as a file.

function copyWithoutClipboard(text) {
  const field = el("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1" });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

async function copyText(text) {
  if (!navigator.clipboard) return copyWithoutClipboard(text);
  return navigator.clipboard.writeText(text).then(() => true, () => copyWithoutClipboard(text));
}

// The button says whether it worked, then its name again; `say` is for screen readers.
async function copyBy(button, text, say) {
  const name = button.dataset.name ?? button.textContent;
  button.dataset.name = name;
  const done = await copyText(text);
  say(done ? "Copied" : `Could not copy: ${text}`);
  button.textContent = done ? "Copied" : "Could not copy";
  setTimeout(() => (button.textContent = name), 1600);
}

function saveFile(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const fileName = (feature, ending) => `${feature.id.replace(/[^\w.-]+/g, "_")}.${ending}`;

function saveJson(feature, data) {
  const { title, model, corpus, provenance, judge } = data;
  const record = { title, model, corpus, judge, feature, provenance };
  saveFile(fileName(feature, "json"), new Blob([JSON.stringify(record, null, 1)], { type: "application/json" }));
}

const CARD = { width: 680, margin: 36, scale: 2, contexts: 4, tokens: 6 };

function cardColors() {
  const probe = el("span", {});
  document.body.append(probe);
  const value = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const colors = Object.fromEntries(["ground", "ink", "muted", "line", "shade", "negative", "grey", "accent"].map((name) => [name, value(`--${name}`)]));
  probe.style.fontFamily = "var(--sans)";
  const sans = getComputedStyle(probe).fontFamily;
  probe.style.fontFamily = "var(--serif)";
  const serif = getComputedStyle(probe).fontFamily;
  probe.remove();
  return { ...colors, sans, serif };
}

// Text is laid out before the canvas has its height, so everything is drawn through a list of strokes.
function cardPen(look) {
  const measure = document.createElement("canvas").getContext("2d");
  const strokes = [];
  const right = CARD.width - CARD.margin;
  const pen = { y: CARD.margin, look, strokes };
  pen.width = (text, font) => {
    measure.font = font;
    return measure.measureText(text).width;
  };
  pen.text = (text, x, y, font, color, align = "left") =>
    strokes.push((paper) => Object.assign(paper, { font, fillStyle: color, textAlign: align }).fillText(text, x, y));
  pen.box = (x, y, width, height, color, alpha = 1) =>
    strokes.push((paper) => {
      Object.assign(paper, { fillStyle: color, globalAlpha: alpha }).fillRect(x, y, width, height);
      paper.globalAlpha = 1;
    });
  pen.frame = (x, y, width, height, color) =>
    strokes.push((paper) => Object.assign(paper, { strokeStyle: color, lineWidth: 1 }).strokeRect(x, y, width, height));
  pen.rule = () => {
    pen.box(CARD.margin, pen.y, right - CARD.margin, 1, look.line);
    pen.y += 1;
  };
  // Pieces of text one after another; a piece that does not fit begins the next line, and one wider than a line is cut.
  pen.flow = (pieces, font, lineHeight, maxLines = 3, left = CARD.margin) => {
    let [x, line] = [left, 1];
    for (const piece of pieces) {
      let text = x === left ? piece.text.replace(/^ +/, "") : piece.text;
      if (x + pen.width(text, font) > right && x > left) {
        if (line === maxLines) {
          pen.text("…", x, pen.y + lineHeight * 0.72, font, look.muted);
          break;
        }
        [x, line, text] = [left, line + 1, piece.text.replace(/^ +/, "")];
        pen.y += lineHeight;
      }
      const letters = [...text];
      while (letters.length > 1 && x + pen.width(letters.join(""), font) > right) letters.splice(-2, 2, "…");
      text = letters.join("");
      piece.draw?.(x, pen.y, pen.width(text, font), text);
      pen.text(text, x, pen.y + lineHeight * 0.72, font, piece.color ?? look.ink);
      x += pen.width(text, font);
    }
    pen.y += lineHeight;
  };
  return pen;
}

const words = (text, color) => text.split(/(?=\s)/).map((part) => ({ text: part, color }));

function cardContext(pen, context, largest) {
  const { look } = pen;
  const font = `16px ${look.serif}`;
  const from = Math.max(0, context.peak - 16);
  const pieces = context.tokens.slice(from).map((token, offset) => {
    const place = from + offset;
    const value = context.coefficients[place];
    const share = Math.min(1, Math.abs(value) / largest);
    const mark = (x, y, width, text) => {
      const lead = pen.width(/^ */.exec(text)[0], font);
      if (share > 0.02) pen.box(x + lead, y + 1, width - lead, 22, value < 0 ? look.negative : look.shade, 0.55 * share);
      if (place === context.peak) pen.frame(x + lead - 0.5, y + 0.5, width - lead + 1, 23, look.ink);
    };
    return { text: (place === from && from > 0 ? "… " : "") + visible(token), draw: mark };
  });
  pen.y += 7;
  pen.flow(pieces, font, 26, 3);
  pen.y += 7;
  pen.rule();
}

function cardTokens(pen, feature) {
  const { look } = pen;
  const half = (CARD.width - 2 * CARD.margin - 32) / 2;
  const sides = [["Promoted", feature.promoted, look.shade], ["Suppressed", feature.suppressed, look.grey]];
  const top = pen.y;
  for (const [place, [title, items, color]] of sides.entries()) {
    const x = CARD.margin + place * (half + 32);
    pen.text(title, x, top + 14, `600 13px ${look.sans}`, look.ink);
    const largest = Math.max(...items.map((item) => Math.abs(item.logit)), 1e-9);
    for (const [row, item] of items.slice(0, CARD.tokens).entries()) {
      const y = top + 38 + 21 * row;
      const letters = [...spelled(item.token)];
      const font = `13px ${look.sans}`;
      while (letters.length > 1 && pen.width(letters.join(""), font) > 116) letters.splice(-2, 2, "…");
      pen.text(letters.join(""), x, y, font, look.ink);
      pen.box(x + 124, y - 8, ((half - 180) * Math.abs(item.logit)) / largest, 7, color, 0.75);
      pen.text(number(item.logit, 2, true), x + half, y, font, look.muted, "right");
    }
    if (!items.length) pen.text("Not computed.", x, top + 38, `13px ${look.sans}`, look.muted);
  }
  pen.y = top + 22 + 21 * Math.max(1, ...sides.map(([, items]) => Math.min(items.length, CARD.tokens)));
}

function cardScores(feature) {
  const found = feature.detection;
  const lines = [];
  if (found) {
    lines.push(["Detection", `${found.concept}: AUROC ${scoreText(found.auroc, 3)}, control ${number(found.control_random, 2)}`]);
  } else lines.push(["Detection", "not measured for this feature"]);
  if (feature.stability) {
    const { seeds, halves, control } = feature.stability;
    lines.push(["Found again", `other seeds ${number(seeds)}, halves ${number(halves)}, control ${number(control)}`]);
  }
  for (const route of feature.steering?.routes ?? []) {
    const verdict = route.beats_control ? "beats" : "does not beat";
    lines.push([`Steering, ${route.route}`, `${scoreText(route.report)} at KL ${route.chosen.kl}, ${verdict} its control ${scoreText(route.control)}`]);
  }
  if (!feature.steering) lines.push(["Steering", "not steered, so whether it causes anything is open"]);
  return lines;
}

function cardStrokes(pen, feature, { data, view }) {
  const { look } = pen;
  const heading = (text) => {
    pen.y += 26;
    pen.text(text, CARD.margin, pen.y + 12, `600 13px ${look.sans}`, look.muted);
    pen.y += 24;
  };
  pen.flow(words(nameOf(feature)), `600 25px ${look.sans}`, 33);
  pen.y += 4;
  const meta = `${view.titles[feature.method] ?? feature.method}, feature ${feature.index}, fires on ${number(100 * feature.firing_rate, 2)} % of tokens`;
  pen.flow(words(meta, look.muted), `14px ${look.sans}`, 20);
  heading("Where it is strongest");
  const largest = Math.max(...feature.contexts.flatMap((context) => context.coefficients.map(Math.abs)), 1e-9);
  for (const context of feature.contexts.slice(0, CARD.contexts)) cardContext(pen, context, largest);
  if (!feature.contexts.length) pen.flow(words("It fired nowhere in the corpus.", look.muted), `14px ${look.sans}`, 20);
  heading("What it says to the vocabulary");
  cardTokens(pen, feature);
  heading("Scores");
  for (const [name, text] of cardScores(feature)) {
    pen.text(name, CARD.margin, pen.y + 16.5, `14px ${look.sans}`, look.muted);
    pen.flow(words(text), `14px ${look.sans}`, 23, 2, CARD.margin + 158);
  }
  pen.y += 20;
  pen.rule();
  pen.y += 12;
  pen.flow(words(`${data.title}. ${data.model.name}, ${data.model.site}, ${feature.id}`, look.muted), `12px ${look.sans}`, 18, 2);
}

// A card of one feature in the page's present colours, at two pixels a point.
function featureCard(feature, page) {
  const look = cardColors();
  const pen = cardPen(look);
  cardStrokes(pen, feature, page);
  const canvas = document.createElement("canvas");
  canvas.width = CARD.width * CARD.scale;
  canvas.height = Math.ceil(pen.y + CARD.margin - 10) * CARD.scale;
  const paper = canvas.getContext("2d");
  paper.scale(CARD.scale, CARD.scale);
  Object.assign(paper, { fillStyle: look.ground, textBaseline: "alphabetic" }).fillRect(0, 0, canvas.width, canvas.height);
  for (const stroke of pen.strokes) stroke(paper);
  return canvas;
}

function savePng(feature, page) {
  featureCard(feature, page).toBlob((blob) => saveFile(fileName(feature, "png"), blob), "image/png");
}
