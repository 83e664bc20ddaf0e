// The search field: names are offered while one types. Without a script it is a plain form.
// See the combobox pattern of the ARIA Authoring Practices Guide.

import { byId, root } from "./dom.js";
import { ask } from "./poll.js";

const PAUSE_MS = 120;
const MOST_OFFERED = 10;

export function startSearch() {
  const field = byId("search");
  const options = byId("options");
  const status = byId("search-status");
  let chosen = -1;
  let timer = 0;
  let asked = 0;

  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", options.id);
  close();

  function close() {
    options.hidden = true;
    options.replaceChildren();
    choose(-1);
    field.setAttribute("aria-expanded", "false");
  }

  function choose(at) {
    chosen = at;
    [...options.children].forEach((option, index) => {
      option.setAttribute("aria-selected", String(index === at));
    });
    const option = options.children[at];
    if (option) {
      field.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else field.removeAttribute("aria-activedescendant");
  }

  function open(project) {
    location.assign(new URL(`project/${encodeURIComponent(project)}`, root));
  }

  function offer(found) {
    const names = found.projects.slice(0, MOST_OFFERED);
    options.replaceChildren(...names.map((name, at) => {
      const option = document.createElement("li");
      option.id = `option-${at}`;
      option.setAttribute("role", "option");
      option.textContent = name;
      // Before the field loses the focus, which closes the list.
      option.addEventListener("mousedown", (event) => event.preventDefault());
      option.addEventListener("click", () => open(name));
      return option;
    }));
    choose(-1);
    options.hidden = names.length === 0;
    field.setAttribute("aria-expanded", String(names.length > 0));
    const isWhole = found.is_whole && names.length === found.projects.length;
    say(names.length === 0 ? "No cached project" : `${isWhole ? "" : "More than "}${names.length} found`);
  }

  function say(text) {
    status.textContent = text;
  }

  async function look() {
    const text = field.value.trim();
    const turn = ++asked;
    if (!text) {
      close();
      say("");
      return;
    }
    try {
      const [found] = await ask(`search?q=${encodeURIComponent(text)}`);
      // An earlier question may be answered later.
      if (turn === asked && document.activeElement === field) offer(found);
    } catch (failure) {
      if (turn !== asked) return;
      close();
      say(failure.message);
    }
  }

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE_MS);
  });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    const count = options.children.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!count) look();
      // Between the last and the first is none: what was typed.
      else if (event.key === "ArrowDown") choose(chosen + 1 >= count ? -1 : chosen + 1);
      else choose(chosen < 0 ? count - 1 : chosen - 1);
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      open(options.children[chosen].textContent);
    } else if (event.key === "Escape") {
      if (options.hidden) field.blur();
      else {
        event.preventDefault();
        close();
      }
    }
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = document.activeElement?.closest("input, textarea, select, dialog");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}
