"use strict";
// Chart of values by time, drawn by TradingView's Lightweight Charts, with what that lacks: a cursor
// for the keyboard, bands for gaps, and the whole kept in view until the reader moves it.
// Drag or arrow keys move, wheel or plus and minus zoom, a click or Enter asks for a second.
const secondOf = (ms) => Math.floor(ms / 1000);

// Grey bands behind the lines, from second to second.
class Bands {
  constructor() { this.bands = []; this.colour = ""; }
  attached({ chart, requestUpdate }) { this.chart = chart; this.requestUpdate = requestUpdate; }
  show(bands, colour) { this.bands = bands; this.colour = colour; if (this.requestUpdate) this.requestUpdate(); }
  paneViews() { return [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => target.useBitmapCoordinateSpace((scope) => this.draw(scope)) }) }]; }
  draw(scope) {
    const scale = this.chart.timeScale(), pen = scope.context;
    const at = (second) => scale.logicalToCoordinate(scale.timeToIndex(second, true));
    pen.fillStyle = this.colour;
    for (const [from, to] of this.bands) {
      const left = at(from), right = at(to);
      if (left === null || right === null) continue;
      pen.fillRect(left * scope.horizontalPixelRatio, 0, Math.max(2, right - left) * scope.horizontalPixelRatio, scope.bitmapSize.height);
    }
  }
}

// A line that ends where it has no value, as a stop that is gone: the library joins what lies apart.
class Broken {
  constructor() { this.parts = []; this.colour = ""; }
  attached({ chart, series, requestUpdate }) { this.chart = chart; this.series = series; this.requestUpdate = requestUpdate; }
  show(points, colour) { this.parts = Broken.partsOf(points); this.colour = colour; this.requestUpdate(); }
  paneViews() { return [{ renderer: () => ({ draw: (target) => target.useBitmapCoordinateSpace((scope) => this.draw(scope)) }) }]; }
  draw(scope) {
    const scale = this.chart.timeScale(), pen = scope.context;
    pen.strokeStyle = this.colour;
    pen.lineWidth = 2 * scope.verticalPixelRatio;
    pen.beginPath();
    for (const part of this.parts) part.forEach(([second, value], n) => {
      const x = scale.logicalToCoordinate(scale.timeToIndex(second, true)), y = this.series.priceToCoordinate(value);
      if (n) pen.lineTo(x * scope.horizontalPixelRatio, y * scope.verticalPixelRatio);
      else pen.moveTo(x * scope.horizontalPixelRatio, y * scope.verticalPixelRatio);
    });
    pen.stroke();
  }
  // Corners of each part, to the second in which its value is gone: a stop seldom moves.
  static partsOf(points) {
    const parts = [];
    let part = null;
    for (const [ts, given] of points) {
      const value = given ?? (part && part[part.length - 1][1]), corner = [secondOf(ts), value], last = part ? part.length - 1 : 0;
      if (value === null) continue;
      if (part === null) parts.push(part = [corner]);
      else if (last > 0 && part[last][1] === value && part[last - 1][1] === value) part[last] = corner;
      else part.push(corner);
      if (given === null) part = null;
    }
    return parts;
  }
}

