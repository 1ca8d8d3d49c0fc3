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

// How many lines the legend takes, as plotly sets it: in columns as wide as the longest name.
const legendRows = (figure, width) => {
  const names = figure.data.filter((trace) => trace.showlegend !== false).map((trace) => `${trace.name ?? ""}`);
  const widest = 52 + 7 * Math.max(0, ...names.map((name) => name.length));
  return Math.ceil(names.length / Math.max(1, Math.floor((width - 60) / widest)));
};

// Ticks of a logarithmic axis that are not set askew, and do not run into each other: decades go before what is between.
const thinned = (own, width) => {
  if (own?.type !== "log" || !own.ticktext || own.title?.text === "percentile") return own;
  const [low, high] = own.range;
  const inside = own.tickvals.map((value, i) => [Math.log10(value), own.ticktext[i]]).filter(([at]) => at >= low && at <= high);
  const room = (56 * (high - low)) / width;
  const whole = ([at]) => at % 1 === 0;
  const kept = [];
  for (const tick of [...inside.filter(whole), ...inside.filter((each) => !whole(each))]) {
    if (kept.every(([at]) => Math.abs(at - tick[0]) >= room)) kept.push(tick);
  }
  return { ...own, tickvals: kept.map(([at]) => 10 ** at), ticktext: kept.map(([, text]) => text), tickangle: 0 };
};

const drawFigure = (plot, plain, least) => {
  const figure = withColours(plain);
  const width = plot.clientWidth || 600;
  const height = least + 19 * Math.max(0, legendRows(figure, width) - 1);
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
    xaxis: axis(thinned(figure.layout.xaxis, width - 140)),
    yaxis: axis(figure.layout.yaxis),
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset" };
  return Plotly.react(plot, figure.data, layout, config);
};
