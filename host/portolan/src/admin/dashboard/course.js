// The course of a request: from its name to the backends that may answer.

import { h, prose, rule, state } from "./dom.js";
import { json } from "./live.js";

const OUTCOMES = { selected: ["takes it", "good"], shadowed: ["also fits", "idle"], mismatch: ["does not fit", "off"], skipped: ["not asked", "off"] };
const ANSWERS = {
  answered: "", nodata: "no addresses (NODATA)", nxdomain: "no such name (NXDOMAIN)",
  forwarded: "asked upstream", servfail: "not known yet (SERVFAIL)",
};
const CERTIFICATES = { required: ", a client certificate is required", optional: ", a client certificate is asked for" };

/** Asks, and shows the answer or what is wrong with the question. */
export async function chart(form, place) {
  const fields = new FormData(form);
  const query = new URLSearchParams({ method: fields.get("method"), url: fields.get("url") });
  for (const line of fields.get("headers").split("\n").filter((line) => line.trim() !== "")) query.append("header", line);
  try {
    place.replaceChildren(draw(await json(`/api/explain?${query}`)));
  } catch (error) {
    place.replaceChildren(h("p", { class: "refusal" }, prose(error.message)));
  }
}

function draw(it) {
  // Also where nobody answers, and where no request comes.
  const bad = /^([45]\d\d|no)/.test(it.verdict);
  return h("div", { class: "course" },
    h("p", { class: "verdict", "data-mood": bad ? "bad" : "good" }, prose(it.verdict), it.reason && [" ", h("span", { class: "chip", title: "the reason, as in the access log and in metrics" }, it.reason)]),
    h("ol", null,
      it.dns && leg("Name", [
        h("p", null, h("b", null, it.dns.name), " ", ANSWERS[it.dns.outcome]),
        it.dns.records.map((record) => h("p", null, h("code", null, `${record.type} ${record.data}`), h("small", null, ` ${record.ttl} s`))),
        h("p", { class: "why" }, prose(it.dns.why)),
      ]),
      it.entrypoint && leg("Entrypoint", h("p", null, h("b", null, it.entrypoint.name), " ", h("code", null, it.entrypoint.address))),
      it.tls && leg("Handshake", [
        h("p", null, "TLS options ", h("b", null, it.tls.options), CERTIFICATES[it.tls.clientCertificate] ?? ""),
        it.tls.refused && h("p", { class: "why" }, prose(`refused: ${it.tls.refused}`)),
      ]),
      leg("Router", it.candidates.length === 0 ? h("p", null, "none fits") : h("ul", null, it.candidates.map(candidate))),
      it.middlewares.length > 0 && leg("Middlewares", h("ol", null, it.middlewares.map((step) =>
        h("li", null, h("b", null, step.middleware), " ", h("small", null, step.runsCode ? "runs code" : "planned", (step.chains ?? []).map((chain) => `, by the chain ${chain}`)),
          step.does.map((line) => h("p", { class: "why" }, prose(line))))))),
      it.service && leg("Service", [
        h("p", null, h("b", null, it.service.name)),
        h("ul", null, it.service.backends.map((backend) =>
          h("li", { class: "row" }, state(backend.health, backend.usable ? (backend.health === "warning" || backend.failing ? "warn" : "good") : "bad"), h("p", null, h("code", null, backend.url),
            h("small", null, backend.usable ? ` ${backend.percent} % of its requests` : " not used"))))),
      ]),
      (it.leftOut ?? []).length > 0 && leg("Left out", h("ul", null, it.leftOut.map((group) =>
        h("li", { title: group.instances.join("\n") }, h("p", null, `${group.count} of `, h("b", null, group.service), ": ", prose(group.reason))))))));
}

const leg = (title, content) => h("li", { class: "leg" }, h("h3", null, title), h("div", null, content));

function candidate(it) {
  const [word, mood] = OUTCOMES[it.outcome] ?? [it.outcome, "idle"];
  return h("li", { class: `row ${it.outcome}` }, state(word, mood), h("div", null,
    h("p", null, h("b", null, it.router), " ", rule(it.rule), h("small", null, ` priority ${it.priority}`)),
    it.reason && h("p", { class: "why" }, prose(it.reason))));
}
