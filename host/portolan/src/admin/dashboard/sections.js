// The sections of the page: what each reads, and how a row of it looks.

import { Rates, bytes, cell, count, h, perSecond, prose, quantile, rule, span, state } from "./dom.js";

const rates = new Rates();
const MOODS = {
  enabled: "good", warning: "warn", disabled: "bad", synced: "good", waiting: "warn", stale: "warn", failed: "bad",
  answering: "good", resting: "bad", unknown: "idle", passing: "good", critical: "bad", maintenance: "off", loaded: "good", outdated: "warn", deleted: "warn", shadowed: "warn", error: "bad",
};
/** The key of a plugin in the API: stripPrefix for strip-prefix. */
const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const word = (text) => state(text, MOODS[text] ?? "idle");
const chips = (texts) => texts.map((text) => h("span", { class: "chip" }, text));
const lines = (texts, kind) => texts.map((text) => h("p", { class: kind }, prose(text)));

/** A name without its provider, and where it was declared. */
const named = (object) => cell([object.name, object.portolan.origin], ([name, origin]) => {
  const at = name.lastIndexOf("@");
  return [h("b", null, name.slice(0, at)), h("span", { class: "at" }, name.slice(at)), h("p", { class: "why" }, prose(origin))];
});

/** Requests a second, failures, and how long nearly all of them took. */
const traffic = (key, it) => it === undefined ? [cell(""), cell(""), cell("")] : [
  cell(perSecond(rates.of(key, it.requests))),
  // Red while there are new ones, or when they are many: three of last week alarm nobody.
  cell([it.classes[4], it.failures, rates.of(`${key} 5xx`, it.classes[4]) > 0 || it.classes[4] * 50 > it.requests],
    ([errors, own, alarm]) => errors === 0 ? "0" : h("span", { class: alarm && "alarm", title: `since the start; ${count(own)} of them made by Portolan` }, count(errors))),
  cell(quantile(it.duration, "p99")),
];

const TRAFFIC = [{ title: "req/s", num: true }, { title: "5xx", num: true }, { title: "p99", num: true }];

/** What is wrong. */
const problems = {
  id: "problems", path: "/api/problems", search: "a source, a message, a tag", per: 10,
  empty: "Nothing is wrong.",
  columns: [{ title: "Severity" }, { title: "Source" }, { title: "Where" }, { title: "What" }],
  row: (it) => ({
    key: [it.severity, it.source, it.origin, it.path, it.message, it.hint].join("\n"),
    mark: MOODS[it.severity],
    cells: [
      cell(it.severity, word),
      cell(it.source),
      cell([it.origin, it.path], ([origin, path]) => [prose(origin), path && h("p", { class: "why" }, h("code", null, path))]),
      cell([it.message, it.hint], ([message, hint]) => [prose(message), hint && (hint.includes("\n") ? h("pre", { class: "hint" }, hint) : h("p", { class: "hint" }, prose(hint)))]),
    ],
  }),
};

/** Where the catalog comes from. */
const providers = {
  id: "providers", path: "/api/providers",
  empty: "No provider is configured: only config.toml is served.",
  columns: [{ title: "Provider" }, { title: "State" }, { title: "Last answer" }, { title: "Items" }, { title: "Steps", num: true }, { title: "Granted" }],
  row: (it) => ({
    key: it.name,
    mark: MOODS[it.state],
    cells: [
      cell([it.name, it.plugin], ([name, plugin]) => [h("b", null, name), h("p", { class: "why" }, "plugin ", h("code", null, plugin))]),
      cell([it.state, it.state === "synced" ? "" : span(it.stateAge), it.error, it.fromDisk], ([name, since, error, disk]) => [
        word(name), since && ` for ${since}`,
        error && h("p", { class: "fault" }, prose(error)),
        disk && h("p", { class: "hint" }, "what it serves was read from disk"),
      ]),
      cell([it.successAge, it.changeAge].map((age) => (age === null ? null : span(age))), ([success, change]) => [
        success === null ? "never" : `${success} ago`, change && h("p", { class: "why" }, `changed ${change} ago`)]),
      cell([it.items.nodes, it.items.instances, it.items.fragments], ([nodes, instances, fragments]) => [
        nodes > 0 && h("p", null, `${count(nodes)} nodes`), instances > 0 && h("p", null, `${count(instances)} instances`),
        fragments > 0 && h("p", null, `${count(fragments)} files`), nodes + instances + fragments === 0 && "none"]),
      cell([it.steps.made, it.steps.failed], ([made, failed]) => [count(made), failed > 0 && h("p", { class: "why" }, `${count(failed)} failed`)]),
      cell(it.grants, (grants) => grants.map((grant) => h("p", null, h("code", null, grant)))),
    ],
  }),
};

