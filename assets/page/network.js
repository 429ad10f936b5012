// The network's controls: presets, rules of both directions, the cut, the next packets, and the receiver's read delay.

import * as api from './api.js';
import { attempt, el, toast } from './dom.js';
import { card, KINDS, pathOf, slider } from './rulecards.js';
import { chosenProxy, on, setConfig, store } from './store.js';

const WAYS = [['up', 'Client → server'], ['down', 'Server → client']];
const lanes = {};
let cards = new Map(); // id of a rule -> its card

export const delayWords = 'The receiver waits this long after each read of at most 2,048 bytes. Its buffer fills, its window closes, and the sender stops: that is flow control. Nothing on the link gets slower, so the round-trip time stays, and nothing is lost.';

const rules = (way) => (chosenProxy()?.rules ?? []).filter((rule) => rule.direction === way);

async function toggleCut(way) {
  const proxy = chosenProxy();
  if (!proxy) return;
  const cut = rules(way).find((rule) => rule.type === 'blackhole');
  await attempt('cut', () => (cut
    ? api.remove(pathOf(proxy.id, cut.id))
    : api.post(pathOf(proxy.id), { name: 'cut', type: 'blackhole', direction: way })));
}

async function dropNext(way, n) {
  const proxy = chosenProxy();
  if (!proxy) return;
  const armed = rules(way).find((rule) => rule.name === 'next' && rule.type === 'next');
  const done = await attempt('drop next', () => (armed
    ? api.patch(pathOf(proxy.id, armed.id), { n })
    : api.post(pathOf(proxy.id), { name: 'next', type: 'next', n, direction: way })));
  if (done) toast(`The next ${n === 1 ? 'packet' : `${n} packets`} ${way} will be dropped.`);
}

// A name that is free in this direction: loss, loss-2, ...
function freeName(way, kind) {
  const taken = new Set(rules(way).map((rule) => rule.name));
  let name = kind;
  for (let n = 2; taken.has(name); n += 1) name = `${kind}-${n}`;
  return name;
}

async function add(way, kind) {
  const proxy = chosenProxy();
  if (!proxy) return;
  await attempt('add', () => api.post(pathOf(proxy.id), { name: freeName(way, kind), type: kind, direction: way, ...KINDS[kind].first }));
}

function lane(way, title) {
  const cut = el('button', { type: 'button', class: 'cut', 'data-cut': way, 'aria-pressed': 'false', onclick: () => toggleCut(way) }, 'Cut');
  const n = el('input', { type: 'number', value: 1, min: 1, max: 1000, 'aria-label': `how many of the next packets ${way}` });
  const next = el('button', { type: 'button', 'data-next': way, onclick: () => n.reportValidity() && dropNext(way, Number(n.value)) }, 'Drop next');
  const list = el('div', { class: 'cards' });
  const more = el('select', { 'aria-label': `Add a rule, ${title}`, 'data-add': way, onchange: () => {
    const kind = more.value;
    more.value = '';
    if (kind) add(way, kind);
  } }, el('option', { value: '' }, '+ Add a rule'),
  ['loss', 'gilbert', 'delay', 'rate', 'reorder', 'duplicate', 'corrupt', 'mtu', 'onoff'].map((kind) => el('option', { value: kind }, KINDS[kind].title)));
  lanes[way] = { list, cut };
  return el('section', { class: 'lane-panel', 'aria-label': title },
    el('div', { class: 'bar' }, el('h3', {}, title)),
    el('div', { class: 'bar' }, cut, next, n),
    list, more);
}

function show() {
  const proxy = chosenProxy();
  lanes.none.hidden = Boolean(proxy);
  lanes.all.hidden = !proxy;
  const next = new Map();
  for (const [way] of WAYS) {
    const mine = rules(way);
    const nodes = mine.map((rule) => {
      const key = `${proxy.id}/${rule.id}/${rule.type}`;
      const made = cards.get(key) ?? card(proxy.id, rule);
      made.update(rule);
      next.set(key, made);
      return made.node;
    });
    const { list, cut } = lanes[way];
    const same = nodes.length === list.childElementCount && nodes.every((node, i) => list.children[i] === node);
    if (!same) list.replaceChildren(...nodes);
    const isCut = mine.some((rule) => rule.type === 'blackhole');
    cut.setAttribute('aria-pressed', String(isCut));
    cut.textContent = isCut ? 'Mend' : 'Cut';
  }
  cards = next;
}

function presets() {
  lanes.presets.replaceChildren(el('option', { value: '' }, 'Choose a network…'),
    ...store.presets.map((preset) => el('option', { value: preset.name }, `${preset.name}: ${preset.what}`)));
}

async function usePreset(body, what) {
  const proxy = chosenProxy();
  if (!proxy) return;
  const done = await attempt(what, () => api.post(`/v1/proxies/${encodeURIComponent(proxy.id)}/preset`, body));
  if (done) toast(`${what}: all rules replaced.`);
}

export function mount(root) {
  lanes.presets = el('select', { id: 'preset', 'aria-label': 'Preset', onchange: () => {
    const name = lanes.presets.value;
    lanes.presets.value = '';
    if (name) usePreset({ name }, name);
  } });
  const spec = el('input', { type: 'text', id: 'spec', placeholder: 'up: loss 2% burst 3; delay 40ms | down: loss 1%', 'aria-label': 'Rules in one line', spellcheck: 'false' });
  const byLine = el('form', { class: 'bar', onsubmit: (event) => {
    event.preventDefault();
    usePreset({ spec: spec.value }, 'rules in one line');
  } }, spec, el('button', { type: 'submit' }, 'Apply'), el('button', { type: 'button', id: 'no-rules', onclick: () => usePreset({ spec: '' }, 'no rules') }, 'No rules'));
  lanes.none = el('p', { class: 'empty' }, 'No proxy is attached, so there is nothing to impair. Start one and let the sender go through it: ',
    el('code', {}, `stream-proxy --udp --controller ${location.origin}`));
  lanes.all = el('div', {}, el('div', { class: 'bar' }, lanes.presets), byLine,
    el('div', { class: 'lanes-panel' }, WAYS.map(([way, title]) => lane(way, title))));
  const delay = slider({ label: 'wait after each read', unit: 's', max: 5, most: 60, step: 0.05, name: 'recv_delay' },
    (value) => attempt('receive delay', async () => setConfig(await api.post('/config', { recv_delay: value }))));
  root.append(lanes.none, lanes.all,
    el('section', { class: 'card wide', 'aria-label': 'Receive delay' }, el('header', {}, el('h4', {}, 'Receive delay')), delay.row, el('p', { class: 'quiet' }, delayWords)));
  on('proxies', show);
  on('choice', show);
  on('presets', presets);
  on('config', () => delay.set(store.config.recv_delay));
  show();
}

