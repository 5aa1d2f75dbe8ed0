// <gm-live events="/api/v1/runs/ID/events" after="12" part="#live" address="/runs/ID?part=live">: takes the part of the
// page anew when something happened, at most once a second; the address of the page stays.
const PAUSE = 1000;

class Live extends HTMLElement {
  connectedCallback() {
    this.source = new EventSource(`${this.getAttribute("events")}?after=${this.getAttribute("after") ?? 0}`);
    this.source.addEventListener("end", () => { this.source.close(); this.ask(); });
    for (const kind of (this.getAttribute("kinds") ?? "").split(" ").filter(Boolean)) {
      this.source.addEventListener(kind, () => this.soon());
    }
    this.source.addEventListener("message", () => this.soon());
  }

  disconnectedCallback() {
    this.source?.close();
    clearTimeout(this.waiting);
    this.waiting = undefined;
  }

  soon() {
    this.waiting ??= setTimeout(() => { this.waiting = undefined; this.ask(); }, PAUSE);
  }

  ask() {
    const part = this.getAttribute("part");
    window.htmx?.ajax("GET", this.getAttribute("address"), { target: part, swap: "outerHTML", select: part });
  }
}

customElements.define("gm-live", Live);
