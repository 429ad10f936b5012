// The four charts on one x axis: windows, round-trip time, rates, losses. One cursor runs through all of them; marks
// stand where somebody changed something; the values under the cursor stand as text in the line above each chart.

import { el, say, visible } from './dom.js';
import * as format from './format.js';
import { columns, indexAt, rebuild } from './series.js';
import { emit, on, store } from './store.js';
import { overlayColumn, overlayName } from './runs.js';

const AXIS_PX = 58;
const SPANS = [[15, '15 s'], [60, '1 min'], [300, '5 min'], [0, 'all']];

const bytesAxis = (values) => values.map((value) => (value === null ? '' : axisBytes(value)));
function axisBytes(value) {
  if (value === 0) return '0';
  if (value >= 1 << 20) return `${+(value / (1 << 20)).toFixed(2)} Mi`;
  return `${+(value / 1024).toFixed(1)} Ki`;
}

// `draw`: how a column looks. `style`: line, dots or area. `ink`: a colour of app.css.
const CHARTS = [
  {
    title: 'Windows', unit: 'bytes', axis: bytesAxis, value: format.bytes, binary: true,
    series: [
      { of: 'rwnd', label: 'receive window', ink: '--yellow', dash: [2, 3] },
      { of: 'ssthresh', label: 'ssthresh', ink: '--purple', dash: [8, 4] },
      { of: 'cwnd', label: 'cwnd', ink: '--blue', width: 2 },
      { of: 'inFlight', label: 'in flight', ink: '--sky', style: 'area' },
    ],
    overlay: 'inFlight',
    cap: (max, c, from, to) => windowCap(c, from, to, max),
  },
  {
    title: 'Round-trip time', unit: 'ms', value: format.millis,
    series: [
      { of: 'latestRtt', label: 'latest', ink: '--sky', style: 'dots' },
      { of: 'srtt', label: 'smoothed', ink: '--blue', width: 2 },
      { of: 'minRtt', label: 'lowest', ink: '--green', dash: [8, 4] },
    ],
    overlay: 'srtt',
  },
  {
    title: 'Rates', unit: 'Mbit/s', value: (v) => format.bits(v === null ? null : v * 8),
    axis: (values) => values.map((v) => (v === null ? '' : String(+((v * 8) / 1e6).toFixed(3)))), bits: true,
    series: [
      { of: 'link', label: 'link', ink: '--soft', dash: [2, 3] },
      { of: 'sent', label: 'sent', ink: '--blue' },
      { of: 'goodput', label: 'goodput', ink: '--green', width: 2 },
      { of: 'again', label: 'sent again', ink: '--red' },
    ],
    overlay: 'goodput',
  },
  {
    title: 'Losses and retransmissions', unit: 'packets/s', value: (v) => format.packets(v === null ? null : Math.abs(v)),
    axis: (values) => values.map((v) => (v === null ? '' : String(Math.abs(v)))), below: true,
    series: [
      { of: 'byRule', label: 'rule', ink: '--red', style: 'solid', title: 'dropped by a rule of the proxy' },
      { of: 'byQueue', label: 'queue', ink: '--orange', style: 'solid', title: 'dropped because the queue of a slow link was full' },
      { of: 'corrupt', label: 'damaged', ink: '--purple', style: 'solid', title: 'damaged by a rule of the proxy' },
      { of: 'lost', label: 'lost', ink: '--blue', style: 'solid', title: 'declared lost by the sender, from acknowledgements (fast retransmit)' },
      { of: 'pto', label: 'PTO', ink: '--yellow', style: 'solid', title: 'probe time-outs of the sender: nothing was heard' },
      { of: 'spurious', label: 'spurious', ink: '--sky', style: 'solid', title: 'declared lost, but its acknowledgement came after all' },
    ],
    sides: ['on the link', 'found by the sender'],
  },
];

// The peer's window and the threshold may be far above all that happens. They must not press the rest flat.
function windowCap(c, from, to, max) {
  let top = 0;
  for (let i = Math.max(0, indexAt(from)); i < c.t.length && c.t[i] <= to; i += 1) {
    top = Math.max(top, c.cwnd[i] ?? 0, c.inFlight[i] ?? 0);
  }
  return top > 0 ? Math.min(max, top * 1.6) : max;
}