class Chart {
  constructor(box, onSecond) {
    this.box = box;
    this.onSecond = onSecond;
    this.lines = [];
    this.marks = [];
    this.bands = [];
    this.series = [];
    this.cursor = null;
    this.isWhole = true;
    this.chart = LightweightCharts.createChart(box, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif" },
      // Points that share a pixel are drawn as one, so that 100,000 stay smooth.
      timeScale: { timeVisible: true, secondsVisible: true, minBarSpacing: 0.001, rightOffset: 0, enableConflation: true, precomputeConflationOnInit: true },
      // A finger that moves up or down scrolls the page.
      handleScroll: { vertTouchDrag: false },
      localization: { timeFormatter: (second) => `${Chart.clock(second * 1000)} UTC` },
    });
    this.chart.subscribeClick((event) => { if (event.time !== undefined) { this.point(event.time); this.ask(); } });
    box.addEventListener("keydown", (event) => this.key(event));
    for (const moved of ["wheel", "pointerdown"]) box.addEventListener(moved, () => { this.isWhole = false; }, { passive: true });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }
  // lines: [{points: [[ts, value or null]], style}]; the first one has the marks and the cursor, the others may have gaps.
  show(label, lines, marks = [], bands = []) {
    this.lines = lines; this.marks = marks; this.bands = bands;
    const colour = this.colours();
    while (this.series.length < lines.length) this.series.push(this.added(this.series.length > 0));
    lines.forEach((line, n) => this.fill(this.series[n], line.points));
    this.series[0].line.applyOptions({ title: label });
    const drawn = marks.map((mark) => Chart.marker(mark, colour(mark.style))).sort((a, b) => a.time - b.time);
    this.markers.setMarkers(this.series[0].points ? drawn : []);
    this.shades.show(bands.map((band) => [secondOf(band.from_ts), secondOf(band.ts)]), colour("line"));
    this.paint();
    if (this.isWhole) this.chart.timeScale().fitContent();
  }
  reset() { this.isWhole = true; this.cursor = null; for (const each of this.series) { each.line.setData([]); each.points = 0; each.last = null; } }
  added(mayBreak) {
    const line = this.chart.addSeries(LightweightCharts.LineSeries, {
      lineWidth: 2, lineVisible: !mayBreak, priceLineVisible: false, pointMarkersVisible: false, crosshairMarkerVisible: false,
      priceFormat: { type: "custom", formatter: (value) => value.toLocaleString("en", { maximumSignificantDigits: 8 }), minMove: 1e-8 },
    });
    if (!this.markers) {
      this.markers = LightweightCharts.createSeriesMarkers(line, []);
      line.attachPrimitive(this.shades = new Bands());
    }
    const broken = mayBreak ? new Broken() : null;
    if (broken) line.attachPrimitive(broken);
    return { line, broken, points: 0, last: null };
  }
  // Points only grow: new ones are added, unless another symbol is shown. Of a second the last holds.
  fill(series, points) {
    if (series.points === points.length) return;
    if (series.points === 0 || points.length < series.points) series.line.setData(Chart.bySecond(points));
    else for (const each of Chart.bySecond(points.slice(series.points - 1))) series.line.update(each);
    series.points = points.length;
  }
  colours() {
    const style = getComputedStyle(this.box);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  }
  paint() {
    const colour = this.colours(), line = colour("line");
    this.chart.applyOptions({
      layout: { background: { type: "solid", color: colour("soft") }, textColor: colour("dim") },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    });
    this.lines.forEach(({ points, style }, n) => {
      const { line: drawn, broken } = this.series[n], holds = points.length > 0 && points[points.length - 1][1] !== null;
      drawn.applyOptions({ color: colour(style), lastValueVisible: holds });
      if (broken) broken.show(points, colour(style));
    });
  }
  get seconds() { const points = this.lines.length ? this.lines[0].points : []; return points.length ? [secondOf(points[0][0]), secondOf(points[points.length - 1][0])] : null; }
  point(second) {
    this.cursor = second;
    const value = this.valueAt(second);
    if (value !== null) this.chart.setCrosshairPosition(value, second, this.series[0].line);
  }
  // The value of the last point up to the end of a second; null where a gap is.
  valueAt(second) {
    const points = this.lines[0].points, n = Chart.firstBehind(points, second * 1000 + 999) - 1;
    return n < 0 ? null : points[n][1] === null ? null : Number(points[n][1]);
  }
  ask() { if (this.onSecond && this.cursor !== null) this.onSecond(this.cursor * 1000); }
  key(event) {
    const whole = this.seconds, scale = this.chart.timeScale(), range = scale.getVisibleLogicalRange();
    if (!whole || !range) return;
    const wide = range.to - range.from, side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (side) {
      // By points, as the scale has a place for each; with Shift to the next one.
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(wide / 50));
      const points = this.lines[0].points, now = this.cursor === null ? points.length : Chart.firstBehind(points, this.cursor * 1000 + 999) - 1;
      this.point(secondOf(points[Math.max(0, Math.min(points.length - 1, now + side * step))][0]));
      const index = scale.timeToIndex(this.cursor, true);
      if (index < range.from) scale.setVisibleLogicalRange({ from: index, to: index + wide });
      else if (index > range.to) scale.setVisibleLogicalRange({ from: index - wide, to: index });
    } else if ("+=-".includes(event.key)) {
      const factor = event.key === "-" ? 1.25 : 0.8, middle = this.cursor === null ? range.to : scale.timeToIndex(this.cursor, true);
      scale.setVisibleLogicalRange({ from: middle - (middle - range.from) * factor, to: middle + (range.to - middle) * factor });
    } else if (event.key === "Enter") { this.ask(); event.preventDefault(); return; }
    else return;
    this.isWhole = false;
    event.preventDefault();
  }
  static marker(mark, color) {
    const time = secondOf(mark.ts);
    if (mark.price !== undefined) return { time, color, shape: "circle", position: "atPriceMiddle", price: Number(mark.price) };
    return mark.isLow ? { time, color, shape: "arrowUp", position: "belowBar" } : { time, color, shape: "arrowDown", position: "aboveBar" };
  }
  static clock(ms) { return new Date(ms).toISOString().slice(11, 19); }
  static bySecond(points) {
    const found = [];
    for (const [ts, value] of points) {
      const time = secondOf(ts), made = value === null ? { time } : { time, value: Number(value) };
      if (found.length && found[found.length - 1].time === time) found[found.length - 1] = made;
      else found.push(made);
    }
    return found;
  }
  static firstBehind(points, ts) {
    let low = 0, high = points.length;
    while (low < high) { const middle = (low + high) >> 1; if (points[middle][0] <= ts) low = middle + 1; else high = middle; }
    return low;
  }
}
