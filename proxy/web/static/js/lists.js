// The lists of the dashboard: indexes, projects, errors, and the steps of the history.

import { byId, fill, put, putTime, root } from "./dom.js";
import { asked, count, duration, moment, percent, size } from "./format.js";

const projectUrl = (page, project) => new URL(`${page}/${encodeURIComponent(project)}`, root).href;

export function showIndexes(indexes) {
  list("indexes", "index-template", indexes, (index) => index.name, (card, index) => {
    card.dataset.health = index.health;
    put(card, "name", index.name);
    put(card, "health", index.health);
    const retry = index.retry_in_seconds;
    put(card, "retry", retry === null ? "" : `asked again in ${duration(retry)}`);
    put(card, "url", index.url);
    const wait = index.latency_seconds;
    card.dataset.asked = wait === null ? "no" : "yes";
    put(card, "latency", wait === null ? "" : duration(wait));
    put(card, "latency-of", wait === null ? "not asked in the last hour" : "mean wait, last hour");
    put(card, "requests", count(index.requests));
    put(card, "errors", count(index.errors));
    put(card, "received", size(index.bytes_received));
    put(card, "projects", index.projects.join(", "));
    put(card, "problem", index.problem ?? "").hidden = !index.problem;
    card.querySelector('[data-is="spark"]').setAttribute("d", sparkline(index.latencies));
  });
}

// A path in a box of 120 × 28; where nothing was asked, there is no line.
function sparkline(values) {
  const highest = Math.max(...values.filter((value) => value !== null), 0.001);
  const step = 120 / Math.max(1, values.length - 1);
  let path = "";
  let isDrawing = false;
  values.forEach((value, at) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    const x = (at * step).toFixed(1);
    const y = (26 - value / highest * 24).toFixed(1);
    // A minute by itself is a dot: a line of no length with round ends.
    path += isDrawing ? `L${x} ${y}` : `M${x} ${y}h0`;
    isDrawing = true;
  });
  return path;
}

export function showAsked(projects) {
  const most = projects[0]?.requests ?? 1;
  list("asked", "asked-template", projects, (asked) => asked.project, (row, asked) => {
    put(row, "project", asked.project).href = projectUrl("project", asked.project);
    Object.assign(row.querySelector("progress"), { max: most, value: asked.requests });
    put(row, "requests", count(asked.requests));
    put(row, "served", size(asked.bytes_served));
  });
}

export function showHeld(projects) {
  list("held", "held-template", projects, (held) => held.project, (row, held) => {
    put(row, "project", held.project).href = projectUrl("why", held.project);
    put(row, "rules", Object.keys(held.rules).join(", "));
    put(row, "files", count(held.files));
    const cell = row.querySelector('[data-is="until"]');
    if (held.until === null) put(row, "until", "not by waiting");
    else putTime(timeIn(cell), held.until);
  });
}

export function showErrors(errors) {
  const keyOf = (error) => JSON.stringify([error.what, error.problem, error.index, error.project]);
  list("errors", "error-template", errors, keyOf, (item, error) => {
    put(item, "what", error.what);
    put(item, "where", [error.index, error.project].filter(Boolean).join(" · "));
    put(item, "count", `${count(error.count)} times`).hidden = error.count < 2;
    put(item, "problem", error.problem);
    putTime(item.querySelector("time"), error.at);
  });
}

export function showPoints(points) {
  const table = byId("history");
  // Up to 168 rows that as a rule nobody looks at.
  if (!table.open) return;
  const newestFirst = [...points].reverse();
  const body = table.querySelector("tbody");
  fill(body, "point-template", newestFirst, (point) => point.at, (row, point) => {
    putTime(row.querySelector("time"), point.at, moment);
    for (const name of ["requests", "hits", "stale", "misses", "denied", "errors"]) {
      put(row, name, count(point[name]));
    }
    put(row, "rate", percent(point.hits, asked(point)));
    put(row, "saved", size(point.bytes_saved));
    put(row, "fetched", size(point.bytes_from_upstream));
  });
}

function list(id, templateId, items, keyOf, fillOne) {
  const element = byId(id);
  const box = element.closest("[data-list]");
  if (box) box.dataset.empty = items.length ? "no" : "yes";
  fill(element, templateId, items, keyOf, fillOne);
}

function timeIn(cell) {
  let time = cell.querySelector("time");
  if (!time) {
    time = document.createElement("time");
    time.dataset.ago = "";
    cell.replaceChildren(time);
  }
  return time;
}
