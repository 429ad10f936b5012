// Runs: each transfer that was seen, in numbers. One can be kept as A; its curves then lie dashed under those of the
// next one, both from their own start, so that two runs with the same seed can be compared. And everything as a file.

import * as api from './api.js';
import { attempt, el, say, toast, visible } from './dom.js';
import { csv, save, saveBlob } from './download.js';
import * as format from './format.js';
import { COLUMNS, columns, indexAt } from './series.js';
import { chosenProxy, emit, on, senderOf, store } from './store.js';

const KEY = 'securestream.runA';
const NEAR_S = 0.11; // a sample of A this near in time is the one to show
let parts;
let runA = recall();

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

// Transfers in the samples that are here: id of the sender, when it was there, its last gauges.
export function transfers() {
  const found = new Map();
  for (const sample of store.samples) {
    for (const [id, endpoint] of Object.entries(sample.endpoints ?? {})) {
      if (endpoint.role !== 'client') continue;
      const run = found.get(id) ?? { id, from: sample.t_ms, to: sample.t_ms, gauges: {} };
      if (endpoint.gauges?.acknowledged_bytes !== run.gauges.acknowledged_bytes) run.to = sample.t_ms;
      run.gauges = endpoint.gauges ?? {};
      found.set(id, run);
    }
  }
  return [...found.values()];
}

function summary({ id, from, to, gauges: g }) {
  const seconds = (to - from) / 1000;
  return {
    id, seconds,
    acknowledged_bytes: g.acknowledged_bytes ?? null,
    goodput_bytes_per_second: seconds > 0 && g.acknowledged_bytes ? g.acknowledged_bytes / seconds : null,
    smoothed_rtt_us: g.srtt_us ?? null, min_rtt_us: g.min_rtt_us ?? null,
    lost_packets: g.lost_packets ?? null, spurious_losses: g.spurious_losses ?? null,
    probe_timeouts: g.pto_count ?? null, retransmitted_bytes: g.retransmitted_bytes ?? null,
    seed: chosenProxy()?.seed ?? null,
    rules: (chosenProxy()?.rules ?? []).map((rule) => `${rule.direction}: ${format.rule(rule)}`).join('; '),
  };
}

const SHOWN = [
  ['seconds', 'time', (v) => format.duration(v === null ? null : v * 1000)], ['acknowledged_bytes', 'acknowledged', format.bytes],
  ['goodput_bytes_per_second', 'goodput', (v) => format.bits(v === null ? null : v * 8)], ['smoothed_rtt_us', 'RTT, smoothed', format.micros], ['min_rtt_us', 'RTT, lowest', format.micros],
  ['lost_packets', 'found lost', format.count], ['spurious_losses', 'spurious', format.count], ['probe_timeouts', 'PTO', format.count],
  ['retransmitted_bytes', 'sent again', format.bytes], ['seed', 'seed', (v) => (v === null ? '–' : String(v))], ['rules', 'rules at the end', (v) => v || 'none'],
];

function keep(run) {
  const low = Math.max(0, indexAt(run.from / 1000 - 0.001) + 1);
  const high = indexAt(run.to / 1000) + 1;
  const kept = { summary: summary(run), columns: {} };
  for (const name of COLUMNS) kept.columns[name] = columns[name].slice(low, high);
  kept.columns.t = kept.columns.t.map((t) => +(t - run.from / 1000).toFixed(4));
  runA = kept;
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // Too long for the storage: it is kept until the page is left.
  }
  toast('Kept as A. Start another run: its curves lie over A.');
  emit('overlay');
  show();
}

function drop() {
  runA = null;
  sessionStorage.removeItem(KEY);
  emit('overlay');
  show();
}

// The run that is compared with A: that of the sender shown.
function runB() {
  const id = senderOf(store.samples.at(-1)) ?? transfers().at(-1)?.id;
  const from = store.firstSeen.get(id);
  return id === undefined || from === undefined || id === runA?.summary.id ? null : { id, from };
}

