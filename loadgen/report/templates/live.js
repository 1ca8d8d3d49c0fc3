// The live page: asks every two seconds whether there is something new, and shows it.
(() => {
  const EVERY_MS = 2000;
  const part = (id) => document.getElementById(id);
  const figures = new Map(); // by title: what is drawn, and where
  let version = "";

  const makeFigure = (title) => {
    const figure = document.createElement("figure");
    figure.className = "card";
    figure.innerHTML = '<figcaption><h3></h3><p></p></figcaption><div class="chart"><div class="plot" role="img"></div></div>';
    figure.querySelector("h3").textContent = title;
    return figure;
  };

  const draw = ({ chart, figure }) => {
    // What somebody has zoomed into stays as it is when the figures are renewed.
    const plain = { ...chart.figure, layout: { ...chart.figure.layout, uirevision: chart.title } };
    return drawFigure(figure.querySelector(".plot"), plain, chart.height);
  };

  const drawAll = async (charts) => {
    const titles = new Set(charts.map((chart) => chart.title));
    for (const [title, { figure }] of figures) {
      if (!titles.has(title)) {
        Plotly.purge(figure.querySelector(".plot"));
        figure.remove();
        figures.delete(title);
      }
    }
    part("drawings").hidden = charts.length === 0;
    const before = part("charts").children.length;
    // All of them first: how wide one is, depends on how many there are.
    for (const [place, chart] of charts.entries()) {
      const figure = figures.get(chart.title)?.figure ?? makeFigure(chart.title);
      figures.set(chart.title, { chart, figure });
      figure.querySelector("p").textContent = chart.text;
      const plot = figure.querySelector(".plot");
      plot.setAttribute("aria-label", `${chart.title}. ${chart.text}`);
      plot.style.minHeight = `${chart.height}px`;
      const there = part("charts").children[place];
      if (there !== figure) part("charts").insertBefore(figure, there ?? null);
    }
    await Promise.all([...figures.values()].map(draw));
    if (charts.length !== before) {
      await Promise.all([...figures.values()].map(({ figure }) => Plotly.Plots.resize(figure.querySelector(".plot"))));
    }
  };

  // The server has escaped everything; the page's policy would run no script in it anyway.
  const replace = (place, html) => {
    const scrolled = [...place.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    place.innerHTML = html;
    place.querySelectorAll(".scroll").forEach((box, i) => (box.scrollLeft = scrolled[i] ?? 0));
  };

  const show = async (view) => {
    document.title = view.title;
    replace(part("above"), view.html);
    replace(part("below"), view.below);
    part("why").textContent = view.why;
    await drawAll(view.charts);
    version = view.version;
    page.dataset.charts = "drawn";
  };

  const ask = async () => {
    try {
      const answer = await fetch(`loadgen/live.json?since=${encodeURIComponent(version)}`);
      if (!answer.ok) throw new Error(`${answer.status}`);
      const view = await answer.json();
      part("silent").hidden = true;
      if (view.version !== version) await show(view);
    } catch {
      part("silent").hidden = false;
    }
    setTimeout(ask, EVERY_MS);
  };

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...figures.values()].forEach(draw));
  ask();
})();
