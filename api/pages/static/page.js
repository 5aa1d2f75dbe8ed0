// What every page loads: it defines the elements that are on the page, and no more.
const elements = {
  "gm-chart": "./chart.js",
  "gm-live": "./live.js",
  "gm-threshold": "./threshold.js",
};

for (const [name, module] of Object.entries(elements)) {
  if (document.querySelector(name)) import(module);
}
document.addEventListener("htmx:load", (event) => {
  for (const [name, module] of Object.entries(elements)) {
    if (event.target.querySelector?.(name)) import(module);
  }
});
document.documentElement.classList.add("scripted");
