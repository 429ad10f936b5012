// The time-sequence diagram, in the grammar of tcptrace: what was sent when, what was acknowledged, how far the window
// reaches. In plain and classic mode the packets themselves tell. In secure mode nobody between the ends sees offsets,
// so the lines come from what the sender says of itself, and the panel says so.

import { el, say, visible } from './dom.js';
import * as format from './format.js';
import { swatch } from './charts.js';
import { on, senderOf, store } from './store.js';

const MOST = 6000;
const SPANS = [[0.5, '½ s'], [2, '2 s'], [10, '10 s'], [60, '1 min']];

// What the packets of the newest client told.
let model = fresh(null);

function fresh(client) {
  return { client, classic: false, bars: [], acks: [], windows: [], sent: new Map(), numbersAt: new Map(), acked: 0, highest: 0 };
}

function take(packets) {
  for (const packet of packets) {
    if (packet.client !== model.client) model = fresh(packet.client);
    if (packet.direction === 'up') takeData(packet);
    else takeAnswer(packet);
  }
  for (const list of [model.bars, model.acks, model.windows]) if (list.length > MOST) list.splice(0, list.length - MOST);
  while (model.sent.size > MOST) model.sent.delete(model.sent.keys().next().value);
  while (model.numbersAt.size > MOST) model.numbersAt.delete(model.numbersAt.keys().next().value);
}

function takeData(packet) {
  const classic = packet.form === 'classic';
  const offset = classic ? packet.number ?? packet.offset : packet.offset;
  if (offset === null || offset === undefined || offset < 0 || !packet.length) return;
  model.classic = classic;
  const bar = {
    t: packet.t_ms / 1000, from: offset, to: offset + (classic ? 1 : packet.length),
    again: Boolean(packet.retransmission), dropped: packet.verdict === 'dropped'
  };
  model.bars.push(bar);
  if (classic || packet.number === null || packet.number === undefined) return;
  model.sent.set(packet.number, bar);
  if (!model.numbersAt.has(offset)) model.numbersAt.set(offset, []);
  model.numbersAt.get(offset).push(packet.number);
}

// The bytes of this packet are there: its other copies are waited for no more.
function arrived(bar) {
  for (const number of model.numbersAt.get(bar.from) ?? []) model.sent.delete(number);
  model.numbersAt.delete(bar.from);
  model.highest = Math.max(model.highest, bar.to);
}

// How far everything has arrived: up to the first byte that was seen and is not acknowledged.
function edge() {
  let first = model.highest;
  for (const bar of model.sent.values()) first = Math.min(first, bar.from);
  return first;
}

function takeAnswer(packet) {
  const t = packet.t_ms / 1000;
  if (packet.verdict === 'dropped') return; // the sender never saw it
  if (packet.form === 'classic') {
    if (typeof packet.acked !== 'number') return;
    model.acked = Math.max(model.acked, packet.acked);
    if (typeof packet.window === 'number') model.windows.push({ t, y: packet.acked + packet.window });
  } else {
    if (typeof packet.window === 'number') model.windows.push({ t, y: packet.window });
    if (!Array.isArray(packet.acked) || !packet.acked.length) return;
    // What is below all ranges was acknowledged before, or was lost: this and later answers are silent about it.
    const least = Math.min(...packet.acked.map(([low]) => low));
    for (const number of model.sent.keys()) if (number < least) model.sent.delete(number);
    for (const [low, high] of packet.acked) {
      for (let number = high; number >= low && high - number < MOST; number -= 1) {
        const bar = model.sent.get(number);
        if (bar) arrived(bar);
      }
    }
    model.acked = Math.max(model.acked, edge());
  }
  if (model.acks.at(-1)?.y !== model.acked) model.acks.push({ t, y: model.acked });
}

// The same four things from the gauges of the sender.
function fromGauges(from, to) {
  const made = { classic: false, bars: [], acks: [], windows: [], sentLine: [] };
  let again = null;
  let id = null;
  for (const sample of store.samples) {
    const t = sample.t_ms / 1000;
    if (t < from - 1 || t > to) continue;
    const who = senderOf(sample);
    const g = sample.endpoints?.[who]?.gauges;
    if (!g || typeof g.acknowledged_bytes !== 'number') continue;
    if (who !== id) Object.assign(made, { bars: [], acks: [], windows: [], sentLine: [] }), again = null;
    id = who;
    const sent = g.acknowledged_bytes + (g.in_flight_bytes ?? 0);
    made.acks.push({ t, y: g.acknowledged_bytes });
    made.sentLine.push({ t, y: sent });
    if (typeof g.rwnd_bytes === 'number') made.windows.push({ t, y: g.acknowledged_bytes + g.rwnd_bytes });
    if (again !== null && g.retransmitted_bytes > again) made.bars.push({ t, from: sent, to: sent + g.retransmitted_bytes - again, again: true });
    again = g.retransmitted_bytes;
  }
  return made;
}

