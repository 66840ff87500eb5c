// A comparison: its table, error against cost, and growth with the number of tokens.

const COSTS = {
  seconds_per_step: { title: "time of a step / ms", factor: 1e3 },
  step_memory_bytes: { title: "memory of a step / MiB", factor: 2 ** -20 },
  parameters: { title: "parameters", factor: 1 },
};

function startComparison({ rows }, name) {
  if (!rows) return;
  const table = byId(`${name}-table`);
  makeFilterable(table, { text: byId(`${name}-text`), count: byId(`${name}-count`), noun: "variants" });
  makeSortable(table);
  makeSelectable(table);
  startCost(rows, name);
  if (rows.some((row) => row.scaling)) {
    makeSortable(byId(`${name}-scaling-table`));
    startScaling(rows, name);
  }
}

function startCost(rows, name) {
  const [error, cost] = [byId(`${name}-error`), byId(`${name}-cost`)];
  const fields = [...new Set(rows.flatMap((row) => Object.keys(row.errors)))];
  offer(error, [["", "mean ratio to predicting the mean"], ...fields.map((field) => [field, field])]);

  const show = () => {
    const { title, factor } = COSTS[cost.value];
    const points = rows
      .map((row, place) => ({ row, place, cost: row[cost.value], ...errorOf(row, error.value) }))
      .filter((point) => point.cost !== null && point.error !== null);
    const costs = points.map((point) => point.cost * factor);
    const middle = Math.sqrt(Math.min(...costs) * Math.max(...costs));
    const traces = points.map((point) => pointOf(point, factor, point.cost * factor > middle));
    const layout = layoutOf({
      height: 440,
      hovermode: "closest",
      showlegend: false,
      margin: { l: 8, r: 24, t: 24, b: 8 },
      xaxis: logAxis(title, costs),
      yaxis: { title: { text: error.value ? `${plain(error.value)}, relative L2 error` : "error ratio to the mean" } },
    });
    const label = `Error against ${title} of ${points.length} variants; the table above has the numbers`;
    draw(byId(`${name}-cost-chart`), traces, layout, label);
  };

  for (const control of [error, cost]) control.addEventListener("change", show);
  drawInTheme(show);
}

/** Return the error of a row with its bounds: an interval of the score, the seeds' of a field. */
function errorOf(row, field) {
  if (!field) {
    const [low, high] = row.interval || [row.score, row.score];
    return { error: row.score, low, high };
  }
  const known = (row.errors[field] || []).filter((error) => error !== null);
  if (!known.length) return { error: null };
  const mean = known.reduce((sum, error) => sum + error, 0) / known.length;
  return { error: mean, low: Math.min(...known), high: Math.max(...known) };
}

function pointOf({ row, place, cost, error, low, high }, factor, isRight) {
  const { color } = lookOf(place);
  return {
    name: plain(row.name),
    x: [cost * factor],
    y: [error],
    text: [plain(row.name)],
    mode: "markers+text",
    textposition: isRight ? "middle left" : "middle right",
    textfont: { size: 12 },
    cliponaxis: false,
    marker: { color, size: 10, symbol: place % 16 },
    error_y: { type: "data", symmetric: false, array: [high - error], arrayminus: [error - low], color, thickness: 1.2, width: 3 },
    hovertemplate: "%{x:.4~g}, %{y:.4g}",
  };
}

function startScaling(rows, name) {
  const kind = byId(`${name}-scaling`);

  const show = () => {
    const isTime = kind.value === "seconds";
    const { title, factor } = isTime ? COSTS.seconds_per_step : COSTS.step_memory_bytes;
    const traces = rows.flatMap((row, place) => {
      if (!row.scaling) return [];
      const exponent = isTime ? row.scaling.time_exponent : row.scaling.memory_exponent;
      const power = exponent === null ? "" : `, tokens^${written(exponent, 3)}`;
      const { color, dash } = lookOf(place);
      return [{
        name: plain(`${row.name}${power}`),
        x: row.scaling.tokens,
        y: row.scaling[kind.value].map((value) => value * factor),
        mode: "lines+markers",
        line: { color, dash, width: 1.6 },
        marker: { color, size: 6, symbol: place % 16 },
        hovertemplate: "%{x:,} tokens: %{y:.4~g}",
      }];
    });
    const chart = byId(`${name}-scaling-chart`);
    const layout = layoutOf({
      ...withLegend(chart, 420, traces.map((trace) => trace.name)),
      hovermode: "closest",
      xaxis: logAxis("tokens", traces.flatMap(({ x }) => x)),
      yaxis: logAxis(title, traces.flatMap(({ y }) => y)),
    });
    draw(chart, traces, layout, `${title} over tokens; the table below has the exponents`);
  };

  kind.addEventListener("change", show);
  drawInTheme(show);
}