/** Bound addresses. */
const entrypoints = {
  id: "entrypoints", path: "/api/entrypoints?all=true", empty: "Nothing is bound.",
  columns: [{ title: "Entrypoint" }, { title: "Address" }, { title: "Speaks" }, { title: "Connections", num: true }, ...TRAFFIC],
  row: (it) => ({
    // DNS listens on several addresses under one name.
    key: `${it.name} ${it.address}`,
    cells: [cell(it.name, (name) => h("b", null, name)), cell(it.address, (address) => h("code", null, address)), cell(it.protocol),
      cell(it.connections === undefined ? "" : count(it.connections)), ...traffic(`entrypoint ${it.name}`, it.traffic)],
  }),
};

/** What clients are shown. */
const certificates = {
  id: "certificates", path: "/api/certificates", search: "a name or an issuer", per: 25, statuses: true,
  empty: "No certificate: nothing is encrypted, or no client has come yet.",
  columns: [{ title: "Names", sort: "name" }, { title: "From", sort: "source" }, { title: "Issued by", sort: "issuer" },
    { title: "Good until", sort: "notAfter" }, { title: "State", sort: "trouble" }],
  row: (it) => ({
    key: it.name,
    mark: MOODS[it.status],
    cells: [
      cell([it.sans, it.keyType, it.keySize, it.serialNumber, it.certFingerprint], ([sans, kind, size, serial, fingerprint]) => [
        sans.slice(0, 6).map((name) => h("p", null, h("b", null, name))), sans.length > 6 && h("p", { class: "why" }, `and ${sans.length - 6} more`),
        h("details", null, h("summary", null, "more"), h("dl", { class: "facts" },
          [["Key", `${kind} ${size ?? ""}`], ["Serial", serial], ["SHA-256", `\`${fingerprint}\``]].map(([term, text]) =>
            h("div", null, h("dt", null, term), h("dd", null, prose(text))))))]),
      cell([it.portolan.source, it.portolan.origin], ([source, origin]) => [source, source !== "local" && h("p", { class: "why" }, prose(origin))]),
      cell([it.issuerCN, it.issuerOrg], ([name, org]) => [name || org || "", name && org && h("p", { class: "why" }, org)]),
      cell(it.notAfter, (moment) => h("time", { datetime: moment }, moment.slice(0, 10))),
      cell([it.status, it.portolan.state], ([status, text]) => state(text, MOODS[status])),
    ],
  }),
};

/** Who takes which request. */
const routers = {
  id: "routers", path: "/api/http/routers", search: "a name or a part of a rule", per: 25, statuses: true,
  empty: "No router fits.",
  columns: [{ title: "Router", sort: "name" }, { title: "Rule", sort: "rule" }, { title: "Goes to", sort: "service" },
    { title: "State", sort: "trouble" }, ...TRAFFIC],
  row: (it, { explain }) => ({
    key: it.name,
    mark: MOODS[it.status],
    cells: [
      named(it),
      cell([it.rule, it.error ?? [], it.priorityStr, it.entryPoints, it.portolan.hosts[0]], ([text, errors, priority, names, host]) => [
        rule(text),
        h("p", { class: "why" }, `priority ${priority} · ${names.join(", ") || "no entrypoint"}${it.tls ? " · TLS" : ""} `,
          host && !host.includes("*") && h("button", { type: "button", class: "link", onclick: () => explain(`${it.tls ? "https" : "http"}://${host}/`) }, "explain")),
        lines(errors, "fault")]),
      cell([it.middlewares ?? [], it.portolan.service ?? ""], ([middlewares, service]) => [
        middlewares.length > 0 && h("p", { class: "chips" }, chips(middlewares)),
        h("p", null, service === "" ? h("span", { class: "why" }, "answered by a middleware") : ["→ ", service])]),
      cell(it.status, word),
      ...traffic(`router ${it.name}`, it.portolan.traffic),
    ],
  }),
};

