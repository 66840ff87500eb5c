// Elements and numbers as a reader sees them. Text from outside becomes text, never markup.

const byId = (id) => document.getElementById(id);

/** Return a new element with attributes and children; strings become text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Let a select offer values by their names, and keep what is chosen if it is still there. */
function offer(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, name]) => element("option", { value }, name)));
  if (options.some(([value]) => String(value) === before)) select.value = before;
}

/** Return a number as text. */
function written(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6)) return value.toExponential(digits - 1);
  return new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);
}

/** Return a table of texts; the first column has the heads of the rows. */
function tableOf(caption, columns, rows, classes = "data") {
  const head = columns.map(([name, kind]) => element("th", { scope: "col", class: kind || "" }, name));
  const body = rows.map((cells) => {
    const made = cells.map((cell, place) => {
      const kind = columns[place][1] || "";
      return place === 0
        ? element("th", { scope: "row", class: kind }, cell)
        : element("td", { class: kind }, cell);
    });
    return element("tr", {}, ...made);
  });
  const table = element(
    "table",
    { class: classes },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, table` }, table);
}
