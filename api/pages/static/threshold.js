// <gm-threshold>: a chart with a line for each threshold, and the fields of these.  A line is dragged on the chart; a
// slider does the same from the keyboard.  At once it is said how many documents fail by the bars that are drawn; a moment
// later the service says how many are kept then, and its part of the page takes the place of the one before.
const PAUSE = 350;
const STEPS = 1000;
const NEAR = 14;
const FAILS = { ">=": (v, t) => v < t, ">": (v, t) => v <= t, "<=": (v, t) => v > t, "<": (v, t) => v >= t };

class Threshold extends HTMLElement {
  connectedCallback() {
    if (this.fields) return;
    this.fields = [...this.querySelectorAll("input[data-now]")];
    this.form = this.closest("form");
    prepare(this.form);
    const figure = this.querySelector("gm-chart");
    if (!figure || !this.fields.length) return;
    customElements.whenDefined("gm-chart").then(() => { this.figure = figure; this.begin(); });
  }

  begin() {
    const option = this.figure.option;
    this.axis = { low: option.xAxis.min, high: option.xAxis.max, log: option.xAxis.type === "log" };
    this.bars = option.series[0].data;
    for (const field of this.fields) {
      const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: STEPS });
      slider.setAttribute("aria-label", `${field.dataset.label}: slider`);
      slider.addEventListener("input", () => this.set(field, this.rounded(this.at(slider.value / STEPS))));
      field.closest("label").after(slider);
      field.slider = slider;
      field.addEventListener("input", () => this.moved(field));
      const said = field.closest(".rule").querySelector("output") ?? document.createElement("output");
      field.closest(".limits").after(said);
      field.said = said;
    }
    this.draw();
    for (const field of this.fields) this.place(field);
    this.figure.addEventListener("pointerdown", (event) => this.grab(event));
    this.figure.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"]) this.figure.addEventListener(kind, () => { this.held = undefined; });
  }

  /** A value from 0 to 1 along the axis, and back. */
  at(share) {
    const { low, high, log } = this.axis;
    return log ? low * (high / low) ** share : low + (high - low) * share;
  }

  where(value) {
    const { low, high, log } = this.axis;
    const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    return Math.min(1, Math.max(0, share));
  }

  rounded(value) {
    return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  }

  set(field, value) {
    field.value = String(value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  moved(field) {
    this.place(field);
    this.draw();
    ask(this.form);
  }

  place(field) {
    const value = Number(field.value);
    if (field.value.trim() === "" || !Number.isFinite(value)) { field.said.textContent = "off"; return; }
    field.slider.value = Math.round(this.where(value) * STEPS);
    field.slider.setAttribute("aria-valuetext", field.value);
    if (field.dataset.label.endsWith(")")) return;
    const fails = FAILS[field.closest(".rule").dataset.comparison];
    const all = this.bars.reduce((sum, [, count]) => sum + count, 0);
    const failing = this.bars.reduce((sum, [at, count]) => sum + (fails(at, value) ? count : 0), 0);
    field.said.textContent = `about ${failing.toLocaleString("en")} of the ${all.toLocaleString("en")} that are drawn fail`;
  }

  draw() {
    const { low, high } = this.axis;
    const lines = this.fields.filter((field) => {
      const value = Number(field.value);
      const drawn = (value >= low && value <= high) || field.value.trim() !== field.dataset.now;
      return field.value.trim() !== "" && Number.isFinite(value) && drawn; // what lies beyond stands at the margin once it is moved
    });
    const shown = lines.map((field, place) => ({ name: field.dataset.label, xAxis: this.at(this.where(Number(field.value))),
      lineStyle: { color: "$bad", width: 3 }, label: { formatter: field.dataset.label, color: "$bad", distance: 9 + 13 * (place % 2) } }));
    const [first, ...others] = this.figure.option.series;
    const markLine = { symbol: ["none", "circle"], symbolSize: 11, animation: false, data: shown };
    this.figure.show({ ...this.figure.option, series: [{ ...first, markLine }, ...others] });
  }

  pixel(field) {
    return this.figure.chart.convertToPixel({ xAxisIndex: 0 }, this.at(this.where(Number(field.value))));
  }

  grab(event) {
    const x = event.offsetX;
    const far = (field) => Math.abs(this.pixel(field) - x);
    const [nearest] = this.fields.filter((field) => field.value.trim() !== "").sort((a, b) => far(a) - far(b));
    if (!nearest || far(nearest) > NEAR) return;
    this.held = nearest;
    this.figure.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  drag(event) {
    if (!this.held) {
      const near = this.fields.some((field) => field.value.trim() !== "" && Math.abs(this.pixel(field) - event.offsetX) <= NEAR);
      this.figure.classList.toggle("movable", near);
      return;
    }
    const box = this.figure.getBoundingClientRect();
    const value = this.figure.chart.convertFromPixel({ xAxisIndex: 0 }, event.clientX - box.left);
    const bounded = Math.min(this.axis.high, Math.max(this.axis.low, value));
    this.set(this.held, this.rounded(bounded));
  }
}

/** Only what was changed stands in the address. */
function changed(form) {
  const given = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const field = form.elements.namedItem(name);
    if (field?.dataset?.now === undefined || field.value.trim() !== field.dataset.now) given.set(name, value);
  }
  return given;
}

function prepare(form) {
  if (form.prepared) return;
  form.prepared = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(`${form.dataset.part}?${changed(form)}`);
  });
}

function ask(form) {
  document.querySelector("#answer")?.classList.add("asked-again");
  clearTimeout(form.waiting);
  form.waiting = setTimeout(() => {
    const given = changed(form);
    history.replaceState(null, "", `${form.dataset.part}?${given}`);
    given.set("part", "answer");
    const way = `${form.dataset.part}?${given}`;
    window.htmx?.ajax("GET", way, { source: "#asking", target: "#answer", swap: "outerHTML", select: "#answer" });
  }, PAUSE);
}

customElements.define("gm-threshold", Threshold);
