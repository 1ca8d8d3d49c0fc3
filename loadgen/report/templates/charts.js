"use strict";
// Draws a figure in the page's colours; what both the report and the live page do.
const page = document.documentElement;

const colour = (name) => getComputedStyle(page).getPropertyValue(name).trim();
const withColours = (value) => {
  if (typeof value === "string") {
    const name = /^var\((--[a-z0-9-]+)\)$/.exec(value);
    return name ? colour(name[1]) : value;
  }
  if (Array.isArray(value)) return value.map(withColours);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withColours(inner)]));
};

const axis = (own) => ({
  gridcolor: colour("--grid"),
  zerolinecolor: colour("--grid-strong"),
  linecolor: colour("--grid-strong"),
  automargin: true,
  ...own,
  title: { ...own?.title, font: { size: 12 }, standoff: 8 },
});

const drawFigure = (plot, plain, height) => {
  const figure = withColours(plain);
  const touch = matchMedia("(pointer: coarse)").matches;
  const layout = {
    font: { family: "system-ui, sans-serif", size: 12, color: colour("--text") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 12, t: 24, b: 76 },
    legend: { orientation: "h", x: 0, y: 0, yanchor: "bottom", yref: "container" },
    hoverlabel: {
      bgcolor: colour("--card"),
      bordercolor: colour("--grid-strong"),
      font: { family: "system-ui, sans-serif", color: colour("--text") },
      namelength: -1,
    },
    showlegend: true,
    dragmode: touch ? false : "zoom", // a finger scrolls the page
    bargap: 0.3,
    ...figure.layout,
    height,
    xaxis: axis(figure.layout.xaxis),
    yaxis: axis(figure.layout.yaxis),
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset" };
  return Plotly.react(plot, figure.data, layout, config);
};
