// A list of the specs to start from.

export function fillExamples(select, examples, choose) {
  select.append(new Option("…", ""));
  for (const [group, members] of Object.entries(Object.groupBy(examples, (each) => each.group))) {
    const part = document.createElement("optgroup");
    part.label = group;
    part.append(...members.map(({ name, path }) => new Option(name, path)));
    select.append(part);
  }
  select.onchange = () => {
    const chosen = examples.find(({ path }) => path === select.value);
    if (chosen) choose(chosen);
  };
}
