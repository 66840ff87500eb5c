// Tables that Python wrote get buttons to sort by, filters, and ticks that choose runs.

/** The runs that are ticked, by number; whoever draws listens for "selectionchange" on it. */
const selection = new (class extends EventTarget {
  runs = new Set();
  #looks = new Map();

  set(runs, isOn) {
    for (const run of runs) {
      this.runs[isOn ? "add" : "delete"](run);
      if (isOn && !this.#looks.has(run)) this.#looks.set(run, this.#looks.size);
    }
    this.dispatchEvent(new Event("selectionchange"));
  }

  /** Return the look of a run's lines, which it keeps from when it is first ticked. */
  lookOf(run) {
    return lookOf(this.#looks.get(run) ?? 0);
  }
})();

const bodyRows = (table) => [...table.tBodies[0].rows];
const runsOf = (row) => row.dataset.runs.split(" ").filter(Boolean).map(Number);

/** Let the head of each column be a button that sorts by it, up and then down. */
function makeSortable(table) {
  for (const head of table.tHead.rows[0].cells) {
    const name = head.querySelector(".name");
    if (!name) continue;
    const button = element("button", { type: "button", class: "sort" }, name.textContent);
    name.replaceWith(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, head));
  }
}

function sortBy(table, head) {
  const isDown = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  }
  head.setAttribute("aria-sort", isDown ? "descending" : "ascending");

  const place = head.cellIndex;
  const isNumber = head.classList.contains("number");
  const valueOf = (row) => row.cells[place].dataset.value;
  const compare = isNumber
    ? (a, b) => Number(a) - Number(b)
    : (a, b) => a.localeCompare(b, "en", { numeric: true });
  const rows = bodyRows(table).sort((a, b) => {
    const [first, second] = [valueOf(a), valueOf(b)];
    if (first === "" || second === "") return (first === "") - (second === ""); // what is missing is last
    return isDown ? compare(second, first) : compare(first, second);
  });
  table.tBodies[0].append(...rows);
}

/** Put a tick before each row that stands for runs. */
function makeSelectable(table) {
  table.tHead.rows[0].prepend(element("td", { class: "choice" }));
  for (const row of bodyRows(table)) {
    const cell = element("td", { class: "choice" });
    const runs = runsOf(row);
    if (runs.length) {
      const label = `Draw ${row.querySelector("th .text").textContent}`;
      const box = element("input", { type: "checkbox", "aria-label": label });
      box.addEventListener("change", () => selection.set(runs, box.checked));
      cell.append(box);
    }
    row.prepend(cell);
  }

  const show = () => {
    for (const row of bodyRows(table)) {
      const box = row.querySelector("td.choice input");
      if (!box) continue;
      const chosen = runsOf(row).filter((run) => selection.runs.has(run)).length;
      box.checked = chosen > 0;
      box.indeterminate = chosen > 0 && chosen < runsOf(row).length;
      row.classList.toggle("chosen", box.checked);
      row.style.setProperty("--mark", selection.lookOf(runsOf(row).find((run) => selection.runs.has(run))).color);
    }
  };
  selection.addEventListener("selectionchange", show);
  document.addEventListener("themechange", show);
}

/** Hide the rows that a filter does not let through, and say how many are left. */
function makeFilterable(table, { text, count, noun, choices = [] }) {
  const show = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of bodyRows(table)) {
      const content = row.textContent.toLowerCase();
      const fits = words.every((word) => content.includes(word))
        && choices.every(([select, valueOf]) => !select.value || valueOf(row) === select.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${bodyRows(table).length} ${noun}`;
  };

  for (const [select, valueOf] of choices) {
    const values = [...new Set(bodyRows(table).map(valueOf))].sort();
    offer(select, [["", "All"], ...values.map((value) => [value, value])]);
    select.addEventListener("change", show);
  }
  text.addEventListener("input", show);
  show();
}

/** Make everything of the runs' table work. */
function startRunsTable() {
  const table = byId("runs-table");
  makeFilterable(table, {
    text: byId("runs-text"),
    count: byId("runs-count"),
    noun: "runs",
    choices: [
      [byId("runs-task"), (row) => row.cells[1 + hasChoice(row)].dataset.value],
      [byId("runs-state"), (row) => row.dataset.state],
    ],
  });
  makeSortable(table);
  makeSelectable(table);
}

const hasChoice = (row) => Number(row.cells[0].classList.contains("choice"));
