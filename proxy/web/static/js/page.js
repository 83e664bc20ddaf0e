// What the pages of projects and of searches do beside standing there.

import { byId, hearTime, renewTimes } from "./dom.js";
import { startPurge } from "./purge.js";
import { startSearch } from "./search.js";

const TIMES_MS = 30_000;

startSearch();
startPurge();
const page = document.querySelector("[data-now]");
if (page) {
  hearTime(page.dataset.now);
  setInterval(renewTimes, TIMES_MS);
}
for (const id of ["only-here", "only-hidden"]) {
  // Browsers keep ticks over a reload, and not whether they were meant.
  if (byId(id)) byId(id).checked = false;
}
