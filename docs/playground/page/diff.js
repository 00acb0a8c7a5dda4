// The view of a change: another spec, and what `homespec diff` says of the way from it to this one.

import { editor } from "./editor.js";
import { fillExamples } from "./examples.js";

let old, said, timer;

export const diffView = {
  open(parent, context) {
    const head = document.createElement("p");
    const list = document.createElement("select");
    list.setAttribute("aria-label", "Old spec");
    fillExamples(list, context.examples, ({ text }) => old.replace(text));
    const take = document.createElement("button");
    take.textContent = "Take the present spec";
    take.onclick = () => old.replace(context.spec.text());
    head.append("Old spec, yours to edit: ", list, " ", take);
    const place = document.createElement("div");
    place.className = "old";
    said = document.createElement("pre");
    parent.replaceChildren(head, place, said);
    old = editor(place, {
      label: "Old spec",
      plain: true,
      text: context.old,
      changed(text) {
        context.changedOld(text);
        clearTimeout(timer);
        timer = setTimeout(() => diffView.refresh(parent, context), 200);
      },
    });
  },

  async refresh(parent, { ask }) {
    said.textContent = await ask("diff", old.text());
  },

  close() {
    clearTimeout(timer);
    old?.view.destroy();
  },
};
