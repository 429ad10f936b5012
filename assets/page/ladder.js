// The ladder: sender, proxy, receiver as three lines, time running down, each packet an arrow. Its slant is the time for
// which the proxy held it; where a packet was dropped, its arrow ends in an X.

import { el, say, visible } from './dom.js';
import { on, store } from './store.js';

const SPANS = [20, 100, 500, 2000];
const TOP = 26;
const ROW = 13; // labels need so many pixels
let parts;
let span = 100;
let end = null; // null: live; else ms

const inks = {};

function readInks() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['--red', '--blue', '--green', '--orange', '--text', '--soft', '--grid', '--paper']) inks[name] = style.getPropertyValue(name).trim();
}

// Live ends where the last packet was let go: between transfers the last ones stay.
function newest() {
  let last = 0;
  for (const packet of store.packets.slice(-50)) last = Math.max(last, packet.left_ms ?? packet.t_ms);
  return last || store.samples.at(-1)?.t_ms || 0;
}

function label(packet) {
  const what = packet.frames ?? packet.type ?? packet.form;
  const number = packet.number === null || packet.number === undefined ? '' : ` ${packet.number}`;
  const again = packet.retransmission ? ' again' : '';
  return `${what}${number}${again}`;
}

function show() {
  const { canvas, frame } = parts;
  if (!visible(frame)) return;
  readInks();
  const { clientWidth: width, clientHeight: height } = frame;
  const scale = devicePixelRatio;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const ctx = canvas.getContext('2d');
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const to = end ?? Math.max(span, newest());
  const from = to - span;
  const y = (t) => TOP + ((t - from) / span) * (height - TOP - 6);
  const lines = { left: 64, middle: (width + 64) / 2 - 8, right: width - 24 };
  frameOf(ctx, lines, width, height, from, to, y);

  const inside = store.packets.filter((packet) => (packet.left_ms ?? packet.t_ms) >= from && packet.t_ms <= to);
  const free = { up: -Infinity, down: -Infinity };
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, TOP - 6, width, height);
  ctx.clip();
  const words = [];
  for (const packet of inside) arrow(ctx, packet, lines, y, free, words);
  write(ctx, words);
  ctx.restore();
  const dropped = inside.filter((packet) => packet.verdict === 'dropped').length;
  const text = `${inside.length} packets in ${span} ms, ${dropped} dropped`;
  say(parts.text, `${text}${store.missedPackets ? '; sampled, at most 300 a second' : ''}`);
  canvas.setAttribute('aria-label', `Ladder diagram: ${text}. The table of packets has the same as text.`);
  parts.empty.hidden = inside.length > 0;
}

function frameOf(ctx, lines, width, height, from, to, y) {
  ctx.font = '12px system-ui, sans-serif';
  ctx.textBaseline = 'alphabetic';
  ctx.textAlign = 'center';
  ctx.fillStyle = inks['--text'];
  ctx.lineWidth = 1.5;
  ctx.strokeStyle = inks['--soft'];
  for (const [name, x, align] of [['sender', lines.left, 'center'], ['proxy', lines.middle, 'center'], ['receiver', lines.right, 'right']]) {
    ctx.textAlign = align;
    ctx.fillText(name, align === 'right' ? x + 18 : x, 14);
    ctx.beginPath();
    ctx.moveTo(x, TOP - 6);
    ctx.lineTo(x, height - 4);
    ctx.stroke();
  }
  ctx.font = '11px system-ui, sans-serif';
  ctx.textAlign = 'right';
  ctx.fillStyle = inks['--soft'];
  const step = span / 5;
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
    ctx.fillText(`${(t / 1000).toFixed(span < 100 ? 3 : 2)} s`, lines.left - 8, y(t) + 4);
    ctx.strokeStyle = inks['--grid'];
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(lines.left, y(t));
    ctx.lineTo(width - 24, y(t));
    ctx.stroke();
  }
}

