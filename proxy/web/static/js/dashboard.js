// Keeps the dashboard fresh: the server has sent it with the numbers of a moment ago.

import { Charts } from "./charts.js";
import { byId, hearTime, now, put, renewTimes, tell } from "./dom.js";
import { asked, count, duration, percent, size } from "./format.js";
import { showAsked, showErrors, showHeld, showIndexes, showPoints } from "./lists.js";
import { ask, Poll } from "./poll.js";
import { startSearch } from "./search.js";
import { startSnippets } from "./snippets.js";

const page = byId("dashboard");
const spans = [...document.querySelectorAll("[data-span]")];
let span = spans.find((link) => link.hasAttribute("aria-current")).dataset.span;
let history = null;
let failingSince = null;
let charts = null;

function showHistory() {
  const { total } = history;
  put(page, "rate", percent(total.hits, asked(total)));
  Object.assign(page.querySelector('[data-is="rate-bar"]'), { max: asked(total) || 1, value: total.hits });
  put(page, "rate-of", `${count(total.hits)} of ${count(asked(total))} pages and files`);
  put(page, "saved", size(total.bytes_saved));
  put(page, "saved-of", `of ${size(total.bytes_served)} served; ${size(total.bytes_from_upstream)} came from the indexes`);
  put(page, "hits", count(total.hits));
  put(page, "hits-of", `${count(total.misses)} had to be fetched`);
  put(page, "waiting", duration(total.seconds_saved));
  charts ??= new Charts();
  charts.show(history);
  showPoints(history.points);
}

function showOverview({ stats, indexes, most_asked: asked, held, last_errors: errors }) {
  put(page, "disk", size(stats.blob_bytes));
  put(page, "disk-max", size(stats.max_bytes));
  Object.assign(page.querySelector('[data-is="disk-bar"]'), { max: stats.max_bytes || 1, value: stats.blob_bytes });
  put(page, "blobs", count(stats.blobs));
  put(page, "pages", stats.pages === null ? "page store away" : count(stats.pages));
  put(page, "workers", String(stats.workers));
  put(page, "uptime", duration((now() - Date.parse(stats.started_at)) / 1000));
  put(page, "all-requests", count(stats.requests));
  put(page, "version", stats.version);
  showIndexes(indexes);
  showAsked(asked);
  showHeld(held);
  showErrors(errors);
  if (history?.total.requests || stats.blobs || stats.pages) page.dataset.fresh = "no";
}

async function renew() {
  const wanted = span;
  const answers = await Promise.allSettled([ask("stats/overview"), ask(`stats/history?span=${wanted}`)]);
  const [overview, past] = answers.map(({ value }) => value);
  if (overview) hearTime(overview[1]);
  if (past && wanted === span) {
    history = past[0];
    showHistory();
  }
  if (overview) showOverview(overview[0]);
  renewTimes();
  const failure = answers.find(({ status }) => status === "rejected");
  if (failure) throw failure.reason;
}

function tellState(state, failure) {
  const live = document.querySelector(".live");
  live.dataset.state = state;
  if (state === "failing") {
    failingSince ??= new Date();
    const since = failingSince.toLocaleTimeString();
    byId("live-text").textContent = "not live";
    const words = failure.status ? failure.message : `${failure.message} The numbers are those of ${since}; trying again.`;
    tell(words, "bad");
    return;
  }
  byId("live-text").textContent = state === "live" ? "live" : "paused";
  if (state === "live") {
    tell("");
    failingSince = null;
  }
}

function choose(link) {
  span = link.dataset.span;
  for (const other of spans) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  // So that the page can be reloaded, or sent to somebody, as it is seen.
  window.history.replaceState(null, "", link.href);
  poll.now();
}

for (const link of spans) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(link);
  });
}
byId("history").addEventListener("toggle", () => { if (history) showPoints(history.points); });
hearTime(page.dataset.now);
startSnippets();
startSearch();
const poll = new Poll(renew, tellState);
poll.look();
