// The report: inflates plotly, draws every figure, and does so again when the page's colours change.
(async () => {
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

  const draw = (chart) =>
    drawFigure(
      chart.querySelector(".plot"),
      JSON.parse(chart.querySelector("script").textContent),
      Number(chart.dataset.height),
    );
  const drawAll = () => Promise.all(charts.map(draw));

  try {
    await inflate();
    await drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    // Another width has other rows of a legend, and room for other ticks.
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      requestAnimationFrame(drawAll);
    });
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
