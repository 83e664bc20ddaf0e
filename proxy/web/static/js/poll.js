// Asks the server again and again while somebody looks, and says how that goes.

import { root } from "./dom.js";

const PAUSE_MS = 5000;
const LONGEST_PAUSE_MS = 30_000;
const PATIENCE_MS = 15_000;

// What an endpoint says. Throws an Error whose message is for people; `status` is that of HTTP,
// 0 where the server was not reached.
export async function ask(path) {
  let answer;
  try {
    answer = await fetch(new URL(path, root), {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw problem("This server cannot be reached.", 0);
  }
  if (!answer.ok) throw problem((await answer.text()).trim() || answer.statusText, answer.status);
  try {
    return [await answer.json(), answer.headers.get("Date")];
  } catch {
    throw problem("This server broke off its answer.", 0);
  }
}

function problem(message, status) {
  return Object.assign(new Error(message), { status });
}

// Calls `work` now and then. `tell` is told "live", "still" (nobody looks) or the problem.
export class Poll {
  constructor(work, tell) {
    this.work = work;
    this.tell = tell;
    this.timer = 0;
    this.failures = 0;
    this.isBusy = false;
    document.addEventListener("visibilitychange", () => this.look());
  }

  look() {
    clearTimeout(this.timer);
    if (document.hidden) this.tell("still");
    else this.now();
  }

  // Also called where somebody wants to see something else: then it begins anew.
  async now() {
    clearTimeout(this.timer);
    if (this.isBusy) {
      this.isWantedAgain = true;
      return;
    }
    this.isBusy = true;
    do {
      this.isWantedAgain = false;
      try {
        await this.work();
        this.failures = 0;
        this.tell("live");
      } catch (failure) {
        this.failures += 1;
        this.tell("failing", failure);
      }
    } while (this.isWantedAgain);
    this.isBusy = false;
    if (document.hidden) return;
    const pause = Math.min(PAUSE_MS * Math.max(1, this.failures), LONGEST_PAUSE_MS);
    this.timer = setTimeout(() => this.now(), pause);
  }
}