/** How a backend is, in a word: what the catalog says, unless probes or requests say otherwise. */
const condition = (it) => it.usable ? it.health : it.probed === "down" ? "down" : ["passing", "warning"].includes(it.health) ? "left alone" : it.health;

/** One backend with its figures. */
const backend = (it) => h("li", null,
  state(condition(it), it.usable ? (it.health === "warning" || it.failing ? "warn" : "good") : MOODS[it.health] === "good" ? "bad" : MOODS[it.health] ?? "bad"), " ", h("code", { title: it.origin }, it.url),
  h("small", null, [
    [it.weight === 1 || `weight ${it.weight}`], `${count(it.traffic.requests)} requests`, `${count(it.traffic.inFlight)} in flight`,
    quantile(it.traffic.duration, "p99") && `p99 ${quantile(it.traffic.duration, "p99")}`,
  ].flat().filter((part) => part && part !== true).join(" · ")),
  it.traffic.connectFailures + it.traffic.failures > 0 && h("small", { class: "alarm" },
    [it.traffic.connectFailures > 0 && `${count(it.traffic.connectFailures)} not reached`, it.traffic.failures > 0 && `${count(it.traffic.failures)} broke off`].filter(Boolean).join(" · ")),
  (it.out ?? it.failing) && h("small", { class: "alarm" }, it.out ?? it.failing));

/** What a service of services is made of, a line for each. */
const parts = (it) => {
  const shared = it.weighted ?? it.highestRandomWeight;
  if (shared) return shared.services.map((member) => `${member.name}, weight ${member.weight}`);
  if (it.mirroring) return [it.mirroring.service, ...it.mirroring.mirrors.map((mirror) => `copies of ${mirror.percent} % to ${mirror.name}`)];
  return [it.failover.service ?? "nothing", `else ${it.failover.fallback ?? "nothing"}`];
};
const isMade = (it) => it.weighted ?? it.highestRandomWeight ?? it.mirroring ?? it.failover;

/** Instances that nothing is sent to, a line for each reason. */
const leftOut = (groups) => groups.map((it) => h("p", { class: "why", title: it.instances.join("\n") },
  `${count(it.count)} left out: `, prose(it.reason)));

/** Sets of backends. */
const services = {
  id: "services", path: "/api/http/services", search: "a name", per: 25, statuses: true, empty: "No service fits.",
  columns: [{ title: "Service", sort: "name" }, { title: "Backends", sort: "servers" }, { title: "State", sort: "trouble" }, ...TRAFFIC],
  row: (it) => ({
    key: it.name,
    mark: MOODS[it.status],
    cells: [
      named(it),
      isMade(it) ? cell(parts(it), (all) => all.map((part) => h("p", null, part))) : cell(it.portolan.backends, (all) => all.length === 0 ? h("span", { class: "why" }, "none")
        : [h("ul", { class: "backends" }, all.slice(0, 8).map(backend)), all.length > 8 && h("p", { class: "why" }, `and ${all.length - 8} more`)]),
      cell([it.status, it.error ?? [], it.portolan.leftOut ?? [], it.portolan.resting, it.portolan.waiting], ([status, errors, groups, resting, waiting]) => [
        resting ? state("at rest", "bad") : word(status),
        resting && h("p", { class: "fault" }, "too much failed: its circuit breaker is open"),
        waiting > 0 && h("p", { class: "why" }, `${count(waiting)} waiting for a place`),
        lines(errors, "fault"), leftOut(groups)]),
      ...traffic(`service ${it.name}`, it.portolan.traffic),
    ],
  }),
};

/** Instances that nothing is sent to, since somebody wants it so. */
const spared = {
  id: "left-out", path: "/api/left-out", search: "a service, a reason, an instance", per: 10,
  empty: "Nothing is left out.",
  columns: [{ title: "Service" }, { title: "Instances" }, { title: "Why" }],
  row: (it) => ({
    key: `${it.service} ${it.reason}`,
    cells: [
      cell(it.service, (name) => h("b", null, name)),
      cell([it.count, it.instances], ([all, names]) => [count(all), h("p", { class: "why" },
        names.slice(0, 3).join(", "), all > 3 && ` and ${count(all - 3)} more`)]),
      cell(it.reason, prose),
    ],
  }),
};

