// What users of the original know: the cumulative chart of packets, a box for each series, a navigator for the range,
// an export menu, Clear Chart, Reset Statistics, the drop sliders of both directions and the delay of the receiver.

import * as api from './api.js';
import { swatch } from './charts.js';
import { attempt, el, say, toast, visible } from './dom.js';
import { csv, save, saveBlob } from './download.js';
import * as format from './format.js';
import { delayWords } from './network.js';
import { slider } from './rulecards.js';
import { GAP_MS } from './series.js';
import { on, setConfig, store } from './store.js';

const SERIES = [
  ['client_sent', 'Client Send', '--blue', []], ['client_recv', 'Client Receive', '--sky', [6, 3]],
  ['server_sent', 'Server Send', '--red', []], ['server_recv', 'Server Receive', '--orange', [6, 3]],
  ['proxy_sent', 'Proxy Send', '--green', []], ['proxy_recv', 'Proxy Receive', '--purple', [6, 3]],
];
const on_ = new Set(['client_sent', 'client_recv', 'server_sent', 'server_recv']);
let parts;
let plot;
let navigator_;
let chosen = null; // [from, to] in seconds; null: all that is here
let palette = {};

function data() {
  const list = store.samples.filter(({ t_ms }) => store.clearedAt === null || t_ms > store.clearedAt);
  const rows = [[], ...SERIES.map(() => [])];
  let last = null;
  for (const { t_ms, sample } of list) {
    if (last !== null && t_ms - last > GAP_MS) {
      rows[0].push((last + 1) / 1000); // a gap is a gap
      SERIES.forEach((_, k) => rows[k + 1].push(null));
    }
    rows[0].push(t_ms / 1000);
    SERIES.forEach(([name], k) => rows[k + 1].push(sample?.[name] ?? null));
    last = t_ms;
  }
  return rows;
}

const whole = (rows) => [rows[0][0] ?? 0, Math.max((rows[0].at(-1) ?? 0), (rows[0][0] ?? 0) + 1)];
let rows = [[]];
const range = () => chosen ?? whole(rows);

