// Three charts by Chart.js, in the colours of the style sheet, which change with it.

import { asked, count, percent, size } from "./format.js";

/* global Chart */

const LABELS = {
  hour: { hour: "2-digit", minute: "2-digit" },
  day: { hour: "2-digit", minute: "2-digit" },
  week: { weekday: "short", hour: "2-digit" },
  month: { day: "numeric", month: "short" },
};
const OUTCOMES = [
  ["Hits", "--hit", (point) => point.hits - point.stale],
  ["Stale hits", "--stale", (point) => point.stale],
  ["Misses", "--miss", (point) => point.misses],
  ["Denied", "--denied", (point) => point.denied],
  ["Errors", "--error", (point) => point.errors],
];
const BYTES = [
  ["From the cache", "--hit", (point) => point.bytes_saved],
  ["From the indexes", "--miss", (point) => point.bytes_from_upstream],
];
const RATE = [["Hit rate", "--hit", (point) => (asked(point) ? point.hits / asked(point) * 100 : null)]];

export class Charts {
  constructor() {
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (isStill) Chart.defaults.animation = false;
    else Chart.defaults.animation.duration = 350;
    Chart.defaults.maintainAspectRatio = false;
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    this.charts = [
      stacked("chart-requests", OUTCOMES, count),
      stacked("chart-bytes", BYTES, size),
      line("chart-rate", RATE),
    ];
    this.paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  show(history) {
    const format = new Intl.DateTimeFormat(undefined, LABELS[history.span]);
    const labels = history.points.map((point) => format.format(new Date(point.at)));
    const [, bytes, rate] = this.charts.map(({ chart }) => chart.options.scales.y);
    Object.assign(bytes, inPowersOfTwo(history.points));
    rate.min = lowest(history.points);
    for (const { chart, series } of this.charts) {
      chart.data.labels = labels;
      series.forEach(([, , valueOf], at) => { chart.data.datasets[at].data = history.points.map(valueOf); });
      // Another span may move; the same one only grows, and must not flicker.
      chart.update(this.span === history.span ? "none" : undefined);
    }
    this.span = history.span;
    this.describe(history);
  }

  // What a chart shows, for whoever does not see it; the table below has each step.
  describe({ span, total }) {
    const said = [
      `Requests by outcome in the last ${span}: ${count(total.hits)} hits, ${count(total.stale)} of them stale, ` +
        `${count(total.misses)} misses, ${count(total.denied)} denied, ${count(total.errors)} errors.`,
      `Bytes in the last ${span}: ${size(total.bytes_saved)} from the cache, ${size(total.bytes_from_upstream)} from the indexes.`,
      `Hit rate in the last ${span}: ${percent(total.hits, asked(total))}.`,
    ];
    this.charts.forEach(({ chart }, at) => chart.canvas.setAttribute("aria-label", said[at]));
  }

  paint() {
    // By an element, which knows whether it is dark: a property by itself only says what it was
    // given.
    const probe = this.charts[0].chart.canvas;
    const colour = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    Chart.defaults.color = colour("--muted");
    for (const { chart, series } of this.charts) {
      chart.data.datasets.forEach((dataset, at) => {
        dataset.backgroundColor = colour(series[at][1]);
        dataset.borderColor = colour(series[at][1]);
      });
      for (const scale of Object.values(chart.options.scales)) {
        scale.ticks.color = colour("--muted");
        scale.grid.color = colour("--line");
      }
      chart.options.plugins.legend.labels.color = colour("--muted");
      chart.update("none");
    }
  }
}

// Steps of 128 MiB and the like, where Chart.js by itself makes some of 95.4 MiB.
function inPowersOfTwo(points) {
  const most = Math.max(1024, ...points.map((point) => point.bytes_saved + point.bytes_from_upstream));
  const step = 2 ** Math.ceil(Math.log2(most / 4));
  const max = Math.ceil(most / step) * step;
  return { max, afterBuildTicks: (axis) => { axis.ticks = ticks(max, step); } };
}

function ticks(max, step) {
  return Array.from({ length: max / step + 1 }, (_, at) => ({ value: at * step }));
}

// Where the axis of rates begins: between 90% and 100% a lot can happen.
function lowest(points) {
  const rates = points.filter(asked).map((point) => point.hits / asked(point) * 100);
  return Math.max(0, Math.floor((Math.min(...rates, 100) - 10) / 10) * 10);
}

function stacked(id, series, format) {
  const datasets = series.map(([label]) => ({ label, data: [], borderRadius: 2, barPercentage: 0.9, categoryPercentage: 0.9 }));
  return { series, chart: new Chart(id, { type: "bar", data: { labels: [], datasets }, options: options(format, true) }) };
}

function line(id, series) {
  const datasets = series.map(([label]) => ({ label, data: [], borderWidth: 2, pointRadius: 0, pointHitRadius: 12, tension: 0.25 }));
  const shown = options((value) => `${Math.round(value)}%`, false);
  Object.assign(shown.scales.y, { max: 100, beginAtZero: false });
  shown.plugins.legend.display = false;
  shown.plugins.tooltip.callbacks.label = ({ parsed }) => ` ${percent(parsed.y, 100)}`;
  // An hour without a request has no rate; a single point would otherwise not be seen at all.
  shown.elements = { point: { radius: ({ chart, dataIndex, datasetIndex }) => alone(chart.data.datasets[datasetIndex].data, dataIndex) } };
  delete datasets[0].pointRadius;
  return { series, chart: new Chart(id, { type: "line", data: { labels: [], datasets }, options: shown }) };
}

function alone(data, at) {
  const isMissing = (value) => value === null || value === undefined;
  return !isMissing(data[at]) && isMissing(data[at - 1]) && isMissing(data[at + 1]) ? 2 : 0;
}

function options(format, isStacked) {
  return {
    interaction: { mode: "index", intersect: false },
    scales: {
      x: { stacked: isStacked, grid: { display: false }, border: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 18 } },
      y: { stacked: isStacked, beginAtZero: true, border: { display: false }, grid: {}, suggestedMax: 4, ticks: { maxTicksLimit: 5, precision: 0, callback: (value) => format(value) } },
    },
    plugins: {
      legend: { align: "end", labels: { boxWidth: 10, boxHeight: 10, useBorderRadius: true, borderRadius: 2 } },
      tooltip: {
        filter: ({ parsed }) => parsed.y > 0,
        callbacks: { label: ({ dataset, parsed }) => ` ${dataset.label}: ${format(parsed.y)}` },
      },
    },
  };
}