/** Steps between router and service. */
const middlewares = {
  id: "middlewares", path: "/api/http/middlewares", search: "a name or a plugin", per: 25, statuses: true, empty: "No middleware fits.",
  columns: [{ title: "Middleware", sort: "name" }, { title: "Plugin", sort: "type" }, { title: "Does" }, { title: "State", sort: "trouble" }, { title: "Used by", num: true }],
  row: (it) => ({
    key: it.name,
    mark: MOODS[it.status],
    cells: [
      named(it),
      cell([it.portolan.plugin, it[camel(it.portolan.plugin)]], ([plugin, config]) => [h("code", null, plugin),
        h("details", null, h("summary", null, "configuration"), h("pre", null, JSON.stringify(config, null, 2)))]),
      cell([it.portolan.does, it.portolan.refused ?? 0], ([does, refused]) => [
        does.length === 0 ? h("span", { class: "why" }, "nothing, for these settings") : lines(does),
        refused > 0 && h("p", null, h("b", null, count(refused)), refused === 1 ? " request refused" : " requests refused")]),
      cell([it.status, it.error ?? []], ([status, errors]) => [word(status), lines(errors, "fault")]),
      cell(it.usedBy ?? [], (users) => h("span", { title: users.join("\n") }, count(users.length))),
    ],
  }),
};

/** How often questions ended in which way. */
function outcomes(figures) {
  const seen = Object.entries(figures).filter(([, times]) => times > 0);
  if (seen.length === 0) return "none";
  return seen.map(([outcome, times], place) => [place > 0 && ", ", h("b", null, count(times)), ` ${outcome}`]);
}

/** How often a zone was asked. */
function asked(figures, name) {
  const zone = (figures.zones ?? []).find((it) => it.zone === name);
  return zone && `asked ${count(zone.queries)} times, ${count(zone.noSuchName)} of them for what it does not have`;
}

/** Names that DNS has. */
const dns = {
  id: "dns", path: "/api/dns", search: "a name or an address", per: 25, empty: "No name fits.",
  items: (answer) => answer.names,
  note: ({ zones, figures }) => [
    h("p", { class: "why" }, "Questions so far: ", outcomes(figures.outcomes), quantile(figures.duration, "p99") && `; p99 ${quantile(figures.duration, "p99")}`,
    `; ${count(figures.cached)} upstream answers cached`,
    (figures.events?.stale ?? 0) > 0 && [`; `, h("b", null, count(figures.events.stale)), " answered with what was too old, since no upstream answered"],
    (figures.clients ?? []).length > 0 && ["; most asked by ", figures.clients.slice(0, 3).map((it, place) => [place > 0 && ", ", h("code", null, it.address), " ", h("b", null, count(it.queries))])]),
    zones.length > 0 && h("p", { class: "chips" }, zones.slice(0, 12).map((zone) => h("span", { class: "chip", title: asked(figures, zone.zone) }, zone.zone ?? "hosts of routers", " ", h("b", null, count(zone.names)))),
      zones.length > 12 && ` and ${zones.length - 12} more zones`)],
  columns: [{ title: "Name" }, { title: "Kind" }, { title: "Records" }, { title: "Usable" }],
  row: (it) => ({
    key: `${it.zone} ${it.name} ${it.kind}`,
    cells: [
      cell(it.name, (name) => h("b", null, name)),
      cell(it.kind),
      cell(it.records, (records) => [
        h("ul", { class: "records" }, records.slice(0, 6).map((record) => h("li", null, h("code", null, h("i", null, record.type), " ", record.data), h("small", null, `${record.ttl} s`)))),
        records.length > 6 && h("p", { class: "why" }, `and ${records.length - 6} more`)]),
      cell(it.instances, (of) => of && [`${of.usable} of ${of.total}`, of.usable === 0 && h("p", { class: "fault" }, "no such name while none is")]),
    ],
  }),
};

const FAILURES = [["silent", "silent"], ["unreachable", "not reached"], ["refused", "refused"], ["unusable", "of no use"]];

