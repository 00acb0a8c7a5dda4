// The view of the model: its drawing, and what its parts cost.

const number = new Intl.NumberFormat("en");

function row(cells, tag) {
  const made = document.createElement("tr");
  for (const cell of cells) {
    const part = document.createElement(tag);
    part.textContent = typeof cell === "number" ? number.format(cell) : cell;
    made.append(part);
  }
  return made;
}

function costs(rows) {
  const table = document.createElement("table");
  table.append(row(["", "parameters", "FLOPs a sample"], "th"));
  table.append(...rows.map((cells) => row(cells, "td")));
  return table;
}

const LEGEND =
  "Squares are experts, diamonds feature gates, dots gates (ringed with a self gate), flags towers. " +
  "A gate's lines lead to the experts that it may see. Each part leads to its line of the spec.";

export const modelView = {
  open(parent) {
    parent.replaceChildren();
  },

  async refresh(parent, { ask, spec }) {
    const { drawing, costs: rows } = await ask("model");
    const drawn = document.createElement("div");
    drawn.className = "model";
    drawn.innerHTML = drawing.map((part) => `<div>${part}</div>`).join(""); // escaped by svg.py
    drawn.onclick = (event) => {
      const line = event.target.closest("a")?.getAttribute("href");
      if (!line) return;
      event.preventDefault();
      spec.goTo(Number(line.replace("#line-", "")));
    };
    const legend = document.createElement("p");
    legend.className = "soft";
    legend.textContent = LEGEND;
    parent.replaceChildren(drawn, legend, costs(rows));
  },
};
