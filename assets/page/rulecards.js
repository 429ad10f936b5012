// One card for each rule: what it does, a slider with a number for each of its values, what was measured.

import * as api from './api.js';
import { attempt, el, say, throttled } from './dom.js';
import * as format from './format.js';

const APPLY_MS = 60;
const pct = (key = 'pct', label = 'of the packets') => ({ key, label, unit: '%', max: 100, step: 0.1 });
const time = (key, label, max) => ({ key, label, unit: 'ms', max, step: 1 });

// type -> title, first values, and the values that can be moved. `log`: the slider moves by powers of ten.
export const KINDS = {
  loss: { title: 'Random loss', first: { pct: 2 }, fields: [pct()] },
  gilbert: { title: 'Loss in bursts', first: { loss_pct: 2, mean_burst: 4 }, fields: [pct('loss_pct'), { key: 'mean_burst', label: 'mean burst', unit: 'packets', min: 1, max: 50, step: 0.5 }] },
  delay: { title: 'Delay', first: { delay_ms: 50 }, fields: [time('delay_ms', 'delay', 1000), time('jitter_ms', 'jitter', 300), { key: 'distribution', label: 'shape of jitter', choices: ['none', 'uniform', 'normal', 'pareto'] }] },
  rate: { title: 'Rate and queue', first: { kbit: 5000 }, fields: [{ key: 'kbit', label: 'rate', unit: 'kbit/s', min: 16, max: 1_000_000, log: true }, { key: 'queue.limit_bytes', label: 'queue', unit: 'bytes', empty: '200 ms', min: 1500, max: 4_194_304, log: true }, { key: 'queue.type', label: 'when it fills', choices: ['droptail', 'codel'] }] },
  reorder: { title: 'Reordering', first: { pct: 2, hold_ms: 10 }, fields: [pct(), time('hold_ms', 'held for', 300)] },
  duplicate: { title: 'Duplicates', first: { pct: 2 }, fields: [pct(), { key: 'copies', label: 'copies', unit: '', min: 1, max: 5, step: 1 }] },
  corrupt: { title: 'Damage', first: { pct: 2, mode: 'bitflip' }, fields: [pct(), { key: 'mode', label: 'how', choices: ['bitflip', 'zero', 'truncate'] }] },
  mtu: { title: 'Largest packet', first: { bytes: 1400 }, fields: [{ key: 'bytes', label: 'bytes', unit: 'bytes', min: 100, max: 9000, step: 1 }] },
  onoff: { title: 'On and off', first: { on_ms: 1000, off_ms: 200 }, fields: [time('on_ms', 'passes', 5000), time('off_ms', 'loses', 5000)] },
  blackhole: { title: 'Cut', first: {}, fields: [] },
  next: { title: 'The next packets', first: { n: 1 }, fields: [] },
  drop_list: { title: 'These packets', fields: [] },
  trace: { title: 'Recorded link', fields: [] },
  rebind: { title: 'Other ports', fields: [] },
};

const read = (rule, key) => key.split('.').reduce((value, part) => value?.[part], rule);

// A nested key is sent with its whole object, for the controller replaces objects.
function change(rule, key, value) {
  const [outer, inner] = key.split('.');
  if (!inner) return { [outer]: value };
  const whole = { ...rule[outer], [inner]: value };
  if (inner === 'limit_bytes') delete whole.limit_packets;
  return { [outer]: whole };
}

let serial = 0;

