// Elements and numbers. Text from outside becomes text nodes, never markup: there is no other
// way in this file to make one.

/** An element with properties and children; strings become text, nothing becomes nothing. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for a drawing. */
export function s(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props ?? {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A table head whose sortable columns are buttons. */
export function head(columns, sorting, onsort) {
  return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => {
    const active = sorting && column.sort && sorting.by === column.sort;
    const order = active ? (sorting.desc ? "descending" : "ascending") : null;
    const label = column.sort
      ? h("button", { type: "button", onclick: () => onsort(column.sort) }, column.title)
      : column.title;
    return h("th", { scope: "col", role: "columnheader", "aria-sort": order, class: column.num && "num" }, label);
  })));
}

/**
 * Makes the body show these rows, touching only cells that changed, so that focus, selection and
 * open details survive. A row is { key, mark, cells: [{ text, build, num }] }: `text` is all that
 * a cell says, `build` makes its content.
 */
export function fill(body, columns, rows) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const taken = new Set();
  let place = body.firstElementChild;
  for (const { key: name, mark, cells } of rows) {
    // Two rows that cannot be told apart are two rows all the same.
    let key = name;
    for (let again = 2; taken.has(key); again += 1) key = `${name}\n${again}`;
    taken.add(key);
    let row = old.get(key);
    old.delete(key);
    if (!row) {
      row = h("tr", { role: "row", "data-key": key }, cells.map((_, index) =>
        h("td", { role: "cell", "data-label": columns[index].title, class: columns[index].num && "num" }, h("div"))));
    }
    if (row.dataset.mark !== (mark ?? "")) row.dataset.mark = mark ?? "";
    cells.forEach((cell, index) => {
      const node = row.children[index];
      if (node.said === cell.text) return;
      node.said = cell.text;
      node.firstChild.replaceChildren(...[cell.build ? cell.build() : cell.text].flat(9).filter((it) => it !== null && it !== undefined && it !== false));
      node.classList.toggle("void", node.textContent === "");
    });
    if (place === row) place = row.nextElementSibling;
    else body.insertBefore(row, place);
  }
  for (const row of old.values()) row.remove();
}

/** A cell that shows a text, or what `build` makes of a value. */
export const cell = (value, build) =>
  build ? { text: JSON.stringify(value) ?? "", build: () => build(value) } : { text: String(value ?? "") };

/** A word with a coloured mark before it; the word says the same as the colour. */
export const state = (word, mood) => h("span", { class: "state", "data-mood": mood }, word);

/** Text with `…` set as code. */
export function prose(text) {
  return String(text ?? "").split(/`([^`]*)`/).map((part, index) => (index % 2 ? h("code", null, part) : part));
}

/** A rule, allowed to break after its operators; the strings in it stand out. */
export function rule(text) {
  const parts = String(text).split(/(`[^`]*`|\s*(?:&&|\|\|)\s*)/).filter((part) => part !== "");
  return h("code", { class: "rule" }, parts.map((part) =>
    part.startsWith("`") ? h("b", null, part) : /^\s*(?:&&|\|\|)\s*$/.test(part) ? [" ", h("i", null, part.trim()), " "] : part));
}

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count. */
export const count = (value) => (value === undefined || value === null ? "" : value < 100_000 ? plain.format(value) : short.format(value));

/** A rate per second; nothing before it is known. */
export function perSecond(value) {
  if (value === null || value === undefined) return "";
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : count(Math.round(value));
}

/** Nanoseconds. */
export function nanos(value) {
  if (!value) return "";
  for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
    if (value >= size) return `${(value / size).toPrecision(value / size < 10 ? 2 : 3).replace(/\.0+$/, "")} ${unit}`;
  }
  return `${value} ns`;
}

/** A quantile of durations. */
export function quantile(durations, which) {
  const above = durations?.[`${which}Above`];
  return above ? `more than ${nanos(above)}` : nanos(durations?.[which]);
}

/** Bytes. */
export function bytes(value) {
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${value} B`;
}

/** Milliseconds as a person says them. */
export function span(millis) {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min`;
  return `${seconds} s`;
}

/** How fast counters grow, by name; remembers the reading before. */
export class Rates {
  #seen = new Map();

  /** Growth per second since the last reading; null when there is none yet. */
  of(name, value) {
    const now = performance.now();
    const last = this.#seen.get(name);
    // Two readings close together say little: the older one stays.
    if (last && now - last.time < 900) return last.rate;
    const rate = last && value >= last.value && now - last.time < 20_000 ? ((value - last.value) * 1000) / (now - last.time) : null;
    this.#seen.set(name, { time: now, value, rate });
    return rate;
  }
}
