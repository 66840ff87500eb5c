// The configs of two runs beside each other, and what differs between them.

function startConfigs(runs) {
  const [a, b, differing] = ["a", "b", "differing"].map((name) => byId(`configs-${name}`));
  for (const select of [a, b]) offer(select, runs.map((run, place) => [place, run.name]));
  b.value = String(Math.min(1, runs.length - 1));

  const show = () => {
    const [first, second] = [runs[a.value], runs[b.value]];
    const paths = [...new Set([...Object.keys(first.options), ...Object.keys(second.options)])];
    const lines = paths.map((path) => [path, first.options[path] ?? "–", second.options[path] ?? "–"]);
    const different = lines.filter(([, one, other]) => one !== other);
    byId("configs-count").textContent = `${different.length} of ${lines.length} options differ`;

    const columns = [["Option"], [`A: ${first.name}`, "wide"], [`B: ${second.name}`, "wide"]];
    const shown = (differing.checked ? different : lines).map(([path, ...values]) => [breakable(path), ...values]);
    const table = tableOf("Two configs", columns, shown, "options");
    for (const row of bodyRows(table.querySelector("table"))) {
      const [one, other] = [row.cells[1].textContent, row.cells[2].textContent];
      row.classList.toggle("differs", one !== other);
    }
    byId("configs-table").replaceChildren(table);
  };

  selection.addEventListener("selectionchange", () => {
    const chosen = [...selection.runs].sort((x, y) => x - y);
    if (chosen.length !== 2) return;
    [a.value, b.value] = chosen.map(String);
    show();
  });
  for (const control of [a, b, differing]) control.addEventListener("change", show);
  show();
}

/** Return a path of an option, which may break behind its dots. */
function breakable(path) {
  const made = document.createDocumentFragment();
  path.split(/(?<=\.)/).forEach((part) => made.append(part, document.createElement("wbr")));
  return made;
}