function arrow(ctx, packet, lines, y, free, words) {
  const up = packet.direction === 'up';
  const [start, goal] = up ? [lines.left, lines.right] : [lines.right, lines.left];
  const dropped = packet.verdict === 'dropped';
  const top = y(packet.t_ms);
  const foot = y(packet.left_ms ?? packet.t_ms);
  const ink = packet.retransmission ? inks['--red'] : up ? inks['--blue'] : inks['--green'];
  ctx.strokeStyle = ink;
  ctx.fillStyle = ink;
  ctx.lineWidth = 1.25;
  ctx.setLineDash(packet.verdict === 'corrupted' ? [3, 3] : []);
  ctx.beginPath();
  ctx.moveTo(start, top);
  if (dropped) ctx.lineTo(lines.middle, top);
  else ctx.lineTo(goal, foot);
  ctx.stroke();
  ctx.setLineDash([]);
  if (dropped) cross(ctx, lines.middle, top);
  else head(ctx, goal, foot, Math.atan2(foot - top, goal - start));
  if (top - free[packet.direction] < ROW) return; // no place for words
  free[packet.direction] = top;
  const share = up ? 0.25 : 0.75;
  const x = lines.left + (lines.right - lines.left) * share;
  const slope = dropped ? 0 : (foot - top) / (goal - start);
  words.push([label(packet), x, top + slope * (x - start) - 3]);
}

// Words lie over all arrows, with a rim that keeps them readable.
function write(ctx, words) {
  ctx.font = '11px system-ui, sans-serif';
  ctx.textAlign = 'center';
  ctx.lineWidth = 4;
  ctx.lineJoin = 'round';
  ctx.strokeStyle = inks['--paper'];
  ctx.fillStyle = inks['--text'];
  for (const [text, x, y] of words) {
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
  }
}

function cross(ctx, x, y) {
  ctx.strokeStyle = inks['--orange'];
  ctx.lineWidth = 2.5;
  ctx.beginPath();
  ctx.moveTo(x - 5, y - 5);
  ctx.lineTo(x + 5, y + 5);
  ctx.moveTo(x + 5, y - 5);
  ctx.lineTo(x - 5, y + 5);
  ctx.stroke();
}

function head(ctx, x, y, angle) {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x - 7 * Math.cos(angle - 0.4), y - 7 * Math.sin(angle - 0.4));
  ctx.lineTo(x - 7 * Math.cos(angle + 0.4), y - 7 * Math.sin(angle + 0.4));
  ctx.fill();
}

function key(event) {
  const at = end ?? newest();
  const place = SPANS.indexOf(span);
  if (event.key === 'ArrowUp') end = at - span / 5;
  else if (event.key === 'ArrowDown') end = at + span / 5;
  else if (event.key === 'Escape') end = null;
  else if (event.key === '+') span = SPANS[Math.max(0, place - 1)];
  else if (event.key === '-') span = SPANS[Math.min(SPANS.length - 1, place + 1)];
  else return;
  event.preventDefault();
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
    canvas: el('canvas', { role: 'img' }),
    empty: el('p', { class: 'empty over' }, 'No packets in this time. They are seen where a proxy with --controller stands between the ends.'),
    text: el('p', { class: 'quiet', id: 'ladder-text' }),
    spans: el('div', { class: 'segments', role: 'group', 'aria-label': 'Time shown' }, SPANS.map((ms) => el('button', { type: 'button', 'data-span': ms, onclick: () => {
      span = ms;
      told();
    } }, ms < 1000 ? `${ms} ms` : `${ms / 1000} s`))),
    pause: el('button', { type: 'button', id: 'ladder-pause', onclick: () => {
      end = end === null ? newest() : null;
      told();
    } }, 'Pause'),
  };
  parts.frame = el('div', { class: 'plot tall', id: 'ladder-plot', tabindex: '0', onkeydown: key, onwheel: (event) => {
    event.preventDefault();
    end = (end ?? newest()) + Math.sign(event.deltaY) * (span / 10);
    told();
  } }, parts.canvas, parts.empty);
  root.append(
    el('div', { class: 'bar' }, el('h3', {}, 'Ladder'), el('span', { class: 'stretch' }), parts.spans, parts.pause),
    el('p', { class: 'quiet' }, 'Time runs down. An arrow starts when its packet reached the proxy and ends when the proxy let it go: the slant is the delay of the rules.'),
    parts.frame, parts.text);
  const live = () => { if (end === null) show(); };
  for (const topic of ['packets', 'sample']) on(topic, live);
  on('forget', () => {
    end = null;
    told();
  });
  on('tab', show);
  new ResizeObserver(show).observe(parts.frame);
  told();
}
