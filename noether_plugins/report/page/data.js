// What Python packed: the data of the report, and the library that draws.
"use strict";

/** Return the text that an element holds compressed. */
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Make the library that draws available as the global Plotly. */
async function loadPlotly() {
  const code = new Blob([await unpacked("plotly")], { type: "text/javascript" });
  const script = document.createElement("script");
  script.src = URL.createObjectURL(code);
  const loaded = new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error("the library that draws cannot be loaded"));
  });
  document.head.append(script);
  await loaded;
  URL.revokeObjectURL(script.src);
}

/** Return the numbers of a packed array; NaN for what is none. */
function numbersOf({ low, high, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const steps = 65534;
  return Float64Array.from({ length: bytes.length / 2 }, (_, place) => {
    const code = view.getUint16(2 * place, true);
    return code > steps ? NaN : low + ((high - low) * code) / steps;
  });
}

/** Return a function that gives the arrays of a report by their numbers, each unpacked once. */
function arraysOf(packed) {
  const made = new Map();
  return (place) => {
    if (!made.has(place)) made.set(place, numbersOf(packed[place]));
    return made.get(place);
  };
}
