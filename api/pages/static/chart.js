// <gm-chart data-option="JSON">: draws what the server decided to draw.
// The table behind it is folded once there is a chart; without scripts it stays open and the chart is not shown.
import * as echarts from "./vendor/echarts.esm.min.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Colours of the page in place of names such as "$bad". */
function coloured(value) {
  if (typeof value === "string") return value.startsWith("$") ? colour(value.slice(1)) : value;
  if (Array.isArray(value)) return value.map(coloured);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coloured(one)]));
  }
  return value;
}

/** What all charts have: colours, letters, and figures that are text (never markup) when pointed at. */
function themed(option) {
  const axis = {
    axisLine: { lineStyle: { color: colour("line") } }, axisLabel: { color: colour("quiet") },
    splitLine: { lineStyle: { color: colour("line"), opacity: 0.6 } }, nameTextStyle: { color: colour("quiet") },
  };
  const axes = (given) => (given ? [given].flat().map((one) => ({ ...axis, ...one, axisLabel: { ...axis.axisLabel, ...one.axisLabel } })) : undefined);
  const whole = coloured(option);
  return {
    backgroundColor: "transparent", textStyle: { color: colour("ink"), fontFamily: "system-ui, sans-serif" },
    color: ["accent", "busy", "good", "wait", "bad", "quiet"].map(colour), animation: false,
    grid: { left: 8, right: 16, top: 36, bottom: 8, containLabel: true },
    ...whole,
    ...(whole.legend ? { legend: { textStyle: { color: colour("ink") }, type: "scroll", top: 4, ...whole.legend } } : {}),
    ...(whole.xAxis ? { xAxis: axes(whole.xAxis) } : {}), ...(whole.yAxis ? { yAxis: axes(whole.yAxis) } : {}),
    tooltip: {
      ...whole.tooltip, renderMode: "richText", confine: true, backgroundColor: colour("raised"), borderColor: colour("line"),
      textStyle: { color: colour("ink") },
    },
  };
}

const opened = new Set();

export class Chart extends HTMLElement {
  connectedCallback() {
    this.option ??= JSON.parse(this.dataset.option);
    this.classList.add("drawn");
    this.chart = echarts.init(this, null, { renderer: "canvas" });
    this.draw();
    this.resize = new ResizeObserver(() => this.chart.resize());
    this.resize.observe(this);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.draw);
    this.fold(this.closest("figure")?.querySelector("details"), this.getAttribute("aria-label"));
    this.chart.on("click", ({ data }) => { if (data?.address?.startsWith?.("/")) location.assign(data.address); });
  }

  disconnectedCallback() {
    this.resize?.disconnect();
    this.dark?.removeEventListener("change", this.draw);
    this.chart?.dispose();
  }

  /** The table is folded, unless a reader has opened it, also where a live part took the place of the one before. */
  fold(table, name) {
    if (!table) return;
    table.open = opened.has(name);
    table.addEventListener("toggle", () => (table.open ? opened.add(name) : opened.delete(name)));
  }

  draw = () => this.chart.setOption(themed(this.option), true);

  /** Other things to draw. */
  show(option) {
    this.option = option;
    this.draw();
  }
}

customElements.define("gm-chart", Chart);
