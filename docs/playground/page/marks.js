// Lines of an editor that belong to what is selected in the other one.

import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView } from "@codemirror/view";

export const setMarks = StateEffect.define(); // numbers of lines

const marked = Decoration.line({ class: "linked" });

function decorations(doc, lines) {
  const there = [...new Set(lines)].filter((line) => line <= doc.lines).sort((a, b) => a - b);
  return Decoration.set(there.map((line) => marked.range(doc.line(line).from)));
}

export const lineMarks = StateField.define({
  create: () => Decoration.none,
  update(value, transaction) {
    const effect = transaction.effects.find((each) => each.is(setMarks));
    if (effect) return decorations(transaction.state.doc, effect.value);
    return value.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});