/** Who is asked for what is not ours. */
const upstreams = {
  id: "upstreams", path: "/api/dns/upstreams", empty: "Nobody is asked for names that are not ours.",
  columns: [{ title: "Upstream" }, { title: "State" }, { title: "Last answer" }, { title: "Questions", num: true }, { title: "per second", num: true },
    { title: "p50", num: true }, { title: "p99", num: true }, { title: "Failed", num: true }],
  row: (it) => ({
    key: it.upstream,
    mark: MOODS[it.state],
    cells: [
      cell([it.upstream, it.keys], ([name, keys]) => [h("b", null, name), keys.map((key) => h("p", { class: "why" }, h("code", null, key)))]),
      cell([it.state, it.stateAge === null ? "" : span(it.stateAge), it.error], ([name, since, error]) => [
        word(name === "unknown" ? "not heard yet" : name), since && ` for ${since}`,
        error && h("p", { class: "fault" }, prose(error)), error && h("p", { class: "hint" }, "asked last until it answers")]),
      cell(it.answerAge === null ? "never" : `${span(it.answerAge)} ago`),
      cell(count(it.queries)),
      cell(perSecond(rates.of(`upstream ${it.upstream}`, it.queries))),
      cell(quantile(it.duration, "p50")),
      cell(quantile(it.duration, "p99")),
      cell(FAILURES.map(([key, text]) => [it.failures[key], text]).filter(([times]) => times > 0), (failures) =>
        failures.length === 0 ? "0" : failures.map(([times, text]) => h("p", null, `${count(times)} ${text}`))),
    ],
  }),
};

const CAUSES = [["deadlines", "too slow"], ["outOfMemory", "too much memory"], ["traps", "trapped"], ["failures", "failed"], ["suspended", "left alone"]];

/** Guests. */
const plugins = {
  id: "plugins", path: "/api/plugins", empty: "No plugin is loaded.",
  columns: [{ title: "Plugin" }, { title: "Kind" }, { title: "State" }, { title: "Calls", num: true }, { title: "calls/s", num: true },
    { title: "p50", num: true }, { title: "p99", num: true }, { title: "Failed", num: true }, { title: "Memory", num: true }],
  row: (it) => ({
    key: it.name,
    mark: MOODS[it.state],
    cells: [
      cell([it.name, it.version, it.summary, facts(it)], ([name, version, summary, about]) => [
        h("b", null, name), " ", h("small", null, version), h("p", { class: "why" }, prose(summary)),
        about.length > 0 && h("details", null, h("summary", null, "more"), h("dl", { class: "facts" },
          about.map(([term, text]) => h("div", null, h("dt", null, term), h("dd", null, prose(text))))))]),
      cell(it.kinds ?? [], (kinds) => kinds.join(", ")),
      cell([it.state, it.error], ([name, error]) => [word(name), error && h("p", { class: "fault" }, prose(error)),
        error && name === "outdated" && h("p", { class: "hint" }, "the version before goes on")]),
      cell(count(it.figures.calls)),
      cell(perSecond(rates.of(`plugin ${it.name}`, it.figures.calls))),
      cell(quantile(it.figures.duration, "p50")),
      cell(quantile(it.figures.duration, "p99")),
      cell(CAUSES.map(([key, text]) => [it.figures[key], text]).filter(([times]) => times > 0), (causes) =>
        causes.length === 0 ? "0" : causes.map(([times, text]) => h("p", { class: "alarm" }, `${count(times)} ${text}`))),
      cell([it.figures.memory, it.figures.instances, it.figures.instantiations], ([memory, alive, made]) => [
        bytes(memory), h("p", { class: "why", title: `${count(made)} made so far` }, `${count(alive)} instances`)]),
    ],
  }),
};

function facts(it) {
  if (!it.hash) return [];
  return [
    ["File", it.file],
    ["Size", `${bytes(it.size)}, compiled in ${it.loadMs} ms${it.cached ? " (from the cache)" : ""}`],
    ["BLAKE3", `\`${it.hash}\``],
    ["Imports", it.imports.map((name) => `\`${name}\``).join(", ") || "nothing"],
    ...it.wants.map((want) => ["Asks for", `\`${want.capability}\` ${want.scope.join(", ") || "if need be"}: ${want.reason}`]),
    ...(it.grants.length > 0 ? [["Granted", it.grants.map((grant) => `\`${grant}\``).join(", ")]] : []),
    ...(it.matchers.length > 0 ? [["Matchers", it.matchers.map((name) => `\`${name}\``).join(", ")]] : []),
  ];
}

export const SECTIONS = [problems, providers, entrypoints, certificates, routers, services, spared, middlewares, dns, upstreams, plugins];