function options(extra, pick) {
  const ink = (name) => () => palette[name];
  return {
    width: 300, height: 100, legend: { show: false }, padding: [8, 12, 0, 0],
    series: [{}, ...SERIES.map(([name, label, colour, dash]) => ({ label, stroke: ink(colour), dash, width: 1.75, show: on_.has(name), spanGaps: false, points: { show: false } }))],
    ...extra((more) => ({ stroke: ink('--soft'), grid: { stroke: ink('--grid'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif', labelFont: '11px system-ui, sans-serif', ...more })),
    ...pick,
  };
}

function make() {
  plot = new uPlot(options((axis) => ({
    scales: { x: { time: false, range: () => range() }, y: { range: (u, min, max) => [0, Math.max(1, max ?? 1) * 1.08] } },
    cursor: { drag: { x: true, setScale: false }, points: { show: false } },
    axes: [axis({ size: 18, label: 'seconds since the controller started', labelSize: 15, gap: 2, values: (u, splits) => splits.map((s) => `${+s.toFixed(2)}`) }), axis({ size: 58, label: 'packets', labelSize: 16, gap: 2, values: (u, splits) => splits.map((v) => format.count(v)) })],
  }), { hooks: { setCursor: [tell], setSelect: [(u) => pickRange(u)] } }), [[]], parts.chart);
  navigator_ = new uPlot(options((axis) => ({
    scales: { x: { time: false, range: () => whole(rows) }, y: { range: (u, min, max) => [0, Math.max(1, max ?? 1) * 1.08] } },
    cursor: { x: false, y: false, drag: { x: true, setScale: false }, points: { show: false } },
    axes: [axis({ size: 4, values: () => [] }), axis({ size: 58, values: () => [], label: ' ', labelSize: 16 })],
  }), { hooks: { setSelect: [(u) => pickRange(u)], draw: [shade] } }), [[]], parts.navigator);
  navigator_.over.addEventListener('dblclick', () => choose(null));
  plot.over.addEventListener('dblclick', () => choose(null));
}

function pickRange(u) {
  if (u.select.width < 3) return;
  const next = [u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x')];
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  choose(next);
}

// The navigator shows what is outside the chosen range under a veil.
function shade(u) {
  if (!chosen) return;
  const { ctx, bbox } = u;
  const [from, to] = chosen.map((t) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, u.valToPos(t, 'x', true))));
  ctx.save();
  ctx.globalAlpha = 0.18;
  ctx.fillStyle = palette['--text'];
  ctx.fillRect(bbox.left, bbox.top, from - bbox.left, bbox.height);
  ctx.fillRect(to, bbox.top, bbox.left + bbox.width - to, bbox.height);
  ctx.restore();
}

function choose(next) {
  if (next) {
    const [low, high] = whole(rows);
    const size = Math.max(0.2, Math.min(high - low, next[1] - next[0]));
    const from = Math.max(low, Math.min(high - size, next[0]));
    chosen = [from, from + size];
  } else chosen = null;
  show();
}

function key(event) {
  const [from, to] = range();
  const part = (to - from) / 8;
  const next = {
    ArrowLeft: [from - part, to - part], ArrowRight: [from + part, to + part], '+': [from + part, to - part], '-': [from - part, to + part], Escape: null,
  }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose(next);
}

function show() {
  if (!parts || !visible(parts.chart)) return;
  const style = getComputedStyle(document.documentElement);
  for (const name of ['--red', '--orange', '--green', '--sky', '--blue', '--purple', '--soft', '--text', '--grid']) palette[name] = style.getPropertyValue(name).trim();
  if (!plot) make();
  rows = data();
  for (const [u, frame] of [[plot, parts.chart], [navigator_, parts.navigator]]) {
    const { clientWidth: width, clientHeight: height } = frame;
    if (u.width !== width || u.height !== height) u.setSize({ width, height });
    u.setData(rows);
  }
  const [from, to] = range();
  say(parts.range, chosen ? `${from.toFixed(1)} to ${to.toFixed(1)} s` : 'everything');
  tell(plot);
}

function tell(u) {
  const at = u.cursor.left >= 0 && u.cursor.idx !== null && u.cursor.idx !== undefined ? u.cursor.idx : rows[0].length - 1;
  SERIES.forEach(([name], k) => say(parts.values[name], format.count(rows[k + 1]?.[at] ?? null)));
}

function toggle(name, k, shown) {
  if (shown) on_.add(name);
  else on_.delete(name);
  for (const u of [plot, navigator_]) u?.setSeries(k + 1, { show: shown });
}

export function clearChart() {
  store.clearedAt = store.samples.at(-1)?.t_ms ?? null;
  chosen = null;
  show();
  toast('The chart begins anew. The counters stay.');
}

async function resetStatistics() {
  const done = await attempt('reset', () => api.remove('/statistics').then(() => true));
  if (done) toast('All counters are zero.');
}

function exports() {
  const names = ['t_seconds', ...SERIES.map(([name]) => name)];
  const menu = el('details', { class: 'menu' }, el('summary', {}, 'Export'));
  const item = (label, action) => el('button', { type: 'button', onclick: () => {
    menu.open = false;
    action();
  } }, label);
  menu.append(el('div', {},
    item('PNG picture', () => plot?.ctx.canvas.toBlob((blob) => blob && saveBlob('data-flow.png', blob))),
    item('CSV', () => save('data-flow.csv', 'text/csv', csv(names, data()))),
    item('JSON', () => save('data-flow.json', 'application/json', JSON.stringify(Object.fromEntries(names.map((name, i) => [name, data()[i]])))))));
  return menu;
}

export function mount(root) {
  parts = {
    chart: el('div', { class: 'plot flow', id: 'flow-plot' }),
    navigator: el('div', { class: 'plot navigator', tabindex: '0', role: 'group', 'aria-label': 'Range navigator. Drag to choose a range; arrow keys move it, plus and minus change its size, Escape shows everything.', onkeydown: key }),
    range: el('span', { class: 'quiet' }), values: {},
  };
  const boxes = SERIES.map(([name, label, colour], k) => {
    parts.values[name] = el('span', { class: 'value', id: `flow-${name}` }, '–');
    return el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: on_.has(name), onchange: (event) => toggle(name, k, event.target.checked) }), swatch(colour), el('span', {}, label), parts.values[name]);
  });
  const drop = (key, label) => slider({ label, unit: '%', max: 100, step: 1, name: key }, (value) => attempt('drop', async () => setConfig(await api.post('/config', { [key]: value }))));
  const sliders = {
    client_server_drop: drop('client_server_drop', 'Client → server drop'),
    server_client_drop: drop('server_client_drop', 'Server → client drop'),
    recv_delay: slider({ label: 'Receive delay', unit: 's', max: 5, most: 60, step: 0.1, name: 'recv_delay' }, (value) => attempt('receive delay', async () => setConfig(await api.post('/config', { recv_delay: value })))),
  };
  root.append(
    el('div', { class: 'bar' }, el('h3', {}, 'Data-Flow Statistics'), el('span', { class: 'stretch' }),
      el('button', { type: 'button', id: 'clear-chart', onclick: clearChart }, 'Clear Chart'), el('button', { type: 'button', id: 'reset-statistics', onclick: resetStatistics }, 'Reset Statistics'), exports()),
    el('div', { class: 'checks' }, boxes), parts.chart, parts.navigator,
    el('div', { class: 'bar' }, el('span', { class: 'quiet' }, 'Range: '), parts.range, el('span', { class: 'stretch' }), el('button', { type: 'button', onclick: () => choose(null) }, 'Show everything')),
    el('section', { class: 'card wide', 'aria-label': 'Drop and delay' },
      sliders.client_server_drop.row, sliders.server_client_drop.row, sliders.recv_delay.row, el('p', { class: 'quiet' }, delayWords)));
  on('config', () => {
    for (const [name, made] of Object.entries(sliders)) made.set(store.config[name]);
  });
  for (const topic of ['sample', 'tab', 'forget']) on(topic, show);
  new ResizeObserver(show).observe(parts.chart);
}
