// The project page's purge button: asks once more, and tells what came of it.

import { byId, root, tell } from "./dom.js";

export function startPurge() {
  const button = byId("purge");
  const dialog = byId("purge-dialog");
  if (!button || !dialog) return;
  button.addEventListener("click", () => {
    dialog.returnValue = "no";
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") purge(dialog.dataset.project, button);
  });
}

async function purge(project, button) {
  button.disabled = true;
  try {
    const url = new URL(`cache/${encodeURIComponent(project)}`, root);
    const answer = await fetch(url, { method: "DELETE" });
    if (!answer.ok) tell(`Nothing was purged. ${(await answer.text()).trim()}`, "bad");
    else {
      const { purged } = await answer.json();
      if (purged) tell("Purged: whoever asks next has its page fetched anew.", "good");
      else tell("There was nothing to purge: its page is not kept.", "good");
      byId("page-kept").textContent = "whose page is no longer kept; below is what it said";
    }
  } catch {
    tell("Whether it was purged is not known: this server cannot be reached.", "bad");
  }
  button.disabled = false;
  button.focus();
}
