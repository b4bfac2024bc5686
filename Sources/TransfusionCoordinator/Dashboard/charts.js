"use strict";
// Line charts as SVG. All charts of a page show the values of the same step when one of them is touched.

const SVG = "http://www.w3.org/2000/svg";

class LineChart {
  // options: title, series: [{name, colour, format}], logarithmic: use such an axis where values span much
  constructor(parent, options) {
    this.options = options;
    this.x = [];
    this.values = options.series.map(() => []);
    this.marks = [];
    this.at = null;
    this.root = element("div", "chart");
    this.legend = element("div", "legend");
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("role", "img");
    this.root.append(this.legend, this.svg);
    parent.append(this.root);
    const move = (event) => LineChart.showAll(this.indexAt(event));
    this.svg.addEventListener("pointermove", move);
    this.svg.addEventListener("pointerdown", move);
    this.svg.addEventListener("pointerleave", () => LineChart.showAll(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
    LineChart.all.push(this);
  }

  // x: steps; values: an array for each series; marks: steps at which something happened
  update(x, values, marks) {
    this.x = x;
    this.values = values;
    this.marks = marks;
    this.draw();
  }

  static removeAll() {
    for (const chart of LineChart.all.splice(0)) chart.root.remove();
  }

  static showAll(index) {
    for (const chart of LineChart.all) {
      chart.at = index;
      chart.draw();
    }
  }

  indexAt(event) {
    if (!this.x.length || !this.scaleX) return null;
    const step = this.scaleX.invert(event.clientX - this.svg.getBoundingClientRect().left);
    let best = 0;
    for (let i = 1; i < this.x.length; i++) {
      if (Math.abs(this.x[i] - step) < Math.abs(this.x[best] - step)) best = i;
    }
    return best;
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    this.drawLegend();
    if (!width) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    const finite = this.values.flat().filter(Number.isFinite);
    if (!finite.length) {
      this.text(width / 2, height / 2, "nothing yet", "middle");
      this.scaleX = null;
      return;
    }
    let low = Math.min(...finite), high = Math.max(...finite);
    const isLogarithmic = this.options.logarithmic && low > 0 && high / low > 12;
    const f = isLogarithmic ? Math.log10 : (v) => v;
    if (this.options.fromZero) low = Math.min(0, low);
    if (high - low < 1e-12 * Math.abs(high)) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
    const ticks = isLogarithmic ? LineChart.decades(low, high) : LineChart.ticks(low, high, 4);
    if (!isLogarithmic) { low = Math.min(low, ticks[0]); high = Math.max(high, ticks[ticks.length - 1]); }
    const labels = ticks.map((t) => LineChart.label(t));
    const left = 10 + 6.4 * Math.max(...labels.map((l) => l.length)), right = 8, top = 8, bottom = 20;
    const first = this.x[0], last = this.x[this.x.length - 1], span = Math.max(1, last - first);
    const X = (s) => left + (s - first) / span * (width - left - right);
    const Y = (v) => height - bottom - (f(v) - f(low)) / (f(high) - f(low) || 1) * (height - top - bottom);
    this.scaleX = { invert: (p) => first + (p - left) / (width - left - right) * span };
    ticks.forEach((t, i) => {
      this.line(left, Y(t), width - right, Y(t), "grid");
      this.text(left - 6, Y(t) + 4, labels[i], "end");
    });
    for (const t of LineChart.ticks(first, last, width > 420 ? 6 : 4)) {
      if (t < first || t > last) continue;
      const p = X(t);
      this.text(p, height - 4, t.toLocaleString("en"), p > width - 30 ? "end" : p < left + 20 ? "start" : "middle");
    }
    for (const step of this.marks) {
      if (step >= first && step <= last) this.line(X(step), top, X(step), height - bottom, "mark");
    }
    this.values.forEach((column, index) => {
      let path = "", isOn = false;
      for (let i = 0; i < column.length; i++) {
        if (!Number.isFinite(column[i])) { isOn = false; continue; }
        path += `${isOn ? "L" : "M"}${X(this.x[i]).toFixed(1)} ${Y(column[i]).toFixed(1)}`;
        // A value between two gaps is a point.
        if (!isOn && !Number.isFinite(column[i + 1])) path += "h0.5";
        isOn = true;
      }
      this.add("path", { d: path, class: `line ${this.options.series[index].colour}` });
    });
    if (this.at !== null && this.at < this.x.length) this.line(X(this.x[this.at]), top, X(this.x[this.at]), height - bottom, "cross");
  }

  // What the chart is of, with the values of the touched step, or else of the last.
  drawLegend() {
    const at = this.at !== null && this.at < this.x.length ? this.at : this.x.length - 1;
    const title = element("b", "", this.options.title);
    const items = this.options.series.map((series, index) => {
      const item = element("span");
      const value = this.values[index][at];
      item.append(element("i", series.colour), `${series.name} ${value === undefined ? "" : series.format(value)}`);
      return item;
    });
    const step = this.at !== null && at >= 0 ? [element("span", "quiet", `step ${this.x[at].toLocaleString("en")}`)] : [];
    this.legend.replaceChildren(title, ...items, ...step);
    this.svg.setAttribute("aria-label", this.legend.textContent);
  }

  add(name, attributes) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    this.svg.append(node);
    return node;
  }

  line(x1, y1, x2, y2, kind) { this.add("line", { x1, y1, x2, y2, class: kind }); }

  text(x, y, content, anchor) { this.add("text", { x, y, "text-anchor": anchor, class: "axis" }).textContent = content; }

  // About `count` round numbers that enclose the range.
  static ticks(low, high, count) {
    const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const ticks = [];
    for (let t = Math.floor(low / step) * step; t < high + step * 0.999; t += step) ticks.push(Number(t.toPrecision(10)));
    return ticks;
  }

  // Powers of ten, with 2 and 5 between them when there are few.
  static decades(low, high) {
    const between = Math.log10(high / low) < 2.5 ? [1, 2, 5] : [1];
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
      for (const m of between) {
        const t = Number((m * 10 ** e).toPrecision(3));
        if (t >= low && t <= high) ticks.push(t);
      }
    }
    return ticks.length ? ticks : [low, high];
  }

  static label(value) {
    const size = Math.abs(value);
    if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
    if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
    if (size > 0 && size < 1e-3) return value.toExponential(size === 0 ? 0 : 1).replace(".0e", "e");
    return String(Number(value.toPrecision(3)));
  }
}
LineChart.all = [];

// An element with a class and, as text and never as markup, what it shows.
function element(name, kind = "", text = null) {
  const node = document.createElement(name);
  if (kind) node.className = kind;
  if (text !== null) node.textContent = text;
  return node;
}
