"use strict";
// Chart of values by time: drawn by the column of pixels, so that 100,000 points stay smooth.
// Drag or arrow keys move it, wheel or plus and minus zoom, a click or Enter asks for a second.
class Chart {
  constructor(canvas, onSecond) {
    this.canvas = canvas;
    this.onSecond = onSecond;
    this.lines = [];
    this.marks = [];
    this.bands = [];
    this.label = "";
    this.from = null;
    this.to = null;
    this.isFollowing = true;
    this.cursor = null;
    this.isWaiting = false;
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.timeAt(event.offsetX)); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { this.grip = { x: event.offsetX, from: this.from, to: this.to, moved: false }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }
  // lines: [{name, points: [[ts, value or null]], style}], the first one gives the span.
  show(label, lines, marks = [], bands = []) {
    this.label = label; this.lines = lines; this.marks = marks; this.bands = bands;
    const points = lines[0].points;
    if (points.length > 1) {
      const begin = points[0][0], end = points[points.length - 1][0];
      if (this.from === null) { this.from = begin; this.to = end; }
      else if (this.isFollowing) { const wide = this.to - this.from; this.isWhole ? this.from = begin : this.from = end - wide; this.to = end; }
      this.isWhole = this.from <= begin;
    }
    this.redraw();
  }
  reset() { this.from = null; this.isFollowing = true; this.cursor = null; }
  get whole() { const points = this.lines.length ? this.lines[0].points : []; return points.length > 1 ? [points[0][0], points[points.length - 1][0]] : null; }
  timeAt(x) { return this.from + (x - Chart.EDGE) / Math.max(1, this.canvas.clientWidth - 2 * Chart.EDGE) * (this.to - this.from); }
  span(from, to) {
    const whole = this.whole;
    if (!whole) return;
    const wide = Math.max(2000, Math.min(to - from, whole[1] - whole[0]));
    this.from = Math.max(whole[0], Math.min(from, whole[1] - wide));
    this.to = this.from + wide;
    this.isFollowing = this.to >= whole[1];
    this.isWhole = this.from <= whole[0];
    this.redraw();
  }
  zoom(factor, about) { this.span(about - (about - this.from) * factor, about + (this.to - about) * factor); }
  drag(event) {
    if (!this.grip) return;
    const moved = event.offsetX - this.grip.x;
    if (Math.abs(moved) > 4) this.grip.moved = true;
    if (!this.grip.moved) return;
    const by = moved / Math.max(1, this.canvas.clientWidth) * (this.grip.to - this.grip.from);
    this.span(this.grip.from - by, this.grip.to - by);
  }
  release(event) {
    if (this.grip && !this.grip.moved && this.whole) { this.cursor = this.timeAt(event.offsetX); this.redraw(); this.ask(); }
    this.grip = null;
  }
  ask() { if (this.onSecond && this.cursor !== null) this.onSecond(Math.round(this.cursor)); }
  key(event) {
    if (!this.whole) return;
    const wide = this.to - this.from;
    if (this.cursor === null) this.cursor = this.to;
    const step = event.shiftKey ? 1000 : Math.max(1000, wide / 50);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.cursor = Math.max(this.whole[0], Math.min(this.whole[1], this.cursor + (event.key === "ArrowLeft" ? -step : step)));
      if (this.cursor < this.from) this.span(this.cursor, this.cursor + wide);
      else if (this.cursor > this.to) this.span(this.cursor - wide, this.cursor);
      this.redraw();
    } else if (event.key === "+" || event.key === "=") this.zoom(0.8, this.cursor);
    else if (event.key === "-") this.zoom(1.25, this.cursor);
    else if (event.key === "Enter") this.ask();
    else return;
    event.preventDefault();
  }
  redraw() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => { this.isWaiting = false; this.draw(); });
  }
  draw() {
    const canvas = this.canvas, scale = devicePixelRatio || 1, wide = canvas.clientWidth, high = canvas.clientHeight;
    if (!wide || !high) return;
    if (canvas.width !== Math.round(wide * scale) || canvas.height !== Math.round(high * scale)) { canvas.width = Math.round(wide * scale); canvas.height = Math.round(high * scale); }
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas), colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = colour("dim");
    if (!this.whole) { pen.fillText("too few prices yet", Chart.EDGE, high / 2); return; }
    const room = wide - 2 * Chart.EDGE, span = this.to - this.from || 1, x = (ts) => Chart.EDGE + (ts - this.from) / span * room;
    const drawn = this.lines.map((line) => ({ style: line.style, columns: Chart.columns(line.points, this.from, this.to, room) }));
    let low = Infinity, top = -Infinity;
    for (const line of drawn) for (const run of line.columns) for (const each of run) { low = Math.min(low, each[1]); top = Math.max(top, each[2]); }
    for (const mark of this.marks) {
      if (mark.price === undefined || mark.ts < this.from || mark.ts > this.to) continue;
      low = Math.min(low, Number(mark.price)); top = Math.max(top, Number(mark.price));
    }
    if (!(low <= top)) { low = 0; top = 1; }
    const y = (value) => high - Chart.EDGE - (value - low) / (top - low || 1) * (high - 2 * Chart.EDGE);
    pen.fillStyle = colour("line");
    for (const band of this.bands) { const left = Math.max(Chart.EDGE, x(band.from_ts)), right = Math.min(wide - Chart.EDGE, x(band.ts)); if (right >= left) pen.fillRect(left, Chart.EDGE, Math.max(2, right - left), high - 2 * Chart.EDGE); }
    for (const line of drawn) {
      pen.strokeStyle = colour(line.style);
      pen.lineWidth = 1.5;
      pen.beginPath();
      for (const run of line.columns) run.forEach(([at, least, most, last], n) => {
        const px = Chart.EDGE + at;
        if (n) pen.lineTo(px, y(least)); else pen.moveTo(px, y(least));
        pen.lineTo(px, y(most));
        pen.lineTo(px, y(last));
      });
      pen.stroke();
    }
    for (const mark of this.marks) {
      if (mark.ts < this.from || mark.ts > this.to) continue;
      const at = x(mark.ts), height = mark.price === undefined ? (mark.isLow ? high - 8 : 26) : y(Number(mark.price));
      pen.fillStyle = colour(mark.style);
      pen.beginPath();
      if (mark.price === undefined) { pen.moveTo(at - 4, height); pen.lineTo(at + 4, height); pen.lineTo(at, height + (mark.isLow ? -7 : 7)); pen.closePath(); }
      else pen.arc(at, height, 5, 0, 7);
      pen.fill();
    }
    if (this.cursor !== null && this.cursor >= this.from && this.cursor <= this.to) { pen.fillStyle = colour("accent"); pen.fillRect(x(this.cursor), 0, 1, high); }
    pen.fillStyle = colour("dim");
    const text = (value) => value.toLocaleString("en", { maximumSignificantDigits: 8 });
    pen.fillText(`${this.label}  ${text(top)}`, Chart.EDGE, 14);
    pen.fillText(`${text(low)}  from ${Chart.clock(this.from)} to ${Chart.clock(this.to)} UTC`, Chart.EDGE, high - 6);
  }
  static clock(ms) { return new Date(ms).toISOString().slice(11, 19); }
  // Lowest, highest and last value of each column between two times; a null begins a new run.
  static columns(points, from, to, room) {
    const runs = [], span = to - from || 1;
    let run = [], kept = null;
    for (let n = Math.max(0, Chart.firstBehind(points, from) - 1); n < points.length; n++) {
      const [ts, value] = points[n];
      if (ts > to) break;
      if (value === null) { if (run.length) runs.push(run); run = []; kept = null; continue; }
      const at = Math.max(0, Math.round((ts - from) / span * room));
      if (kept && kept[0] === at) { if (value < kept[1]) kept[1] = value; if (value > kept[2]) kept[2] = value; kept[3] = value; }
      else run.push(kept = [at, value, value, value]);
    }
    if (run.length) runs.push(run);
    return runs;
  }
  static firstBehind(points, ts) {
    let low = 0, high = points.length;
    while (low < high) { const middle = (low + high) >> 1; if (points[middle][0] <= ts) low = middle + 1; else high = middle; }
    return low;
  }
}
Chart.EDGE = 24;
