// The attention explorer in the page: everything it shows comes from the model's own state, so it answers at once
// and goes on working when its kernel is gone. No script or style of another site is loaded.

const SVG = "http://www.w3.org/2000/svg";
const STOPS = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]]; // light to dark
const ROW = 22; // pixels for one token
const TOP = 4;
const PAIRS = {
  all: ["all tokens", () => true],
  aa: ["A looks at A", (from, to) => from === 0 && to === 0],
  ab: ["A looks at B", (from, to) => from === 0 && to === 1],
  ba: ["B looks at A", (from, to) => from === 1 && to === 0],
  bb: ["B looks at B", (from, to) => from === 1 && to === 1],
};

const shade = (weight) => {
  const place = Math.min(Math.max(weight, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((value, i) => Math.round(value + (place - low) * (STOPS[low + 1][i] - value)));
};

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const shape = (tag, attributes) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

function render({ model, el }) {
  const tokens = model.get("tokens");
  const segments = model.get("segments");
  const [layers, heads, n] = model.get("shape");
  const bytes = model.get("weights");
  const weights = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const at = (layer, head, query, key) => weights[((layer * heads + head) * n + query) * n + key];
  const names = tokens.map((token, i) => (tokens.indexOf(token) === tokens.lastIndexOf(token) ? token : `${token} (${i})`));
  const state = () => ({ layer: model.get("layer"), head: model.get("head"), side: model.get("side"), token: model.get("token") });
  const choose = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);

  // --- the grid of heads
  const grid = make("div", { class: "course-attention-grid", role: "grid", "aria-label": "Attention heads: arrow keys choose layer and head" });
  const cells = [];
  grid.style.gridTemplateColumns = `1.6em repeat(${heads}, minmax(22px, 40px))`;
  const headRow = make("div", { role: "row", class: "course-attention-row" }, make("span", { role: "columnheader", "aria-label": "layer" }));
  for (let head = 0; head < heads; head++) headRow.append(make("span", { role: "columnheader" }, String(head)));
  grid.append(headRow);
  for (let layer = 0; layer < layers; layer++) {
    const row = make("div", { role: "row", class: "course-attention-row" }, make("span", { role: "rowheader" }, String(layer)));
    for (let head = 0; head < heads; head++) {
      const canvas = make("canvas", { width: n, height: n, "aria-hidden": "true" });
      const cell = make("button", { type: "button", role: "gridcell", "aria-label": `layer ${layer}, head ${head}` }, canvas);
      const pixels = canvas.getContext("2d").createImageData(n, n);
      for (let i = 0; i < n * n; i++) pixels.data.set([...shade(at(layer, head, Math.floor(i / n), i % n)), 255], 4 * i);
      canvas.getContext("2d").putImageData(pixels, 0, 0);
      cell.addEventListener("click", () => choose({ layer, head }));
      row.append(cell);
      cells.push(cell);
    }
    grid.append(row);
  }
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const { layer, head } = state();
    let to = step && [clamp(layer + step[0], layers), clamp(head + step[1], heads)];
    if (event.key === "Home") to = [layer, 0];
    if (event.key === "End") to = [layer, heads - 1];
    if (!to) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has keys of its own
    choose({ layer: to[0], head: to[1] });
    cells[to[0] * heads + to[1]].focus();
  });

  // --- the two columns of tokens, and a line for each weight
  const lines = shape("svg", { width: 150, height: n * ROW + 2 * TOP, "aria-hidden": "true" });
  const columns = {};
  for (const side of ["query", "key"]) {
    const what = side === "query" ? "Looks (query): up and down choose" : "Is looked at (key): up and down choose";
    const list = make("ul", { role: "listbox", tabindex: "0", "aria-label": what, class: `course-attention-tokens is-${side}` });
    const items = tokens.map((token, i) => {
      const number = make("span", { class: "course-attention-number" });
      const name = make("span", { class: "course-attention-token" }, token);
      const item = make("li", { role: "option", "aria-label": names[i] }, ...(side === "query" ? [number, name] : [name, number]));
      item.classList.toggle("is-second", segments[i] === 1);
      item.addEventListener("mouseenter", () => draw({ side, token: i }));
      item.addEventListener("mouseleave", () => draw());
      item.addEventListener("click", () => choose({ side, token: i }));
      list.append(item);
      return { item, number };
    });
    list.addEventListener("keydown", (event) => {
      const now = state();
      let token = { ArrowUp: now.token - 1, ArrowDown: now.token + 1, Home: 0, End: n - 1 }[event.key];
      let to = side;
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        to = event.key === "ArrowLeft" ? "query" : "key";
        token = now.token;
      }
      if (token === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      choose({ side: to, token: clamp(token, n) });
      columns[to].list.focus();
    });
    list.addEventListener("focus", () => state().side === side || choose({ side }));
    columns[side] = { list, items };
  }

  // --- choices and words
  const pairs = make("select", { "aria-label": "which sentence looks at which" });
  for (const [name, [label]] of Object.entries(PAIRS)) pairs.append(make("option", { value: name }, label));
  pairs.value = model.get("pairs");
  pairs.addEventListener("change", () => choose({ pairs: pairs.value }));
  const isPair = segments.includes(1);
  const words = make("p", { role: "status", "aria-live": "polite", class: "course-attention-words" });
  const notice = make("p", { role: "alert", class: "course-attention-notice", hidden: "" });
  const help = make("p", { class: "course-attention-help" }, "Point at a token, or reach grid and columns with Tab and move with the arrow keys.");

  function draw(pointed) {
    const began = performance.now();
    const { layer, head, ...chosen } = state();
    const { side, token } = pointed ?? chosen;
    const allowed = PAIRS[model.get("pairs")][1];
    const other = side === "query" ? "key" : "query";
    const weight = (i) => (side === "query" ? at(layer, head, token, i) : at(layer, head, i, token));
    const shown = (i) => (side === "query" ? allowed(segments[token], segments[i]) : allowed(segments[i], segments[token]));
    lines.replaceChildren();
    const middle = (i) => TOP + ROW * (i + 0.5);
    for (let i = 0; i < n; i++) {
      for (const column of ["query", "key"]) {
        const { item, number } = columns[column].items[i];
        const isChosen = column === side && i === token;
        item.classList.toggle("is-chosen", isChosen);
        item.classList.toggle("is-hidden", column === other && !shown(i));
        item.setAttribute("aria-selected", String(isChosen));
        number.textContent = column === other && shown(i) ? weight(i).toFixed(2) : "";
      }
      if (!shown(i) || weight(i) < 0.005) continue;
      const [from, to] = side === "query" ? [token, i] : [i, token];
      lines.append(shape("line", { x1: 2, y1: middle(from), x2: 148, y2: middle(to), stroke: "#034E7B",
        "stroke-width": 0.5 + 7 * weight(i), "stroke-opacity": 0.25 + 0.75 * weight(i) }));
    }
    cells.forEach((cell, i) => {
      const isChosen = i === layer * heads + head;
      cell.setAttribute("aria-selected", String(isChosen));
      cell.tabIndex = isChosen ? 0 : -1;
    });
    const order = [...tokens.keys()].filter(shown).sort((a, b) => weight(b) - weight(a)).slice(0, 3);
    const list = order.map((i) => `${names[i]} ${weight(i).toFixed(2)}`).join(", ");
    const verb = side === "query" ? "looks at" : "is looked at by";
    words.textContent = `Layer ${layer}, head ${head}: ${names[token]} ${verb} ${list || "nothing in this choice"}`;
    el.dataset.milliseconds = (performance.now() - began).toFixed(2);
  }

  const sentence = make("div", { class: "course-attention-sentence" }, columns.query.list, lines, columns.key.list);
  const right = make("div", { class: "course-attention-right" }, ...(isPair ? [make("label", {}, "Show ", pairs)] : []), sentence);
  const body = make("div", { class: "course-attention-body" }, grid, right);
  el.classList.add("course-attention");
  el.append(notice, body, words, help);

  const redraw = () => draw();
  const watched = ["layer", "head", "side", "token", "pairs"].map((name) => `change:${name}`);
  for (const name of watched) model.on(name, redraw);
  const lost = () => {
    notice.hidden = false;
    notice.textContent = "The kernel behind this explorer is gone. It still shows what it showed; run its cell again for new weights.";
  };
  model.on("comm_live_update", lost);
  draw();
  return () => {
    for (const name of watched) model.off(name, redraw);
    model.off("comm_live_update", lost);
  };
}

export default { render };
