// The dashboard: puts sections on the page, keeps those in sight fresh, and says how things are.

import { Rates, count, fill, h, head, perSecond, prose, s, span } from "./dom.js";
import { chart } from "./course.js";
import { list, watch } from "./live.js";
import { SECTIONS } from "./sections.js";

const byId = (id) => document.getElementById(id);

/** A section with a table: knows its page, its search, and whether what it shows is old. */
class Table {
  #plan; #section; #body; #head; #note; #foot; #empty; #failure;
  #page = 1; #search = ""; #status = ""; #sorting;
  #inSight = false; #stale = true; #loading = false;

  constructor(plan) {
    this.#plan = plan;
    this.#section = byId(plan.id);
    // What is wrong comes first, where there is a state to sort by.
    this.#sorting = { by: plan.columns.some((column) => column.sort === "trouble") ? "trouble" : "name", desc: false };
    this.#head = head(plan.columns, null);
    this.#body = h("tbody", { role: "rowgroup" });
    this.#note = h("div", { class: "note" });
    this.#foot = h("p", { class: "pages" });
    this.#empty = h("p", { class: "empty", hidden: true }, plan.empty);
    this.#failure = h("p", { class: "fault", role: "status", hidden: true });
    const table = h("table", { role: "table", "aria-labelledby": `h-${plan.id}` }, this.#head, this.#body);
    this.#section.append(this.#tools(), this.#failure, this.#note, table, this.#empty, this.#foot);
    this.#drawHead();
    new IntersectionObserver(([entry]) => {
      this.#inSight = entry.isIntersecting;
      if (this.#inSight && this.#stale) this.load();
    }, { rootMargin: "300px" }).observe(this.#section);
  }

  /** What it shows may be old: read again, now or when it comes into sight. */
  refresh() {
    this.#stale = true;
    if (this.#inSight) this.load();
  }

  async load() {
    if (this.#loading) return;
    this.#loading = true;
    this.#stale = false;
    try {
      this.#show(await list(this.#address()));
    } catch (error) {
      // Fewer pages than there were: back to the first.
      if (error.status === 400 && this.#page > 1) this.#go(1);
      else this.#fail(error);
    } finally {
      this.#loading = false;
      if (this.#stale && this.#inSight) this.load();
    }
  }

  #address() {
    const { path, per } = this.#plan;
    if (!per) return path;
    const query = new URLSearchParams({ page: this.#page, per_page: per });
    if (this.#search) query.set("search", this.#search);
    if (this.#status) query.set("status", this.#status);
    if (this.#plan.columns.some((column) => column.sort)) {
      query.set("sortBy", this.#sorting.by);
      query.set("direction", this.#sorting.desc ? "desc" : "asc");
    }
    return `${path}?${query}`;
  }

  /** What is there may be old, or nothing, and says so. */
  #fail(error) {
    this.#failure.textContent = `This could not be read anew: ${error.message}`;
    this.#failure.hidden = false;
  }

  #show({ items, next, total }) {
    const plan = this.#plan;
    this.#failure.hidden = true;
    const rows = plan.items ? plan.items(items) : items;
    fill(this.#body, plan.columns, rows.map((item) => plan.row(item, { explain })));
    if (plan.note) this.#note.replaceChildren(...plan.note(items).filter(Boolean));
    this.#section.classList.toggle("bare", rows.length === 0);
    this.#empty.hidden = rows.length > 0;
    this.#section.classList.add("known");
    this.#drawPages(rows.length, next, total);
  }

  #drawPages(shown, next, total) {
    const { per } = this.#plan;
    const first = (this.#page - 1) * (per ?? 0) + 1;
    const text = !per || total <= per ? "" : `${count(first)} to ${count(first + shown - 1)} of ${count(total)}`;
    if (this.#foot.said === text) return;
    this.#foot.said = text;
    const button = (label, page, can) =>
      h("button", { type: "button", disabled: !can, onclick: () => this.#go(page) }, label);
    this.#foot.replaceChildren(...(text === "" ? [] : [
      button("Previous", this.#page - 1, this.#page > 1), h("span", null, text), button("Next", this.#page + 1, next > 1)]));
  }

  #go(page) {
    this.#page = page;
    this.#stale = true;
    this.#inSight = true;
    this.load();
  }

  #tools() {
    const { search, statuses, id } = this.#plan;
    const tools = h("div", { class: "tools" });
    if (search) {
      let pause;
      const narrow = (event) => {
        clearTimeout(pause);
        pause = setTimeout(() => { this.#search = event.target.value.trim(); this.#go(1); }, 150);
      };
      tools.append(h("input", { type: "search", placeholder: search, "aria-label": `Search ${id}`, oninput: narrow, spellcheck: "false" }));
    }
    if (statuses) {
      const choose = (event) => { this.#status = event.target.value; this.#go(1); };
      tools.append(h("select", { "aria-label": `State of ${id}`, onchange: choose },
        h("option", { value: "" }, "any state"), ["enabled", "warning", "disabled"].map((word) => h("option", null, word))));
    }
    return tools;
  }

  #drawHead() {
    const onsort = (by) => {
      this.#sorting = { by, desc: this.#sorting.by === by && !this.#sorting.desc };
      this.#drawHead();
      this.#head.querySelector("[aria-sort] button")?.focus();
      this.#go(1);
    };
    const drawn = head(this.#plan.columns, this.#sorting, onsort);
    this.#head.replaceWith(drawn);
    this.#head = drawn;
  }
}

const rates = new Rates();
const history = { requests: [], queries: [] };

/** The numbers under the headline. */
function soundings(overview) {
  const ours = overview.portolan;
  const sum = (read) => ours.entrypoints.reduce((total, it) => total + (it.traffic ? read(it.traffic) : 0), 0);
  const queries = Object.values(ours.dns.outcomes).reduce((total, it) => total + it, 0);
  const requests = keep(history.requests, rates.of("requests", sum((it) => it.requests)));
  const questions = keep(history.queries, rates.of("queries", queries));
  const errors = rates.of("errors", sum((it) => it.classes[4]));
  const down = ours.backends.total - ours.backends.usable;
  return [
    ["Requests", perSecond(requests) || "–", "per second", spark(history.requests)],
    ["5xx", perSecond(errors) || "–", "per second", null, errors > 0 && "bad"],
    ["DNS questions", perSecond(questions) || "–", "per second", spark(history.queries)],
    ["In flight", count(ours.backends.inFlight), "requests"],
    ["Backends", `${count(ours.backends.usable)}/${count(ours.backends.total)}`, down > 0 ? `${count(down)} out of use` : "all usable", null, down > 0 && "warn"],
    ["Snapshot", `#${count(ours.generation)}`, `${span(ours.publishedAge)} old`],
  ];
}

/** What each reason means for whoever reads it. */
const REASONS = {
  "bad-target": "target or host of the request are malformed", "no-host": "HTTP/1.1 without a host",
  "connect": "CONNECT is not served", "no-router": "no rule is true for the request",
  "no-service": "the router has no service, and no middleware answered",
  "noop": "the router's service is noop@internal, which answers nothing",
  "no-middleware": "a middleware is missing or not in working order", "middleware-failed": "code of a middleware failed",
  "no-authority": "the server that a middleware asks gave no answer", "body-too-large": "a body is longer than a middleware takes",
  "no-backend": "no backend of the service is usable", "bad-backend": "the address of the backend is malformed",
  "resolve-failed": "the backend's name has no address", "no-resources": "we have no file descriptors or memory left for a connection",
  "connect-refused": "nothing listens at the backend's address",
  "connect-failed": "the backend cannot be reached", "connect-timeout": "the backend did not accept in time",
  "tls-failed": "the backend's encryption could not be trusted", "protocol": "the backend does not speak this protocol",
  "no-response": "the backend broke off before it answered", "response-timeout": "the backend did not answer in time",
  "response-head-too-large": "the head of the backend's answer has too many bytes or lines",
  "response-broken": "the backend broke off within its answer", "body-broken": "the client's request broke off",
  "client-gone": "the client went away before it had its answer", "client-stalled": "the client did not read its response",
  "bad-request-line": "the request's first line is malformed", "bad-version": "neither HTTP/1.0 nor HTTP/1.1",
  "bad-header": "a header line is malformed", "bare-lf": "a line ends without CR",
  "head-too-large": "the head of the request has too many bytes or lines", "bad-length": "the content-length is not one number",
  "bad-transfer-encoding": "the transfer-encoding is not chunked", "two-framings": "the request says in two ways where it ends",
  "header-timeout": "the rest of the request's head did not come in time", "body-timeout": "the rest of the request did not come in time",
  "too-busy": "the service has as many requests under way as it may", "circuit-open": "the service is given a rest after failures",
  "encoded-character": "the path has an encoded character that the entrypoint refuses",
  "misdirected": "the host takes other TLS options than the connection has",
  "two-hosts": "target and host header name different hosts",
  "plain-http": "HTTP in clear on an encrypted entrypoint",
  "loop": "the service of the request leads back to an entrypoint, again and again",
};

/** Where to look further: who would take a request, or how backends are. */
const PLACES = { "no-router": "#explain", "no-service": "#routers", "no-middleware": "#routers", "middleware-failed": "#plugins", "bad-target": "#explain", "no-host": "#explain" };

/** Why requests were not answered as they were meant to be; what grows stands out. */
function reasons(failures, [lines, spans]) {
  const entries = Object.entries(failures).sort(([, left], [, right]) => right - left);
  const lost = [[lines, "lines of the access log"], [spans, "spans"]].filter(([times]) => times > 0);
  if (entries.length === 0 && lost.length === 0) return [];
  return [h("p", { class: "why" }, entries.length > 0 && "Not answered as meant, since the start:"),
    h("p", { class: "chips" }, entries.map(([reason, times]) => {
      const rate = rates.of(`reason ${reason}`, times);
      return h("a", { class: rate > 0 ? "chip alarm" : "chip", href: PLACES[reason] ?? "#services", title: REASONS[reason] ?? "" },
        `${reason} ${count(times)}${rate > 0 ? ` (${perSecond(rate)}/s)` : ""}`);
    })),
    lost.map(([times, what]) => h("p", { class: "fault" }, `${count(times)} ${what} were lost: whoever takes them is slow or away.`))];
}

function keep(series, value) {
  if (value !== null) series.push(value);
  if (series.length > 60) series.shift();
  return value;
}

function spark(series) {
  if (series.length < 3) return null;
  const top = Math.max(...series, 1) * 1.25;
  const points = series.map((value, index) => `${((index * 100) / (series.length - 1)).toFixed(1)},${(23 - (value * 20) / top).toFixed(1)}`);
  return s("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("path", { class: "area", d: `M0,24 L${points.join(" L")} L100,24 Z` }), s("polyline", { points: points.join(" ") }));
}

/** How things are, in one or two sentences: the worst first. */
function headline(overview) {
  const ours = overview.portolan;
  const [errors, warnings] = ours.problems;
  const told = [];
  if (ours.configError) told.push(["bad", `${ours.configFile} as it is now is not in use; the configuration before goes on.`]);
  for (const provider of ours.providers) {
    const age = span(provider.since);
    if (provider.state === "stale") told.push(["warn", `${provider.name} has not answered for ${age}: its last known state is served.`]);
    if (provider.state === "failed") told.push(["bad", `${provider.name} failed ${age} ago and will not be asked again.`]);
    if (provider.state === "waiting") told.push(["warn", `${provider.name} has not answered yet.`]);
  }
  if (ours.silent > 0) told.push(["bad", `${count(ours.silent)} ${ours.silent === 1 ? "service has" : "services have"} nobody to answer.`]);
  const parts = [errors && `${count(errors)} ${errors === 1 ? "error" : "errors"}`, warnings && `${count(warnings)} ${warnings === 1 ? "warning" : "warnings"}`];
  if (errors + warnings > 0) told.push([errors > 0 ? "bad" : "warn", `${parts.filter(Boolean).join(" and ")} below.`]);
  if (told.length === 0) told.push(["good", "All is well."]);
  return told;
}

function showOverview(overview) {
  const ours = overview.portolan;
  const told = headline(overview);
  const mood = ["bad", "warn", "good"].find((one) => told.some(([its]) => its === one));
  const line = byId("headline");
  const text = told.map(([, sentence]) => sentence).join(" ");
  // A live region is read aloud when it changes: only then is it touched.
  if (line.said !== text) {
    line.said = text;
    line.dataset.mood = mood;
    line.replaceChildren(...prose(text));
  }
  // The file with what is wrong underlined, as the log has it.
  const broken = byId("broken");
  broken.textContent = ours.configError || "";
  broken.hidden = !ours.configError;
  byId("version").textContent = `${ours.version} · up ${span(Date.now() - Date.parse(ours.started))} · ${ours.configFile}`;
  byId("soundings").replaceChildren(...soundings(overview).map(([term, value, unit, drawing, its]) =>
    h("div", { "data-mood": its || null }, h("dt", null, term), h("dd", null, h("b", null, value), h("small", null, unit)), drawing)));
  byId("reasons").replaceChildren(...reasons(ours.failures, ours.lost).flat());
  const { routers, services, middlewares } = overview.http;
  const [errors, warnings] = ours.problems;
  const totals = { certificates: overview.certificates, routers, services, middlewares, plugins: ours.plugins, problems: { total: errors + warnings, errors, warnings } };
  for (const [id, its] of Object.entries(totals)) {
    const badge = byId(`count-${id}`);
    badge.textContent = count(its.total);
    badge.dataset.mood = its.errors > 0 ? "bad" : its.warnings > 0 ? "warn" : "idle";
  }
  document.title = `${mood === "good" ? "" : "● "}Portolan`;
}

/** What the small word in the corner says. */
const LINK = { live: "live", asking: "live, every 3 s", lost: "connection lost: what you see is old" };

function showLink(state) {
  const link = byId("link");
  if (link.dataset.state === state) return;
  link.dataset.state = state;
  link.textContent = LINK[state];
  document.body.classList.toggle("lost", state === "lost");
}

function explain(url) {
  const form = byId("question");
  form.elements.url.value = url;
  byId("explain").scrollIntoView({ block: "start" });
  chart(form, byId("course"));
}

/** Rhumb lines: sixteen from the rose, and from two more points, as on the old charts. */
function drawRhumbs() {
  for (const [x, y] of [[74, 62], [700, 190], [1130, 30]]) {
    for (let ray = 0; ray < 32; ray += 1) {
      const angle = (ray * Math.PI) / 16;
      byId("rhumbs").append(s("line", { x1: x, y1: y, x2: x + 1500 * Math.cos(angle), y2: y + 1500 * Math.sin(angle), class: ray % 4 === 0 ? "wind" : "" }));
    }
  }
}

/** The link of the section that is read is marked. */
function followReader() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === first) link.setAttribute("aria-current", "location");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));
}

drawRhumbs();
followReader();
const tables = SECTIONS.map((plan) => new Table(plan));
byId("question").addEventListener("submit", (event) => {
  event.preventDefault();
  chart(event.target, byId("course"));
});
// A catalog may change many times a second; nobody reads faster than this.
const EVERY = 1_000;
let refreshed = 0;
let coming;
function refresh() {
  clearTimeout(coming);
  const due = refreshed + EVERY - Date.now();
  if (due > 0) {
    coming = setTimeout(refresh, due);
    return;
  }
  refreshed = Date.now();
  tables.forEach((table) => table.refresh());
}
watch({ onchange: refresh, onpulse: (overview) => { showOverview(overview); refresh(); }, onstate: showLink });
