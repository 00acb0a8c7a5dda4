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
    const lines = links.filter(([, of]) => of === nearest(line)).map(([place]) => place);
    const effects = [setMarks.of(lines.flatMap(statement))];
    if (lines.length) {
      const { from } = view.state.doc.line(lines[0]);
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
  const known = links.filter(([place]) => statement(place).includes(line));
  context.spec.mark(known.map(([, of]) => of));
  view.dispatch({ effects: setMarks.of(known.flatMap(([place]) => statement(place))) });
}

// The line of the spec itself, or the one that holds it: that of a key above, less indented.
function nearest(line) {
  const lines = context.spec.text().split("\n");
  const indent = (number) => lines[number - 1].search(/\S|$/);
  const linked = new Set(links.map(([, of]) => of));
  let depth = indent(line) + 1;
  for (let at = line; at > 0; at--) {
    if (indent(at) >= depth || !lines[at - 1].trim()) continue;
    if (linked.has(at)) return at;
    depth = indent(at);
  }
  return 0;
}

// The lines of a statement: what is indented deeper belongs to it, as does what closes it.
function statement(first) {
  const { doc } = view.state;
  const indent = (line) => doc.line(line).text.search(/\S|$/);
  const lines = [first];
  for (let at = first + 1; at <= doc.lines && indent(at) > indent(first); at++) lines.push(at);
  const after = lines.at(-1) + 1;
  const closes = after <= doc.lines && /^\s*[)\]}]/.test(doc.line(after).text);
  return closes && lines.length > 1 ? [...lines, after] : lines;
}
