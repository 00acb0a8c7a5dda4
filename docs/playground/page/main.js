// The page: what is typed is checked, and the view that is open follows.

import { ask, ready } from "./compiler.js";
import { fillExamples } from "./examples.js";
import { editor, markLines, showProblems } from "./editor.js";
import { readAddress, writeAddress } from "./link.js";
import { showList } from "./problems.js";
import { closeView, openView, refresh, selectSpecLine, views } from "./views.js";

const WAIT = 200; // milliseconds without a key before the spec is checked

const byId = (id) => document.getElementById(id);
const status = (text) => { byId("status").textContent = text; };

const state = {
  examples: [],
  example: "", // the path of the one that was opened last
  view: "model",
  old: "", // what the spec is compared with
  ready: false, // whether the compiler is there
  checked: null, // the text that the listed problems are of
  sound: false, // whether it has no errors
  shown: false, // whether the view shows some version of it
  version: 0, // rises with each change and each check
};
let timer;

const spec = editor(byId("editor"), {
  label: "Spec",
  changed() {
    state.version++; // what is said of the text before is not shown any more
    if (state.ready) status("Checking…");
    clearTimeout(timer);
    timer = setTimeout(check, WAIT);
  },
  moved: (line) => selectSpecLine(line),
});

// ---------------------------------------------------------------- checking

async function check() {
  const version = ++state.version;
  const text = spec.text();
  const remembered = remember();
  try {
    await ready;
    state.ready = true;
    const start = performance.now();
    const [{ diagnostics, sound }] = await Promise.all([ask("check", text), remembered]);
    if (version !== state.version) return; // a newer text is on its way
    showProblems(spec, diagnostics);
    showList(byId("problems"), diagnostics, actions);
    [state.checked, state.sound] = [text, sound];
    note();
    const time = `${Math.round(performance.now() - start)} ms`;
    status(`${counted(diagnostics)}, checked in ${time}`);
    if (sound) await show();
  } catch (error) {
    status(`The compiler failed: ${error.message}`);
  }
}

async function show() {
  await refresh(context());
  state.shown = true;
}

// What is said above a view that is not of the present spec.
function note() {
  const text = state.shown ? "This is the last version without errors." : "Fix the errors to see this.";
  byId("view").dataset.note = state.sound || !state.ready ? "" : text;
}

function counted(diagnostics) {
  const counts = ["error", "warning", "note"].map((severity) => {
    const number = diagnostics.filter((each) => each.severity === severity).length;
    return number && `${number} ${severity}${number === 1 ? "" : "s"}`;
  });
  return counts.filter(Boolean).join(", ") || "No problems";
}

// What is listed has the places of the text that was checked: of another one, nothing is mended.
const isChecked = () => spec.text() === state.checked;
const actions = {
  go: (problem) => spec.select(problem.from, problem.to),
  fixes: async (number) => (isChecked() ? ask("fixes", number) : []),
  apply: (changes) => isChecked() && spec.apply(changes),
  rule: (code) => ask("rule", code),
};

// ---------------------------------------------------------------- views

const context = () => ({
  ask,
  examples: state.examples,
  old: state.old,
  changedOld(text) {
    state.old = text;
    remember();
  },
  spec: { text: spec.text, goTo: spec.goTo, line: spec.line, mark: (lines) => markLines(spec, lines) },
});

async function choose(view) {
  for (const name of views) {
    const tab = byId(`tab-${name}`);
    tab.setAttribute("aria-selected", name === view);
    tab.tabIndex = name === view ? 0 : -1;
  }
  byId("view").setAttribute("aria-labelledby", `tab-${view}`);
  state.view = view;
  closeView(context());
  openView(view, byId("view"), context());
  remember();
  state.shown = false;
  note();
  if (state.sound) await show().catch((error) => status(error.message));
}

for (const [number, name] of views.entries()) {
  const tab = byId(`tab-${name}`);
  tab.onclick = () => choose(name);
  tab.onkeydown = ({ key }) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!step) return;
    const next = views[(number + step + views.length) % views.length];
    choose(next);
    byId(`tab-${next}`).focus();
  };
}

// ---------------------------------------------------------------- links and examples

const exampleAt = (path) => state.examples.find((each) => each.path === path);

async function remember() {
  const known = exampleAt(state.example);
  const isExample = known && known.text === spec.text();
  const { view, old } = state;
  const differs = view === "diff" && old && old !== known?.text;
  await writeAddress({
    ...(isExample ? { example: known.path } : { spec: spec.text() }),
    ...(differs && { old }),
    ...(view !== "model" && { view }),
  });
  byId("examples").value = isExample ? known.path : "";
}

async function open() {
  const found = await readAddress();
  const example = exampleAt(found.example) ?? (found.spec === undefined && state.examples[0]);
  state.example = example ? example.path : "";
  const text = example ? example.text : found.spec;
  state.old = found.old ?? text;
  state.view = views.includes(found.view) ? found.view : state.view;
  ask("forget");
  [state.checked, state.sound] = [null, false];
  spec.replace(text);
  clearTimeout(timer);
  await choose(state.view);
  await check();
}

byId("copy").onclick = async () => {
  await remember();
  try {
    await navigator.clipboard.writeText(location.href);
    status("The link is copied. It holds the spec.");
  } catch {
    status("Copy the address of this page: it holds the spec.");
  }
};

async function begin() {
  const response = await fetch("examples.json");
  state.examples = await response.json();
  fillExamples(byId("examples"), state.examples, ({ path }) => {
    location.hash = new URLSearchParams({ example: path });
  });
  addEventListener("hashchange", open);
  await open();
}

globalThis.homespec = { ask }; // for tests, and for the console

begin().catch((error) => status(`The playground failed to load: ${error.message}`));
