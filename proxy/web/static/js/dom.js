// What is put into a page: always as text, so that nothing an index says can run.

import { ago } from "./format.js";

// Relative to each page, so that it is right below any prefix; without the user and the password
// that an address bar may hold, with which `fetch` refuses to work.
export const root = new URL(document.documentElement.dataset.root, location.origin + location.pathname);

export const byId = (id) => document.getElementById(id);

// Writes only what is another than before: whoever selects or reads a text is not disturbed.
export function put(scope, name, text) {
  const element = scope.querySelector(`[data-is="${name}"]`);
  if (element.textContent !== text) element.textContent = text;
  return element;
}

// Makes the children of `list` those of `items`, by key: what stays keeps its focus.
export function fill(list, templateId, items, keyOf, fillOne) {
  const before = new Map([...list.children].map((child, at) => [child.dataset.key ?? `unknown ${at}`, child]));
  const template = byId(templateId).content.firstElementChild;
  const seen = new Map();
  items.forEach((item, at) => {
    // Two may be alike in all that names them.
    const name = keyOf(item);
    const times = seen.get(name) ?? 0;
    seen.set(name, times + 1);
    const key = `${name} ${times}`;
    let child = before.get(key);
    if (child) before.delete(key);
    else {
      child = template.cloneNode(true);
      child.dataset.key = key;
    }
    fillOne(child, item);
    if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null);
  });
  for (const child of before.values()) child.remove();
}

let ahead = 0;

// The server's clock, by how far it was ahead of this one when it last said the time.
export const now = () => new Date(Date.now() + ahead);
export function hearTime(iso) {
  const said = Date.parse(iso);
  if (!Number.isNaN(said)) ahead = said - Date.now();
}

export function putTime(element, iso, format = ago) {
  if (element.dateTime !== iso) {
    element.dateTime = iso;
    element.title = new Date(iso).toLocaleString();
  }
  const text = format(new Date(iso), now());
  if (element.textContent !== text) element.textContent = text;
}

// What was two minutes ago is three by now.
export function renewTimes() {
  for (const time of document.querySelectorAll("time[data-ago]")) putTime(time, time.dateTime);
}

export function tell(text, kind = "") {
  const notice = byId("notice");
  if (notice.textContent === text) return;
  notice.dataset.kind = kind;
  notice.replaceChildren();
  if (!text) return;
  const line = document.createElement("p");
  line.textContent = text;
  notice.append(line);
}