// A column of A on the time axis of now: the nearest sample, or nothing.
export function overlayColumn(name) {
  const out = new Array(columns.t.length).fill(null);
  const b = runA && runB();
  if (!b) return out;
  const { t, [name]: values } = runA.columns;
  let at = 0;
  for (let i = Math.max(0, indexAt(b.from / 1000)); i < out.length; i += 1) {
    const wanted = columns.t[i] - b.from / 1000;
    while (at + 1 < t.length && Math.abs(t[at + 1] - wanted) <= Math.abs(t[at] - wanted)) at += 1;
    if (at < t.length && Math.abs(t[at] - wanted) <= NEAR_S) out[i] = values[at];
  }
  return out;
}

export function overlayName() {
  if (!runA) return '';
  return runB() ? `dashed: run A (${runA.summary.id})` : 'run A is kept: start another one';
}

function show() {
  if (!parts || !visible(parts.table)) return;
  const list = transfers().reverse();
  const key = JSON.stringify([list, runA?.summary.id]);
  if (parts.table.dataset.key === key) return;
  parts.table.dataset.key = key;
  parts.empty.hidden = list.length > 0;
  parts.table.replaceChildren(...list.map((run) => {
    const one = summary(run);
    const isA = run.id === runA?.summary.id;
    return el('tr', {}, el('td', {}, isA ? `A: ${run.id}` : run.id), el('td', { class: 'num' }, format.duration(run.to - run.from)), el('td', { class: 'num' }, format.bytes(one.acknowledged_bytes)),
      el('td', { class: 'num' }, format.bits(one.goodput_bytes_per_second === null ? null : one.goodput_bytes_per_second * 8)), el('td', { class: 'num' }, format.count(one.lost_packets)),
      el('td', {}, el('button', { type: 'button', class: 'small', 'aria-label': `Keep ${run.id} as A`, disabled: isA, onclick: () => keep(run) }, 'Keep as A')));
  }));
  const newest = list.find((run) => run.id !== runA?.summary.id);
  parts.compare.hidden = !runA;
  if (!runA) return;
  const a = runA.summary;
  const b = newest ? summary(newest) : null;
  parts.sides.replaceChildren(...SHOWN.map(([name, label, say]) => el('tr', { class: name === 'seed' && b && b.seed !== a.seed ? 'differs' : '' }, el('th', { scope: 'row' }, label), el('td', { class: 'num' }, say(a[name] ?? null)), el('td', { class: 'num' }, b ? say(b[name] ?? null) : '–'))));
  say(parts.seeds, b && a.seed !== b.seed ? 'The seeds differ, so the dice fell differently. Start both proxies with the same --seed.' : '');
}

function scenarios() {
  const { running, last, canned = [] } = store.scenario ?? {};
  parts.scenarios.hidden = canned.length === 0;
  const chosen = parts.canned.value;
  parts.canned.replaceChildren(...canned.map(({ name, title }) => el('option', { value: name, selected: name === chosen }, title || name)));
  about();
  parts.stop.disabled = !running;
  parts.play.disabled = Boolean(running);
  say(parts.played, running ? `${running.name}: ${format.duration(running.at_ms)} of ${format.duration(running.total_ms)}`
    : last ? `${last.name}: ${verdict(last, canned)}` : '');
}

// Null: only what sees both ends can judge it.
function verdict({ name, passed, failures }, canned) {
  if (passed === null) {
    const command = canned.find((one) => one.name === name)?.command ?? `stream-lab run ${name}`;
    return `is over; nothing of it can be judged here: run \`${command}\``;
  }
  return passed ? 'as expected' : `not as expected: ${(failures ?? []).join('; ')}`;
}

function about() {
  const one = (store.scenario?.canned ?? []).find(({ name }) => name === parts.canned.value);
  say(parts.what, one?.what ?? '');
  say(parts.command, one?.command ?? '');
}