const secure = () => {
  const sender = store.endpoints.get(senderOf(store.samples.at(-1)));
  if (sender?.mode) return sender.mode === 'secure';
  return model.bars.length === 0;
};

let span = 2;
let end = null; // null: live
let plot;
let parts;
let shown = { bars: [], acks: [], windows: [] };
let palette = {};

function window_() {
  const to = end ?? Math.max(span, (store.samples.at(-1)?.t_ms ?? store.packets.at(-1)?.t_ms ?? 0) / 1000);
  return [to - span, to];
}

function heights([from, to]) {
  let low = Infinity;
  let high = -Infinity;
  const see = (y) => {
    low = Math.min(low, y);
    high = Math.max(high, y);
  };
  for (const bar of shown.bars) if (bar.t >= from && bar.t <= to) see(bar.from), see(bar.to);
  for (const line of [shown.acks, shown.sentLine ?? []]) for (const point of line) if (point.t >= from && point.t <= to) see(point.y);
  if (low > high) return [0, 1];
  const room = Math.max(shown.classic ? 1 : 2048, (high - low) * 0.08);
  return [Math.max(0, low - room), high + room * 2];
}

function draw(u) {
  const { ctx, bbox } = u;
  const scale = devicePixelRatio;
  const x = (t) => u.valToPos(t, 'x', true);
  const y = (v) => u.valToPos(v, 'y', true);
  const [from, to] = window_();
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  stairs(ctx, shown.windows, x, y, to, palette['--yellow'], 1.5 * scale, [2 * scale, 3 * scale]);
  stairs(ctx, shown.acks, x, y, to, palette['--green'], 2 * scale, []);
  if (shown.sentLine) stairs(ctx, shown.sentLine, x, y, to, palette['--text'], 1.25 * scale, []);
  ctx.lineWidth = 2 * scale;
  for (const bar of shown.bars) {
    if (bar.t < from || bar.t > to) continue;
    const at = Math.round(x(bar.t));
    const [top, foot] = [y(bar.to), y(bar.from)];
    ctx.strokeStyle = bar.again ? palette['--red'] : palette['--text'];
    ctx.beginPath();
    ctx.moveTo(at, foot);
    ctx.lineTo(at, Math.min(top, foot - 2 * scale));
    ctx.stroke();
    if (bar.dropped) cross(ctx, at, (top + foot) / 2, 3.5 * scale, palette['--orange']);
  }
  ctx.restore();
}

function stairs(ctx, points, x, y, to, ink, width, dash) {
  if (!points.length) return;
  ctx.strokeStyle = ink;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x(points[0].t), y(points[0].y));
  let last = points[0];
  for (const point of points.slice(1)) {
    ctx.lineTo(x(point.t), y(last.y));
    ctx.lineTo(x(point.t), y(point.y));
    last = point;
  }
  ctx.lineTo(x(Math.min(to, last.t + 1)), y(last.y));
  ctx.stroke();
  ctx.setLineDash([]);
}

function cross(ctx, x, y, r, ink) {
  ctx.strokeStyle = ink;
  ctx.beginPath();
  ctx.moveTo(x - r, y - r);
  ctx.lineTo(x + r, y + r);
  ctx.moveTo(x + r, y - r);
  ctx.lineTo(x - r, y + r);
  ctx.stroke();
}

function show() {
  if (!visible(parts.frame)) return;
  const range = window_();
  const closed = secure();
  shown = closed ? fromGauges(...range) : model;
  parts.why.hidden = !closed;
  const style = getComputedStyle(document.documentElement);
  for (const name of ['--red', '--orange', '--yellow', '--green', '--text', '--soft', '--grid']) palette[name] = style.getPropertyValue(name).trim();
  const unit = shown.classic ? 'packets' : 'bytes';
  say(parts.unit, `${unit} of the stream, over seconds`);
  const { clientWidth: width, clientHeight: height } = parts.frame;
  plot ??= make();
  if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
  plot.setData([range, [null, null]]);
  const value = (n) => (n === undefined ? '–' : shown.classic ? `packet ${format.count(n)}` : format.bytes(n));
  const inside = shown.bars.filter((bar) => bar.t >= range[0] && bar.t <= range[1]);
  say(parts.data, closed ? value(shown.sentLine.at(-1)?.y) : `${inside.filter((bar) => !bar.again).length} shown`);
  say(parts.again, `${inside.filter((bar) => bar.again).length} shown`);
  say(parts.ack, value(shown.acks.at(-1)?.y));
  say(parts.win, value(shown.windows.at(-1)?.y));
  say(parts.missed, !closed && store.missedPackets ? `${format.count(store.missedPackets)} packets are not shown: at most 300 a second are sampled.` : '');
}

