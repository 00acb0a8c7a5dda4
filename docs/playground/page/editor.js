// The editor of specs: CodeMirror, with completion, hovers and underlines from the compiler.

import { acceptCompletion, autocompletion, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import {
  EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, hoverTooltip, keymap,
  lineNumbers,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";

import { ask } from "./compiler.js";
import { lineMarks, setMarks } from "./marks.js";

const TYPES = { key: "property", word: "enum", name: "variable", example: "constant" };
const SEVERITIES = { error: "error", warning: "warning", note: "info" };

async function completions(context) {
  const word = context.matchBefore(/[\w./-]+/);
  const opened = context.matchBefore(/[:[{,] ?$/);
  if (!word && !opened && !context.explicit) return null;
  const found = await ask("complete", context.state.doc.toString(), context.pos);
  if (context.aborted || !found.items.length) return null;
  const options = found.items.map(({ text, kind, info }, number) => ({
    label: text.replace(/: $/, ""),
    apply: text,
    type: TYPES[kind],
    info: info || undefined,
    boost: -number / 100,
  }));
  return { from: found.from, to: found.to, options, validFor: /^[\w./-]*$/ };
}

const hovers = hoverTooltip(async (view, pos) => {
  const html = await ask("hover", view.state.doc.toString(), pos);
  if (!html) return null;
  const word = view.state.wordAt(pos);
  return {
    pos: word ? word.from : pos,
    end: word ? word.to : pos,
    create() {
      const dom = document.createElement("div");
      dom.className = "card";
      dom.innerHTML = html; // made of markdown, in which tags are text
      return { dom };
    },
  };
});

// What an editor of text has, without what only specs need.
export const basics = [
  lineNumbers(),
  highlightActiveLineGutter(),
  drawSelection(),
  highlightActiveLine(),
  syntaxHighlighting(classHighlighter),
  lineMarks,
  keymap.of([...defaultKeymap, ...searchKeymap]),
];

const writing = [
  history(),
  indentOnInput(),
  indentUnit.of("  "),
  bracketMatching(),
  highlightSelectionMatches(),
  yaml(),
  keymap.of(historyKeymap),
];

const knowing = [
  autocompletion({ override: [completions] }),
  hovers,
  lintGutter(),
  // Tab stays a way out of the editor, but for a completion that is open
  keymap.of([{ key: "Tab", run: acceptCompletion }, ...completionKeymap, ...lintKeymap]),
];

// An editor of a spec; `changed` and `moved` are called with what a user does.
export function editor(parent, { label, changed, moved = () => {}, plain = false, text = "" }) {
  const view = new EditorView({
    parent,
    doc: text,
    extensions: [
      basics,
      writing,
      plain ? [] : knowing,
      EditorView.contentAttributes.of({ "aria-label": label }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) changed(update.state.doc.toString());
        if (update.selectionSet || update.docChanged) moved(lineOf(update.state));
      }),
    ],
  });
  const select = (from, to) => {
    const end = view.state.doc.length;
    const selection = { anchor: Math.min(from, end), head: Math.min(to, end) };
    view.dispatch({ selection, scrollIntoView: true });
    view.focus();
  };
  return {
    view,
    select,
    text: () => view.state.doc.toString(),
    line: () => lineOf(view.state),
    replace: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    apply(changes) {
      view.dispatch({ changes });
      view.focus();
    },
    goTo(line) {
      const place = view.state.doc.line(Math.min(line, view.state.doc.lines));
      select(place.from, place.from);
    },
  };
}

export const lineOf = (state) => state.doc.lineAt(state.selection.main.head).number;

export function readOnly(parent, label, language, moved) {
  return new EditorView({
    parent,
    extensions: [
      basics,
      language,
      EditorState.readOnly.of(true),
      EditorView.contentAttributes.of({ "aria-label": label }),
      EditorView.updateListener.of((update) => {
        if (update.selectionSet && !update.docChanged) moved(lineOf(update.state));
      }),
    ],
  });
}

export function markLines(spec, lines) {
  spec.view.dispatch({ effects: setMarks.of(lines) });
}

export function showProblems(spec, diagnostics) {
  const length = spec.view.state.doc.length;
  const shown = diagnostics.map(({ from, to, severity, code, name, message, label, help }) => ({
    from: Math.min(from, length),
    to: Math.min(to, length),
    severity: SEVERITIES[severity],
    source: `${code} ${name}`,
    message: [message, label, help && `help: ${help}`].filter(Boolean).join("\n"),
  }));
  spec.view.dispatch(setDiagnostics(spec.view.state, shown));
}
