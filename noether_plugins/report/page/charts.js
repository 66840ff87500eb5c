// What all charts have in common: colours of the theme, fonts, labels that are plain text.

const PALETTE = {
  light: ["#1f5fa8", "#c2571a", "#23806a", "#8a4fa3", "#a8323e", "#6b6f1d", "#3a7ca5", "#7a5c3e"],
  dark: ["#7db4f0", "#f0a36b", "#6fcfb1", "#c79be0", "#f08a93", "#c9cd72", "#8fd0ea", "#d0ae8b"],
};

const DASHES = ["solid", "dash", "dot", "dashdot"];

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Return the look of the nth line or point; no two of the first thirty-two are alike. */
function lookOf(number) {
  const colours = PALETTE[document.documentElement.dataset.theme] || PALETTE.light;
  return {
    color: colours[number % colours.length],
    dash: DASHES[Math.floor(number / colours.length) % DASHES.length],
  };
}

/** Return text as plotly shows it and nothing more: it takes some tags for markup. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** Return a layout in the colours of the page. */
function layoutOf(own = {}) {
  const ink = style("--ink");
  const axis = { gridcolor: style("--line"), linecolor: style("--line"), zeroline: false, automargin: true };
  return {
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style("--font"), size: 13, color: ink },
    hoverlabel: { bgcolor: style("--raised"), bordercolor: style("--line"), font: { color: ink }, namelength: -1 },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    ...own,
    xaxis: { ...axis, ...own.xaxis },
    yaxis: { ...axis, ...own.yaxis },
  };
}

/**
 * Return a logarithmic axis whose marks are at 1, 2 and 5 times the powers of ten; where values are too
 * near each other for such marks, a linear one.
 */
function logAxis(title, values) {
  const known = values.filter((value) => value > 0);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  if (!known.length || most < 5 * least) return { title: { text: title, standoff: 8 } };
  const [low, high] = [least, most].map((value) => Math.floor(Math.log10(value)));
  const decades = Array.from({ length: high - low + 3 }, (_, place) => low - 1 + place);
  const marks = decades.length > 5 ? [1] : [1, 2, 5];
  const tickvals = decades.flatMap((decade) => marks.map((mark) => mark * 10 ** decade));
  return { title: { text: title, standoff: 8 }, type: "log", tickvals, ticktext: tickvals.map((value) => written(value, 3)) };
}

/** Return a legend below a chart, and the height that both take. */
function withLegend(target, height, names) {
  const columns = Math.max(1, Math.floor(target.clientWidth / (60 + 7 * Math.max(0, ...names.map((name) => name.length)))));
  return {
    height: height + 20 * Math.ceil(names.length / columns),
    showlegend: names.length > 0,
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
  };
}

/** Draw, or draw anew, in an element that is called *label*. */
function draw(target, traces, layout, label) {
  target.setAttribute("role", "img");
  target.setAttribute("aria-label", label);
  const settings = { responsive: true, displaylogo: false, displayModeBar: false };
  return Plotly.react(target, traces, layout, settings);
}

/** Call a function now and whenever the theme changes. */
function drawInTheme(show) {
  show();
  document.addEventListener("themechange", show);
}
