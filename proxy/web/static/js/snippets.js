// "Use this server": the address is the one of the address bar, whatever stands in front.

import { byId, root } from "./dom.js";

export function startSnippets() {
  putAddresses();
  if (byId("tabs")) makeTabs(byId("tabs"));
  for (const snippet of document.querySelectorAll(".snippet")) addCopyButton(snippet);
}

function putAddresses() {
  const { protocol, host, hostname, pathname } = root;
  const isLoopback = hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname);
  const holds = { insecure: protocol === "http:" && !isLoopback, loopback: isLoopback };
  for (const element of document.querySelectorAll("[data-address]")) {
    const login = element.dataset.login ?? "";
    element.textContent = `${protocol}//${login}${host}${pathname}${element.dataset.address}`;
  }
  for (const element of document.querySelectorAll("[data-host]")) element.textContent = hostname;
  for (const element of document.querySelectorAll("[data-when]")) {
    element.hidden = !holds[element.dataset.when];
  }
}

// What is to be copied: the text without what is hidden.
function textOf(snippet) {
  const copy = snippet.querySelector("pre").cloneNode(true);
  for (const hidden of copy.querySelectorAll("[hidden]")) hidden.remove();
  return `${copy.textContent.trim()}\n`;
}

function addCopyButton(snippet) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${snippet.querySelector("pre").getAttribute("aria-label")}`);
  const status = document.createElement("span");
  status.className = "unseen";
  status.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    const isCopied = await copied(textOf(snippet), snippet);
    button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
    status.textContent = button.textContent;
    setTimeout(() => {
      button.textContent = "Copy";
      status.textContent = "";
    }, 2000);
  });
  snippet.append(button, status);
}

async function copied(text, snippet) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers keep their clipboard from plain http: there it is selected, to be copied by hand.
    getSelection().selectAllChildren(snippet.querySelector("code"));
    return false;
  }
}

// See the tabs pattern of the ARIA Authoring Practices Guide.
function makeTabs(box) {
  const panels = [...box.querySelectorAll(".tab")];
  const list = document.createElement("div");
  list.className = "tablist";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Tool");
  const tabs = panels.map((panel) => {
    const title = panel.querySelector("h3");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${panel.id}-tab`;
    tab.textContent = title.textContent;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    tab.addEventListener("click", () => show(panel));
    title.remove();
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    return tab;
  });

  function show(shown, withFocus = false) {
    panels.forEach((panel, at) => {
      const isShown = panel === shown;
      panel.classList.toggle("chosen", isShown);
      tabs[at].setAttribute("aria-selected", String(isShown));
      tabs[at].tabIndex = isShown ? 0 : -1;
      if (isShown && withFocus) tabs[at].focus();
    });
  }

  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(panels[to], true);
  });
  list.append(...tabs);
  panels[0].before(list);
  box.classList.add("made");
  show(panels[0]);
}
