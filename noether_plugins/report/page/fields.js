// Fields of held-out samples, true, predicted and their difference: in colours at their points.

const PANELS = ["true", "predicted", "difference"];

function startFields(runs, arrayAt) {
  const [run, field, part, sample] = ["run", "field", "part", "sample"].map((name) => byId(`fields-${name}`));
  const withFields = runs.flatMap(({ name, fields }, place) => (fields.samples ? [[place, name]] : []));
  const all = runs.map(({ name, fields }, place) => [place, fields.samples ? name : `${name} (none)`]);
  offer(run, all);
  if (withFields.length) run.value = String(withFields[0][0]);

  const space = spaceOf(PANELS.map((name) => byId(`fields-${name}`)));

  const show = () => {
    const { fields } = runs[run.value];
    const hasFields = Boolean(fields.samples?.length);
    byId("fields-drawn").hidden = !hasFields;
    byId("fields-reason").hidden = hasFields;
    for (const name of ["field-label", "part-label", "samples"]) byId(`fields-${name}`).hidden = !hasFields;
    if (!hasFields) {
      byId("fields-reason").textContent = `No fields are shown of this run: ${fields.reason || "it has no held-out samples"}`;
      return;
    }
    offerFields(fields);
    sample.max = String(fields.samples.length);
    showSample(fields);
  };

  const offerFields = ({ groups }) => {
    const options = Object.entries(groups).flatMap(([group, own]) =>
      Object.entries(own).map(([name, { label, unit }]) => {
        const title = `${group}.${name}`;
        return [JSON.stringify([group, name]), `${title}${label ? ` (${label})` : ""}${unit ? ` / ${unit}` : ""}`];
      }));
    offer(field, options);
    offerParts(groups);
  };

  const offerParts = (groups) => {
    const [group, name] = JSON.parse(field.value);
    const { width } = groups[group][name];
    const axes = width <= 3 ? ["x", "y", "z"] : [];
    const parts = Array.from({ length: width }, (_, place) => [place, axes[place] || `component ${place + 1}`]);
    offer(part, width > 1 ? [["magnitude", "magnitude"], ...parts] : [["only", "value"]]);
    byId("fields-part-label").hidden = width === 1;
  };

  const showSample = (fields) => {
    const shown = fields.samples[sample.value - 1];
    const [group, name] = JSON.parse(field.value);
    const quantity = fields.groups[group][name];
    const points = shown.groups[group];
    const found = points?.fields[name];
    const title = titleOf(shown, `${sample.value} of ${fields.samples.length}`, found?.error);
    byId("fields-sample-name").textContent = title;
    sample.setAttribute("aria-valuetext", title);

    if (!found) {
      byId("fields-note").textContent = "This sample has no such points.";
      byId("fields-numbers").replaceChildren();
      for (const panel of PANELS) Plotly.purge(byId(`fields-${panel}`));
      return;
    }
    const positions = points.positions.map(arrayAt);
    const values = valuesOf(found, part.value, arrayAt);
    drawPanels(positions, values, `${group}.${name}`, quantity, space);
    byId("fields-turns").hidden = positions.length !== 3;
    byId("fields-note").textContent = noteOf(fields, points, positions[0].length);
    byId("fields-numbers").replaceChildren(tableOfField(`${group}.${name}`, quantity, values, found.error));
  };

  for (const control of [run, field]) control.addEventListener("change", show);
  for (const [control, event] of [[part, "change"], [sample, "input"]]) {
    control.addEventListener(event, () => showSample(runs[run.value].fields));
  }
  drawInTheme(show);
}

/** Return true values, predicted ones and the difference: of a component, or of the vectors' lengths. */
function valuesOf(found, part, arrayAt) {
  const truths = found.true.map(arrayAt);
  const differences = found.difference.map(arrayAt);
  const guesses = truths.map((column, place) => column.map((value, row) => value + differences[place][row]));
  if (part !== "magnitude") {
    const place = part === "only" ? 0 : Number(part);
    return { true: truths[place], predicted: guesses[place], difference: differences[place], isSigned: true };
  }
  const lengths = (columns) => columns[0].map((_, row) => Math.hypot(...columns.map((column) => column[row])));
  return { true: lengths(truths), predicted: lengths(guesses), difference: lengths(differences), isSigned: false };
}