const exported = () => ({ version: store.version, exported_at: new Date().toISOString(), config: store.config, proxies: store.proxies, marks: store.marks, runs: transfers().map(summary), run_a: runA, samples: store.samples });

export function mount(root) {
  parts = {
    table: el('tbody'), sides: el('tbody'),
    empty: el('p', { class: 'empty' }, 'No transfer yet. Start one: ', el('code', {}, `stream-sender --udp --file FILE --controller ${location.origin}`)),
    seeds: el('p', { class: 'note' }),
    what: el('p', { class: 'quiet' }), command: el('code', { class: 'block' }), played: el('p', { class: 'measured', id: 'scenario-state' }),
    canned: el('select', { 'aria-label': 'Scenario', id: 'scenario', onchange: about }),
    play: el('button', { type: 'button', onclick: () => attempt('scenario', () => api.post('/v1/scenario', { name: parts.canned.value })) }, 'Play'),
    stop: el('button', { type: 'button', onclick: () => attempt('scenario', () => api.remove('/v1/scenario')) }, 'Stop'),
  };
  parts.compare = el('section', { hidden: true, 'aria-label': 'Comparison' }, el('div', { class: 'bar' }, el('h3', {}, 'A and B'), el('span', { class: 'stretch' }), el('button', { type: 'button', onclick: drop }, 'Forget A')),
    el('table', { id: 'compare' }, el('thead', {}, el('tr', {}, el('td'), el('th', { scope: 'col', class: 'num' }, 'A (dashed)'), el('th', { scope: 'col', class: 'num' }, 'B, the newest'))), parts.sides), parts.seeds);
  parts.scenarios = el('section', { 'aria-label': 'Scenarios', hidden: true }, el('div', { class: 'bar' }, el('h3', {}, 'Scenarios')), el('div', { class: 'bar' }, parts.canned, parts.play, parts.stop), parts.what, parts.command, parts.played);
  root.append(
    el('div', { class: 'bar' }, el('h3', {}, 'Runs'), el('span', { class: 'stretch' }),
      el('button', { type: 'button', id: 'export-csv', onclick: () => save('samples.csv', 'text/csv', csv(COLUMNS, COLUMNS.map((name) => columns[name]))) }, 'CSV'),
      el('button', { type: 'button', id: 'export-json', onclick: () => save('lab.json', 'application/json', JSON.stringify(exported(), null, 1)) }, 'JSON'),
      el('button', { type: 'button', onclick: picture }, 'PNG')),
    parts.empty,
    el('div', { class: 'table-frame short' }, el('table', { id: 'runs' }, el('thead', {}, el('tr', {}, [['sender'], ['time', 'num'], ['bytes', 'num'], ['goodput', 'num'], ['lost', 'num'], ['']].map(([text, style]) => el('th', { scope: 'col', class: style }, text)))), parts.table)),
    parts.compare, parts.scenarios);
  let last = 0;
  on('sample', ({ t_ms }) => {
    if (t_ms - last < 1000 && t_ms > last) return;
    last = t_ms;
    show();
    emit('overlay');
  });
  on('tab', show);
  on('forget', show);
  on('scenario', scenarios);
  emit('overlay');
}

// All four charts below each other, as they are on the screen.
function picture() {
  const parts = [...document.querySelectorAll('#plots canvas')];
  const width = Math.max(...parts.map((canvas) => canvas.width));
  const whole = el('canvas', { width, height: parts.reduce((sum, canvas) => sum + canvas.height, 0) });
  const ctx = whole.getContext('2d');
  ctx.fillStyle = getComputedStyle(document.body).backgroundColor;
  ctx.fillRect(0, 0, whole.width, whole.height);
  let y = 0;
  for (const canvas of parts) {
    ctx.drawImage(canvas, 0, y);
    y += canvas.height;
  }
  whole.toBlob((blob) => blob && saveBlob('charts.png', blob));
}