const plots = [];
let view = { live: true, span: 60 };
let clock = { t: 0, at: 0 };
let palette = {};
let place;

// Now, in the controller's seconds, moving on between samples.
const now = () => clock.t;
const ink = (name) => () => palette[name] ?? '#888';
const faint = (name) => () => `${palette[name] ?? '#888888'}40`;

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['--red', '--orange', '--yellow', '--green', '--sky', '--blue', '--purple', '--soft', '--text', '--grid', '--strong', '--paper']) {
    palette[name] = style.getPropertyValue(name).trim();
  }
}

export function range() {
  if (!view.live) return [view.from, view.to];
  const first = columns.t[0] ?? now();
  if (!view.span) return [first, Math.max(now(), first + 1)];
  const to = Math.max(now(), first + view.span); // a new picture fills from the left
  return [to - view.span, to];
}

// Stacks the parts of each side of the axis, so that the outline of all is their sum.
function stacked(names) {
  const sums = names.map(() => new Array(columns.t.length).fill(null));
  for (let i = 0; i < columns.t.length; i += 1) {
    let above = 0;
    let below = 0;
    names.forEach((name, k) => {
      const value = columns[name][i];
      if (value === null) return;
      if (k < 3) sums[k][i] = above += value;
      else sums[k][i] = below += value;
    });
  }
  return sums;
}

function dataOf(chart) {
  const names = chart.series.map((series) => series.of);
  // The sums are drawn from the outside to the inside, so that every part shows.
  const lists = chart.below ? stacked(names).reverse() : names.map((name) => columns[name]);
  return [columns.t, ...lists, ...(chart.overlay ? [overlayColumn(chart.overlay)] : [])];
}

function seriesOptions(series) {
  const options = { label: series.label, stroke: ink(series.ink), width: series.width ?? 1.25, dash: series.dash, spanGaps: false, points: { show: false } };
  if (series.style === 'dots') {
    options.paths = () => null;
    options.points = { show: true, size: 3.5, stroke: ink(series.ink), fill: ink(series.ink) };
  }
  if (series.style === 'area' || series.style === 'solid') {
    options.fill = series.style === 'area' ? faint(series.ink) : ink(series.ink);
    options.width = 1;
    options.paths = uPlot.paths.stepped({ align: -1 });
  }
  return options;
}

function draw(plot, first, sides) {
  const { ctx, bbox } = plot;
  const [from, to] = range();
  const scale = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = palette['--strong'];
  ctx.fillStyle = palette['--text'];
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = scale;
  ctx.setLineDash([3 * scale, 3 * scale]);
  ctx.font = `${11 * scale}px system-ui, sans-serif`;
  ctx.textBaseline = 'top';
  ctx.textAlign = 'left';
  if (sides) {
    ctx.textAlign = 'right';
    ctx.fillText(sides[0], bbox.left + bbox.width - 4 * scale, bbox.top + 2 * scale);
    ctx.textBaseline = 'bottom';
    ctx.fillText(sides[1], bbox.left + bbox.width - 4 * scale, bbox.top + bbox.height - 2 * scale);
    ctx.textAlign = 'left';
    ctx.textBaseline = 'top';
  }
  let free = -Infinity;
  for (const mark of store.marks) {
    const t = mark.t_ms / 1000;
    if (t < from || t > to) continue;
    const x = Math.round(plot.valToPos(t, 'x', true)) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (!first || x < free) continue;
    const text = mark.text.length > 34 ? `${mark.text.slice(0, 33)}…` : mark.text;
    const width = ctx.measureText(text).width;
    ctx.globalAlpha = 1;
    ctx.strokeStyle = palette['--paper'];
    ctx.lineWidth = 4 * scale;
    ctx.setLineDash([]);
    ctx.strokeText(text, x + 4 * scale, bbox.top + 2 * scale);
    ctx.fillText(text, x + 4 * scale, bbox.top + 2 * scale);
    ctx.globalAlpha = 0.55;
    ctx.strokeStyle = palette['--strong'];
    ctx.lineWidth = scale;
    ctx.setLineDash([3 * scale, 3 * scale]);
    free = x + width + 14 * scale;
  }
  ctx.restore();
}

