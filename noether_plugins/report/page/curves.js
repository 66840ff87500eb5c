// Losses of the ticked runs over steps or time, and the same as a table.

function startCurves(runs) {
  const [over, training, validation, logarithmic] = ["over", "training", "validation", "log"].map(
    (name) => byId(`curves-${name}`),
  );

  const show = () => {
    const chosen = [...selection.runs].sort((a, b) => a - b).filter((run) => runs[run].curve);
    const kinds = [["loss", training.checked], ["validation", validation.checked]];
    const traces = [];
    for (const run of chosen) {
      for (const [kind, isShown] of kinds) {
        const line = runs[run].curve[kind];
        if (isShown && line.steps.length) traces.push(traceOf(runs[run].name, kind, line, over.value, run));
      }
    }
    const isTime = over.value === "seconds";
    const chart = byId("curves-chart");
    const linear = { title: { text: "loss" } };
    const layout = layoutOf({
      ...withLegend(chart, 400, traces.map(({ name }) => name)),
      hovermode: "closest",
      xaxis: { title: { text: isTime ? "time / s" : "step", standoff: 8 }, rangemode: "tozero" },
      yaxis: logarithmic.checked ? logAxis("loss", traces.flatMap(({ y }) => y)) : linear,
    });
    draw(chart, traces, layout, `Losses of ${chosen.length} runs over ${over.value}; the table below has them`);
    showNote(chosen.map((run) => runs[run]));
    byId("curves-table").replaceChildren(tableOfLosses(chosen.map((run) => runs[run])));
  };

  for (const control of [over, training, validation, logarithmic]) control.addEventListener("change", show);
  selection.addEventListener("selectionchange", show);
  drawInTheme(show);
}

function traceOf(name, kind, line, over, run) {
  const { color, dash } = selection.lookOf(run);
  const isValidation = kind === "validation";
  return {
    name: plain(isValidation ? `${name}, validation` : name),
    x: line[over],
    y: line.losses,
    mode: isValidation ? "lines+markers" : "lines",
    line: { color, dash, width: isValidation ? 2.5 : 1.3 },
    marker: { color, size: 7, symbol: "circle-open" },
    hovertemplate: over === "steps" ? "step %{x}: %{y:.4g}" : "%{x:.3~g} s: %{y:.4g}",
  };
}

function showNote(chosen) {
  const thinned = chosen.filter(({ curve }) => curve.steps > curve.loss.steps.length);
  const note = byId("curves-note");
  if (!chosen.length) note.textContent = "No run with a log is ticked.";
  else if (thinned.length) note.textContent = `Of more than ${thinned[0].curve.loss.steps.length} steps some are drawn, spread evenly.`;
  else note.textContent = "";
}

function tableOfLosses(chosen) {
  const known = (line) => line.losses.filter((loss) => loss !== null);
  const rows = chosen.map(({ name, curve }) => {
    const [loss, validation] = [known(curve.loss), known(curve.validation)];
    const numbers = [loss[0], loss.at(-1), Math.min(...loss), validation.at(-1)];
    const least = validation.length ? Math.min(...validation) : null;
    return [name, written(curve.steps), ...[...numbers, least].map((value) => written(value))];
  });
  const columns = [["Run"], ["Steps", "number"], ["First", "number"], ["Last", "number"], ["Least", "number"],
    ["Last validation", "number"], ["Least validation", "number"]];
  return tableOf("Losses of the ticked runs", columns, rows);
}
