// Everything is unpacked, and each part of the page is made to work.

/** Return the runs that are drawn at first: all if they are few, else the first of each row. */
function firstChosen({ runs, comparisons }) {
  const most = 8;
  const every = runs.map((_, place) => place);
  if (every.length <= most) return every;
  const first = comparisons.flatMap(({ rows }) => (rows || []).flatMap((row) => row.runs.slice(0, 1)));
  return (first.length ? first : every).slice(0, most);
}

async function start() {
  const [data] = await Promise.all([unpacked("data").then(JSON.parse), loadPlotly()]);
  for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());

  data.comparisons.forEach((comparison, number) => startComparison(comparison, `comparison-${number}`));
  for (const name of ["runs", "curves", "fields", "configs"]) {
    byId(name).hidden = !data.runs.length;
    document.querySelector(`nav a[href="#${name}"]`).parentElement.hidden = !data.runs.length;
  }
  if (data.runs.length) {
    startRunsTable();
    startConfigs(data.runs);
    selection.set(firstChosen(data), true);
    startCurves(data.runs);
    startFields(data.runs, arraysOf(data.arrays));
  }
  document.documentElement.dataset.ready = "";
}

start().catch((error) => {
  const failure = byId("failure");
  failure.hidden = false;
  failure.textContent = `Charts cannot be drawn here: ${error.message}. Tables and configs are below.`;
  throw error;
});
