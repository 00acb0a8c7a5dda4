// The view of the generated file. A line of it and the lines of the spec that it comes from are
// marked together, whichever of them the cursor is on.

import { python } from "@codemirror/lang-python";
import { EditorView } from "@codemirror/view";

import { readOnly } from "./editor.js";
import { setMarks } from "./marks.js";

const VARIANTS = {
  "batched, for training": {},
  "a module for each expert": { optimize: false },
  "for inference": { mode: "inference" },
};

let view, chosen, links, context;

export const codeView = {
  open(parent, given) {
    context = given;
    links = [];
    chosen = document.createElement("select");
    chosen.append(...Object.keys(VARIANTS).map((name) => new Option(name)));
    chosen.setAttribute("aria-label", "Variant");
    chosen.onchange = () => codeView.refresh(parent, context);
    const copy = document.createElement("button");
    copy.textContent = "Copy file";
    copy.onclick = () => navigator.clipboard.writeText(view.state.doc.toString());
    const tools = document.createElement("p");
    tools.append(chosen, " ", copy);
    const code = document.createElement("div");
    code.className = "code";
    parent.replaceChildren(tools, code);
    view = readOnly(code, "Generated PyTorch", python(), selectCodeLine);
  },

  async refresh(parent, given) {
    context = given;
    const found = await context.ask("code", VARIANTS[chosen.value]);
    if (!view) return; // another view was opened meanwhile
    links = found.links;
    const changes = { from: 0, to: view.state.doc.length, insert: found.text };
    view.dispatch({ changes });
    codeView.select(context.spec.line());
  },

  select(line) {
    const shown = links.filter(([, , first]) => first === nearest(line));
    const effects = [setMarks.of(shown.flatMap(([first, last]) => range(first, last)))];
    if (shown.length) {
      const { from } = view.state.doc.line(shown[0][0]);
      effects.push(EditorView.scrollIntoView(from, { y: "center" }));
    }
    view.dispatch({ effects });
    context.spec.mark([]);
  },

  close(given) {
    given.spec.mark([]);
    view?.destroy();
    view = null;
  },
};

function selectCodeLine(line) {
  const shown = links.filter(([first, last]) => first <= line && line <= last);
  context.spec.mark(shown.flatMap(([, , first, last]) => range(first, last)));
  view.dispatch({ effects: setMarks.of(shown.flatMap(([first, last]) => range(first, last))) });
}

const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

// Where the smallest linked part of the spec begins that holds a line. A block begins below its key.
function nearest(line) {
  const isKey = /^[^#]*:\s*(#.*)?$/.test(context.spec.text().split("\n")[line - 1]);
  const around = links.filter(([, , first, last]) => first <= line + isKey && line <= last);
  const size = ([, , first, last]) => last - first;
  return around.sort((a, b) => size(a) - size(b))[0]?.[2];
}
