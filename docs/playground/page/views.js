// The views on the right, of which one is open. Each is `{open, refresh, select?, close?}`.

import { codeView } from "./code.js";
import { diffView } from "./diff.js";
import { modelView } from "./model.js";

const text = (name) => ({
  open(parent) {
    const printed = document.createElement("pre");
    printed.className = name;
    parent.replaceChildren(printed);
  },
  async refresh(parent, { ask }) {
    parent.firstChild.textContent = await ask(name);
  },
});

const VIEWS = {
  model: modelView,
  code: codeView,
  show: text("show"),
  explain: text("explain"),
  diff: diffView,
};
export const views = Object.keys(VIEWS);

let current;
let place;

export function openView(name, parent, context) {
  [current, place] = [VIEWS[name], parent];
  current.open(parent, context);
}

export function closeView(context) {
  current?.close?.(context);
}

export const refresh = (context) => current.refresh(place, context);

export const selectSpecLine = (line) => current?.select?.(line);
