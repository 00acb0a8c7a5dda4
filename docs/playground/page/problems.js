// The list of problems below the editor: each leads to its place, its fixes and its rule.

const element = (tag, className, ...inside) => {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...inside);
  return made;
};

const button = (text, press) => {
  const made = element("button", "", text);
  made.onclick = press;
  return made;
};

const link = (address, text) => {
  const made = element("a", "", text);
  made.href = address;
  return made;
};

export function showList(list, diagnostics, actions) {
  list.replaceChildren(...diagnostics.map((each, number) => item(each, number, actions)));
}

function item(problem, number, actions) {
  const { severity, code, name, message, label, help, place } = problem;
  const go = button(`${place}`, () => actions.go(problem));
  go.setAttribute("aria-label", `go to line ${place}`);
  const tools = element("span", "tools", button("fix", (event) => offer(event.target)));
  const rule = element("div", "rule");
  tools.append(button(`explain ${code}`, async () => {
    if (rule.innerHTML) return rule.replaceChildren();
    rule.innerHTML = await actions.rule(code); // made of markdown, in which tags are text
    rule.append(link(`../rules.html#${code}-${name}`.toLowerCase(), "in the documentation"));
  }));
  const parts = [go, " ", element("b", severity, `${severity}[${code}] ${name}`), `: ${message}`];
  if (label) parts.push(element("span", "soft", ` (${label})`));
  if (help) parts.push(element("span", "help", `help: ${help}`));
  return element("li", severity, ...parts, " ", tools, rule);

  // Fixes are proven by the compiler, which takes time: they are looked for when asked for.
  async function offer(pressed) {
    const fixes = await actions.fixes(number);
    const offered = fixes.map(({ title, changes }) => button(title, () => actions.apply(changes)));
    pressed.replaceWith(...(offered.length ? offered : [element("span", "soft", "no known fix")]));
    offered[0]?.focus();
  }
}