// Slider and number show the same value; `apply` gets it. Returns the elements and how to set them.
export function slider({ label, unit, min = 0, max, step = 1, log = false, most = max, name, empty }, apply) {
  serial += 1;
  const id = `field-${serial}`;
  const toTrack = (value) => (log ? Math.log(Math.max(value, min) / min) / Math.log(max / min) * 1000 : value);
  const toValue = (track) => {
    if (!log) return Number(track);
    const value = min * (max / min) ** (track / 1000);
    const digit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
    return Math.round(value / digit) * digit;
  };
  const track = el('input', { type: 'range', id, min: log ? 0 : min, max: log ? 1000 : max, step: log ? 1 : step, 'data-field': name });
  const number = el('input', { type: 'number', min, max: most, step: 'any', placeholder: empty, 'aria-label': `${label}${unit ? `, ${unit}` : ''}` });
  const spoken = (value) => track.setAttribute('aria-valuetext', `${value} ${unit ?? ''}`);
  const send = throttled(APPLY_MS, apply);
  let touched = -Infinity;
  track.addEventListener('input', () => {
    touched = performance.now();
    number.value = String(toValue(track.value));
    spoken(number.value);
    send(Number(number.value));
  });
  number.addEventListener('change', () => {
    if (number.value === '' || !number.checkValidity()) {
      number.reportValidity();
      return;
    }
    touched = performance.now();
    track.value = String(toTrack(Number(number.value)));
    spoken(number.value);
    send(Number(number.value));
  });
  const row = el('div', { class: 'field' }, el('label', { for: id }, label), track, el('span', { class: 'number' }, number, el('span', { class: 'unit' }, unit ?? '')));
  return {
    row,
    // What others changed shows, but never under the hand of who moves it.
    set(value) {
      if (document.activeElement === number || performance.now() - touched < 600) return;
      const text = value === undefined || value === null ? '' : String(+Number(value).toFixed(3));
      if (number.value !== text) number.value = text;
      const place = String(toTrack(value ?? min));
      if (track.value !== place) track.value = place;
      spoken(text);
    },
  };
}

function choice({ key, label, choices }, apply) {
  serial += 1;
  const select = el('select', { id: `field-${serial}`, 'data-field': key, onchange: () => apply(select.value) }, choices.map((one) => el('option', { value: one }, one)));
  return {
    row: el('div', { class: 'field' }, el('label', { for: select.id }, label), select),
    set(value) {
      if (document.activeElement !== select) select.value = value ?? choices[0];
    },
  };
}

export const pathOf = (proxy, rule) => `/v1/proxies/${encodeURIComponent(proxy)}/rules${rule ? `/${encodeURIComponent(rule)}` : ''}`;

export function card(proxyId, first) {
  const kind = KINDS[first.type] ?? { title: first.type, fields: [] };
  let rule = first;
  const patch = (key) => async (value) => {
    await attempt(kind.title, () => api.patch(pathOf(proxyId, rule.id), change(rule, key, value)));
  };
  const fields = kind.fields.map((field) => {
    const made = field.choices ? choice(field, patch(field.key)) : slider({ ...field, name: field.key }, patch(field.key));
    return [field.key, made];
  });
  const words = el('code', { class: 'words' });
  const measured = el('p', { class: 'measured' });
  const hits = el('p', { class: 'quiet' });
  const node = el('article', { class: 'card', 'data-rule': first.id, 'aria-label': `${kind.title}, ${first.name}` },
    el('header', {}, el('h4', {}, kind.title), el('span', { class: 'quiet name' }, first.name), words,
      el('button', { type: 'button', class: 'small', 'aria-label': `Remove ${kind.title} ${first.name}`, title: 'Remove', onclick: () => attempt('remove', () => api.remove(pathOf(proxyId, rule.id))) }, '×')),
    fields.map(([, made]) => made.row), measured, hits);
  const update = (newest) => {
    rule = newest;
    say(words, kind.fields.length ? '' : format.rule(rule));
    for (const [key, made] of fields) made.set(read(rule, key));
    const seen = (rule.observations ?? []);
    measured.hidden = seen.length === 0;
    measured.classList.toggle('differs', seen.some(format.differs));
    say(measured, seen.map(format.observation).join(', '));
    const { seen: came = 0, hit = 0, dropped = 0 } = rule.counters ?? {};
    say(hits, `${format.count(hit)} of ${format.count(came)} packets${dropped && dropped !== hit ? `, ${format.count(dropped)} dropped` : ''}`);
  };
  update(first);
  return { node, update };
}