function make(chart, index) {
  const last = index === CHARTS.length - 1;
  const values = el('dl', { class: 'legend' });
  const cells = chart.series.map((series) => {
    const value = el('dd', { 'data-series': series.of }, '–');
    values.append(el('div', { class: `key ${series.style ?? (series.dash ? 'dashed' : '')}`, title: series.title },
      swatch(series.ink), el('dt', {}, series.label), value));
    return value;
  });
  const title = el('h3', {}, `${chart.title} `, el('span', { class: 'unit' }, chart.unit));
  const frame = el('div', { class: 'plot' });
  const section = el('section', { class: last ? 'chart last' : 'chart', 'aria-label': `${chart.title} in ${chart.unit}` },
    el('div', { class: 'chart-head' }, title, values), frame);
  place.append(section);

  const axis = { stroke: ink('--soft'), grid: { stroke: ink('--grid'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  const plot = new uPlot({
    width: 400, height: 120,
    legend: { show: false },
    padding: [6, 10, last ? 0 : 4, 0],
    cursor: { sync: { key: 'lab', setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { show: false }, focus: { prox: -1 } },
    scales: {
      x: { time: false, range: () => range() },
      y: {
        range: (u, min, max) => {
          const [from, to] = range();
          let top = chart.cap ? chart.cap(max ?? 1, columns, from, to) : (max ?? 1);
          if (chart.below) {
            const size = Math.max(top, -(min ?? 0), 1) * 1.12;
            const split = (min ?? 0) < 0 ? size : size * 0.25;
            return [-split, size];
          }
          if (!(top > 0)) top = 1;
          return [0, top * 1.12];
        },
      },
    },
    axes: [
      { ...axis, size: last ? 18 : 8, values: last ? (u, splits) => splits.map((s) => `${+s.toFixed(3)}`) : () => [], label: last ? 'seconds since the controller started' : undefined, labelSize: 15, labelFont: '11px system-ui, sans-serif', gap: 2 },
      { ...axis, size: AXIS_PX, gap: 4, space: 22, ...(chart.binary ? { incrs: binarySteps } : chart.bits ? { incrs: bitSteps } : {}), values: chart.axis ? (u, splits) => chart.axis(splits) : (u, splits) => splits.map((s) => `${+s.toFixed(3)}`) },
    ],
    series: [
      {},
      ...(chart.below ? chart.series.toReversed() : chart.series).map(seriesOptions),
      ...(chart.overlay ? [{ label: 'run A', stroke: ink('--strong'), width: 1, dash: [4, 3], points: { show: false }, spanGaps: false }] : []),
    ],
    hooks: {
      draw: [(u) => draw(u, index === 0, chart.sides)],
      setCursor: [(u) => { if (u === plots[0]?.plot) tellValues(u.cursor.idx); }],
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const from = u.posToVal(u.select.left, 'x');
        const to = u.posToVal(u.select.left + u.select.width, 'x');
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        freeze(from, to);
      }],
    },
  }, [[], ...chart.series.map(() => []), ...(chart.overlay ? [[]] : [])], frame);
  plot.over.addEventListener('dblclick', () => live());
  plots.push({ plot, chart, cells, frame });
}

const binarySteps = Array.from({ length: 45 }, (_, i) => 2 ** i);
const bitSteps = Array.from({ length: 14 }, (_, i) => [1, 2, 2.5, 5].map((n) => (n * 10 ** (i - 2) * 1e3) / 8)).flat();

export function swatch(name) {
  const node = el('i', { class: 'swatch', 'aria-hidden': 'true' });
  node.style.setProperty('--ink', `var(${name})`);
  return node;
}

function tellValues(index) {
  const at = index ?? columns.t.length - 1;
  for (const { chart, cells } of plots) {
    chart.series.forEach((series, k) => say(cells[k], chart.value(columns[series.of][at] ?? null)));
  }
  const when = document.getElementById('cursor-time');
  say(when, index === null || index === undefined ? 'newest values' : `values at ${(columns.t[at] ?? 0).toFixed(1)} s`);
}

function freeze(from, to) {
  view = { live: false, from, to };
  told();
}

function live(span = view.span ?? 60) {
  view = { live: true, span };
  told();
}

function told() {
  for (const button of document.querySelectorAll('#spans button')) {
    button.setAttribute('aria-pressed', String(view.live && Number(button.dataset.span) === view.span));
  }
  const pause = document.getElementById('pause');
  pause.setAttribute('aria-pressed', String(!view.live));
  say(pause, view.live ? 'Pause' : 'Live');
  dirty = true;
}

export function togglePause() {
  if (view.live) {
    const [from, to] = range();
    view = { live: false, from, to, span: view.span };
    told();
  } else live(60);
}

// Keys move the cursor from sample to sample, with Shift the picture, and + and - zoom.
function key(event) {
  const [from, to] = range();
  const { plot } = plots[0];
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && event.shiftKey) freeze(from + (step * (to - from)) / 4, to + (step * (to - from)) / 4);
  else if (step) {
    const at = Math.min(columns.t.length - 1, Math.max(0, (plot.cursor.idx ?? indexAt(to)) + step));
    plot.setCursor({ left: plot.valToPos(columns.t[at], 'x'), top: 10 });
    // The other charts follow the pointer, not a cursor that was set: they are told as well.
    for (const other of plots.slice(1)) other.plot.setCursor({ left: plot.valToPos(columns.t[at], 'x'), top: 10 });
  } else if (event.key === '+') freeze(from + (to - from) / 4, to - (to - from) / 4);
  else if (event.key === '-') freeze(from - (to - from) / 2, to + (to - from) / 2);
  else if (event.key === 'Escape') {
    live();
    for (const { plot: each } of plots) each.setCursor({ left: -10, top: -10 });
  } else return;
  event.preventDefault();
}

let dirty = true;

function size() {
  for (const { plot, frame } of plots) {
    const { clientWidth: width, clientHeight: height } = frame;
    if (width > 0 && height > 0 && (plot.width !== width || plot.height !== height)) plot.setSize({ width, height });
  }
  dirty = true;
}

function redraw() {
  if (dirty && visible(place)) {
    dirty = false;
    for (const { plot, chart } of plots) plot.setData(dataOf(chart));
    const index = plots[0].plot.cursor.idx;
    tellValues(plots[0].plot.cursor.left >= 0 ? index : null);
    emit('drawn');
  }
  requestAnimationFrame(redraw);
}

export function mount(root) {
  readPalette();
  place = el('div', { id: 'plots', tabindex: '0', role: 'group', 'aria-label': 'Charts. Arrow keys move the cursor, Shift and arrows the picture, plus and minus zoom, Escape goes back to live.', onkeydown: key });
  const spans = el('div', { id: 'spans', class: 'segments', role: 'group', 'aria-label': 'Time shown' },
    SPANS.map(([span, label]) => el('button', { type: 'button', 'data-span': span, onclick: () => live(span) }, label)));
  const pause = el('button', { id: 'pause', type: 'button', onclick: togglePause, title: 'Space' }, 'Pause');
  const overlay = el('span', { id: 'overlay-name', class: 'quiet' });
  root.append(el('div', { class: 'bar' }, el('h2', {}, 'Charts'), el('span', { id: 'cursor-time', class: 'quiet' }), overlay, el('span', { class: 'stretch' }), spans, pause), place);
  CHARTS.forEach(make);
  told();
  new ResizeObserver(size).observe(place);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    readPalette();
    for (const { plot } of plots) plot.redraw(false);
    dirty = true;
  });
  document.addEventListener('visibilitychange', () => { dirty = true; });
  on('sample', (sample) => {
    clock.t = sample.t_ms / 1000;
    if (view.live) dirty = true;
  });
  on('marks', () => { dirty = true; });
  on('forget', () => {
    clock.t = 0;
    dirty = true;
  });
  on('choice', () => {
    rebuild();
    dirty = true;
  });
  on('overlay', () => {
    say(overlay, overlayName());
    dirty = true;
  });
  requestAnimationFrame(redraw);
}

export const isLive = () => view.live;
export const charts = () => plots.map(({ plot }) => plot);
