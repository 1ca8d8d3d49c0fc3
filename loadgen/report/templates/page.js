"use strict";
// Draws the charts: inflates plotly, gives every figure the page's colours, and does so again when they change.
(async () => {
  const page = document.documentElement;
  const charts = [...document.querySelectorAll(".chart")];
  if (charts.length === 0) {
    page.dataset.charts = "drawn";
    return;
  }

  const inflate = async () => {
    const text = atob(document.getElementById("library").textContent.trim());
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    document.getElementById("library").remove();
  };

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

  const draw = (chart) => {
    const figure = withColours(JSON.parse(chart.querySelector("script").textContent));
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
      height: Number(chart.dataset.height),
      xaxis: axis(figure.layout.xaxis),
      yaxis: axis(figure.layout.yaxis),
    };
    const config = { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset" };
    return Plotly.react(chart.querySelector(".plot"), figure.data, layout, config);
  };
  const drawAll = () => Promise.all(charts.map(draw));

  try {
    await inflate();
    await drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    page.dataset.charts = "drawn";
  } catch (error) {
    page.dataset.charts = "failed";
    for (const chart of charts) {
      chart.querySelector(".plot").textContent =
        "This browser cannot draw the charts (it has no DecompressionStream, or no room). The tables have all figures.";
    }
    console.error(error);
  }
})();
