"use strict";
// Draws every chart. Colours are CSS variables, so charts follow the reader's light or dark theme.
const ink = "var(--ink)", grid = "var(--grid)";
const config = {
  background: null,
  font: "system-ui, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: ink, titleColor: ink, gridColor: grid, domainColor: grid, tickColor: grid,
    labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelOverlap: true,
  },
  // A narrow page has little room below the marks: a title ends with them, and may begin before.
  axisX: { titleAnchor: "end", titleAlign: "right" },
  legend: {
    labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12,
    titleFontWeight: "normal", orient: "top", columns: 4, symbolLimit: 16,
  },
  text: { color: ink, fontSize: 12 },
  rule: { color: ink },
  bar: { color: "var(--golden)" },
  line: { color: "var(--golden)" },
  point: { color: "var(--golden)", filled: true },
  range: { category: ["var(--golden)", "var(--rtl)", "var(--third)", "var(--fourth)",
                      "var(--fifth)", "var(--sixth)"] },
};
const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, logLevel: 1, config,
                  tooltip: { theme: "custom" } };
const all = [...document.querySelectorAll(".chart")].map(async (place) => {
  const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
  try {
    await vegaEmbed(place, spec, options);
    place.classList.add("drawn");
  } catch (error) {
    place.textContent = "This chart could not be drawn; the table below has its numbers.";
    console.error(place.dataset.spec, error);
  }
});
Promise.all(all).then(() => document.body.classList.add("ready"));

// Paper has no buttons: print what can be opened, and close it again.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));
