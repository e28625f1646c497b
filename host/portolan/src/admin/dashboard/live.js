// Keeps the page live: an event stream, or questions every few seconds where there can be none.

const SILENCE = 7_000;
const ASK_EVERY = 3_000;

/**
 * Calls `onchange` when something was replaced, `onpulse` with an overview every few seconds, and
 * `onstate` with "live", "asking" or "lost".
 */
export function watch({ onchange, onpulse, onstate }) {
  let heard = 0;
  let generation = null;
  let stream = null;
  let asking = false;
  let streaming = false;

  const hear = (state) => {
    heard = Date.now();
    streaming = state === "live";
    onstate(state);
  };

  const open = () => {
    stream?.close();
    stream = new EventSource("/api/events");
    stream.addEventListener("change", () => { hear("live"); onchange(); });
    stream.addEventListener("pulse", (event) => { hear("live"); onpulse(JSON.parse(event.data)); });
  };

  const ask = async () => {
    if (asking) return;
    asking = true;
    try {
      const overview = await json("/api/overview", ASK_EVERY);
      hear("asking");
      if (overview.portolan.generation !== generation) onchange();
      generation = overview.portolan.generation;
      onpulse(overview);
      if (stream.readyState === EventSource.CLOSED) open();
    } catch {
      onstate("lost");
      if (stream.readyState === EventSource.CLOSED) open();
    } finally {
      asking = false;
    }
  };

  open();
  // The first pulse may be seconds away; how things are is wanted at once.
  json("/api/overview").then(onpulse, () => {});
  setInterval(() => { if (!document.hidden && (!streaming || Date.now() - heard > SILENCE)) ask(); }, ASK_EVERY);
  setTimeout(() => { if (heard === 0) ask(); }, 600);
  // A page in the background sleeps; what it shows when it wakes must be true.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { ask(); onchange(); }
  });
}

/** A list, and what its headers say about the rest of it. */
export async function list(path) {
  const answer = await answered(path, 10_000);
  return {
    items: await answer.json(),
    next: Number(answer.headers.get("x-next-page") ?? 1),
    total: Number(answer.headers.get("x-total-count") ?? 0),
  };
}

/** A JSON answer, or an error with the sentence that came instead. */
export async function json(path, patience = 10_000) {
  return (await answered(path, patience)).json();
}

async function answered(path, patience) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(patience), cache: "no-store" });
  if (answer.ok) return answer;
  const complaint = await answer.json().catch(() => ({ message: `status ${answer.status}` }));
  throw Object.assign(new Error(complaint.message), { status: answer.status });
}