/** Return the least and the greatest of almost all values: a few at a corner must not take all colours. */
function rangeOf(values) {
  const known = values.filter((value) => !Number.isNaN(value)).sort();
  if (!known.length) return [0, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  return [at(0.005), at(0.995)];
}

function rangesOf(values) {
  let shown = rangeOf(values.true);
  if (shown[0] === shown[1]) shown = rangeOf(Float64Array.from([...values.true, ...values.predicted]));
  const largest = Math.max(...rangeOf(values.difference).map(Math.abs)) || Number.MIN_VALUE;
  return { true: shown, predicted: shown, difference: values.isSigned ? [-largest, largest] : [0, largest] };
}

const DIVERGING = {
  light: [[0, "#2166ac"], [0.25, "#67a9cf"], [0.5, "#e4e4e0"], [0.75, "#ef8a62"], [1, "#b2182b"]],
  dark: [[0, "#6db3f2"], [0.25, "#3f6f9c"], [0.5, "#3a3d42"], [0.75, "#a8543c"], [1, "#ff8a6b"]],
};

/** Return the colours of a panel; the length of a difference has the upper half of its colours. */
function coloursOf(panel, isSigned, theme) {
  if (panel !== "difference") return "Viridis";
  if (isSigned) return DIVERGING[theme];
  return DIVERGING[theme].slice(2).map(([place, colour]) => [2 * place - 1, colour]);
}

function drawPanels(positions, values, title, quantity, space) {
  const ranges = rangesOf(values);
  const theme = document.documentElement.dataset.theme;
  for (const panel of PANELS) {
    const colours = {
      color: values[panel],
      cmin: ranges[panel][0],
      cmax: ranges[panel][1],
      colorscale: coloursOf(panel, values.isSigned, theme),
      colorbar: { orientation: "h", thickness: 9, len: 0.9, y: -0.02, yanchor: "top", outlinewidth: 0, nticks: 5, title: { text: plain(quantity.unit || ""), side: "top" } },
      showscale: true,
    };
    const target = byId(`fields-${panel}`);
    const label = `${title}, ${panel}, in colours at ${positions[0].length} points; the table below has its range`;
    const draws = positions.length === 3 ? drawInSpace : positions.length === 2 ? drawInPlane : drawOnLine;
    draws({ target, positions, values, panel, colours, label, quantity, space });
  }
}

/** Return the diameter of points such that they cover about half of a panel. */
const sizeOf = (count, most) => Math.max(2.5, Math.min(most, 260 / Math.sqrt(count)));

/** Return how high a panel is that points fill as they lie, its colours below them. */
function heightOf(width, x, y) {
  const extent = (numbers) => Math.max(...numbers) - Math.min(...numbers);
  const ratio = extent(y) / (extent(x) || 1);
  return 90 + Math.max(90, Math.min(420, 0.9 * width * ratio));
}

function drawInPlane({ target, positions: [x, y], values, panel, colours, label }) {
  const trace = {
    x, y,
    mode: "markers",
    marker: { ...colours, size: sizeOf(x.length, 14) },
    hovertemplate: "(%{x:.3~g}, %{y:.3~g}): %{marker.color:.4~g}<extra></extra>",
  };
  const hidden = { visible: false, showgrid: false };
  const layout = layoutOf({
    height: heightOf(target.clientWidth, x, y),
    hovermode: "closest",
    xaxis: { ...hidden, constrain: "domain" },
    yaxis: { ...hidden, scaleanchor: "x", constrain: "domain" },
    margin: { l: 4, r: 4, t: 4, b: 52 },
  });
  draw(target, [trace], layout, label);
}

function drawInSpace({ target, positions: [x, y, z], values, panel, colours, label, space }) {
  const trace = {
    type: "scatter3d",
    x, y, z,
    mode: "markers",
    marker: { ...colours, size: sizeOf(x.length, 9) / 2.5, line: { width: 0 } },
    hovertemplate: "(%{x:.3~g}, %{y:.3~g}, %{z:.3~g}): %{marker.color:.4~g}<extra></extra>",
  };
  const axis = { gridcolor: style("--line"), color: style("--soft"), showspikes: false, showbackground: false, title: { text: "" }, nticks: 4, tickfont: { size: 10 } };
  const layout = layoutOf({
    height: 380,
    margin: { l: 0, r: 0, t: 0, b: 52 },
    scene: { aspectmode: "data", xaxis: axis, yaxis: axis, zaxis: axis, camera: space.camera(), dragmode: "turntable" },
  });
  draw(target, [trace], layout, label);
  space.follow(target);
}

function drawOnLine({ target, positions: [x], values, panel, label, quantity }) {
  const order = [...x.keys()].sort((a, b) => x[a] - x[b]);
  const along = (numbers) => order.map((row) => numbers[row]);
  const trace = {
    x: along(x),
    y: along(values[panel]),
    mode: "lines+markers",
    line: { color: lookOf(0).color, width: 1.2 },
    marker: { size: 3 },
    hovertemplate: "%{x:.3~g}: %{y:.4~g}<extra></extra>",
  };
  const traces = [trace];
  if (panel === "predicted") {
    traces.unshift({ ...trace, y: along(values.true), mode: "lines", line: { color: style("--soft"), width: 3 } });
  }
  const layout = layoutOf({ height: 320, showlegend: false, yaxis: { title: { text: plain(quantity.unit || "") } } });
  draw(target, traces, layout, label);
}

/** From where points in space are looked at: the same in all panels, by mouse and by two sliders. */
function spaceOf(panels) {
  const [turn, tilt] = [byId("fields-turn"), byId("fields-tilt")];
  let [angle, height, distance] = [-55, 20, 2.2];

  const camera = () => {
    const [a, h] = [angle, height].map((degrees) => (degrees * Math.PI) / 180);
    const eye = { x: distance * Math.cos(h) * Math.cos(a), y: distance * Math.cos(h) * Math.sin(a), z: distance * Math.sin(h) };
    return { eye, center: { x: 0, y: 0, z: 0 }, up: { x: 0, y: 0, z: 1 } };
  };

  const showSliders = () => {
    turn.value = String(Math.round(angle));
    tilt.value = String(Math.round(height));
    turn.setAttribute("aria-valuetext", `${turn.value} degrees`);
    tilt.setAttribute("aria-valuetext", `${tilt.value} degrees`);
  };

  const look = (but = null) => {
    for (const panel of panels) {
      if (panel !== but && panel.layout?.scene) Plotly.relayout(panel, { "scene.camera": camera() });
    }
  };

  const follow = (panel) => {
    if (panel.dataset.followed) return;
    panel.dataset.followed = "true";
    const turned = (change) => {
      const { eye } = change["scene.camera"] || {};
      const own = camera().eye;
      if (!eye || Math.hypot(eye.x - own.x, eye.y - own.y, eye.z - own.z) < 1e-6) return; // one that follows
      distance = Math.hypot(eye.x, eye.y, eye.z);
      angle = (Math.atan2(eye.y, eye.x) * 180) / Math.PI;
      height = (Math.asin(eye.z / distance) * 180) / Math.PI;
      showSliders();
      look(panel);
    };
    panel.on("plotly_relayouting", turned);
    panel.on("plotly_relayout", turned);
  };

  for (const slider of [turn, tilt]) {
    slider.addEventListener("input", () => {
      [angle, height] = [Number(turn.value), Number(tilt.value)];
      showSliders();
      look();
    });
  }
  showSliders();
  return { camera, follow };
}

/** Return what there is to say of a sample in a line, which is read aloud when it changes. */
function titleOf({ name, inputs }, place, error) {
  const known = Object.entries(inputs).map(([input, value]) => `${input} ${value}`);
  const errors = error === undefined || error === null ? [] : [`relative error ${written(error)}`];
  return [`${place}: ${name}`, ...known, ...errors].join(", ");
}

function noteOf({ samples, samples_in_all }, { points_in_all }, shown) {
  const ofPoints = shown < points_in_all ? `${written(shown)} of ${points_in_all.toLocaleString("en")} points, drawn at random` : `All ${shown.toLocaleString("en")} points`;
  return `${ofPoints}; ${samples.length} of ${samples_in_all} held-out samples. True and predicted values have one colour scale.`;
}

/** Return what the pictures show as numbers, for whoever does not see them. */
function tableOfField(title, { unit }, values, error) {
  const row = (name, numbers) => {
    const known = numbers.filter((value) => !Number.isNaN(value));
    const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
    const [least, most] = known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    return [name, ...[least, mean, most].map((value) => written(value))];
  };
  const rows = [row("True", values.true), row("Predicted", values.predicted), row("Difference", values.difference)];
  const caption = `${title}${unit ? ` in ${unit}` : ""}: relative L2 error ${written(error)} in this sample`;
  return tableOf(caption, [["Values"], ["Least", "number"], ["Mean", "number"], ["Greatest", "number"]], rows);
}