const STEPS = Array.from({ length: 45 }, (_, i) => 2 ** i);

// In the unit in which neighbours on the axis differ.
function offset(value, step) {
  if (shown.classic || step < 1024) return format.count(value);
  if (step < 1 << 20) return `${format.count(value / 1024)} KiB`;
  return `${format.count(value / (1 << 20))} MiB`;
}

function make() {
  const ink = (name) => () => palette[name];
  const axis = { stroke: ink('--soft'), grid: { stroke: ink('--grid'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  return new uPlot({
    width: 400, height: 300, legend: { show: false }, padding: [8, 12, 0, 0],
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, range: window_ }, y: { range: () => heights(window_()) } },
    axes: [
      { ...axis, size: 18, label: 'seconds since the controller started', labelSize: 15, labelFont: '11px system-ui, sans-serif', gap: 2, values: (u, splits) => splits.map((s) => `${+s.toFixed(3)}`) },
      { ...axis, size: 74, gap: 4, space: 34, incrs: STEPS, values: (u, splits) => splits.map((v) => offset(v, splits[1] - splits[0])) },
    ],
    series: [{}, {}],
    hooks: { draw: [draw] },
  }, [[0, 1], [null, null]], parts.frame);
}

function key(event) {
  const [, to] = window_();
  if (event.key === 'ArrowLeft') end = to - span / 4;
  else if (event.key === 'ArrowRight') end = to + span / 4;
  else if (event.key === 'Escape') end = null;
  else if (event.key === '+' || event.key === '-') {
    const place = SPANS.findIndex(([s]) => s === span) + (event.key === '+' ? -1 : 1);
    choose(SPANS[Math.max(0, Math.min(SPANS.length - 1, place))][0]);
  } else return;
  event.preventDefault();
  told();
}

function choose(value) {
  span = value;
  told();
}

function told() {
  for (const button of parts.spans.children) button.setAttribute('aria-pressed', String(Number(button.dataset.span) === span));
  parts.pause.setAttribute('aria-pressed', String(end !== null));
  say(parts.pause, end === null ? 'Pause' : 'Live');
  show();
}

export function mount(root) {
  parts = {
    frame: el('div', { class: 'plot tall', id: 'sequence-plot', tabindex: '0', role: 'img', 'aria-label': 'Time-sequence diagram. Arrow keys move, plus and minus zoom, Escape goes back to live.', onkeydown: key }),
    unit: el('span', { class: 'unit' }),
    why: el('p', { class: 'note', hidden: true }, 'This stream is encrypted: nobody between the ends sees packet offsets, not even this proxy. The lines come from what the sender says of itself, ten times a second. Run both ends with --plain to see each packet.'),
    missed: el('p', { class: 'quiet' }),
    spans: el('div', { class: 'segments', role: 'group', 'aria-label': 'Time shown' }, SPANS.map(([value, label]) => el('button', { type: 'button', 'data-span': value, onclick: () => choose(value) }, label))),
    pause: el('button', { type: 'button', onclick: () => {
      end = end === null ? window_()[1] : null;
      told();
    } }, 'Pause'),
    data: el('dd'), again: el('dd'), ack: el('dd'), win: el('dd'),
  };
  const item = (ink, style, label, value) => el('div', { class: `key ${style}` }, swatch(ink), el('dt', {}, label), value);
  root.append(
    el('div', { class: 'bar' }, el('h3', {}, 'Time-sequence ', parts.unit), el('span', { class: 'stretch' }), parts.spans, parts.pause),
    el('dl', { class: 'legend' }, item('--text', 'bar-key', 'data sent', parts.data), item('--red', 'bar-key', 'sent again', parts.again),
      item('--green', '', 'acknowledged', parts.ack), item('--yellow', 'dashed', 'window', parts.win), el('div', { class: 'key cross' }, el('i', { class: 'x', 'aria-hidden': 'true' }, '×'), el('dt', {}, 'dropped on the way'))),
    parts.why, parts.frame, parts.missed);
  on('packets', (packets) => {
    take(packets);
    if (end === null) show();
  });
  on('sample', () => { if (end === null) show(); });
  on('forget', () => {
    model = fresh(null);
    end = null;
    show();
  });
  on('tab', show);
  new ResizeObserver(show).observe(parts.frame);
  told();
}
