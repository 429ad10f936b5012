// The packets that went through the proxy, newest first; one of them in full: header, bytes, and what a man in the
// middle cannot see of it.

import * as api from './api.js';
import { attempt, el, say, visible } from './dom.js';
import * as format from './format.js';
import { saveFrom } from './download.js';
import { on, store } from './store.js';

const ROWS = 200;
let parts;
let frozen = null; // the list as it was when it was paused
let chosen = null;

const kept = (packet) => {
  const { way, verdict } = parts;
  return (way.value === '' || packet.direction === way.value) && (verdict.value === '' || (verdict.value === 'again' ? packet.retransmission : packet.verdict === verdict.value));
};

// A packet that a rule held and let go has passed, only later.
function fate({ verdict, rule, retransmission, t_ms, left_ms }) {
  if (verdict === 'held' && typeof left_ms === 'number') return `held ${format.millis(left_ms - t_ms)}`;
  if (verdict !== 'passed') return rule ? `${verdict} (${rule})` : verdict;
  return retransmission ? 'passed, again' : 'passed';
}

const dash = (value) => (value === null || value === undefined ? '–' : format.count(value));

function row(packet) {
  const way = packet.direction === 'up' ? '→' : '←';
  const what = packet.frames ?? packet.type ?? packet.form;
  return el('tr', { 'data-id': packet.id, tabindex: '-1', class: `${packet.verdict}${packet.retransmission ? ' again' : ''}`, 'aria-selected': String(packet.id === chosen) },
    el('td', { class: 'num' }, format.seconds(packet.t_ms)), el('td', { title: packet.direction === 'up' ? 'client to server' : 'server to client' }, way),
    el('td', { class: 'what', title: `${packet.form} ${packet.type ?? ''} ${packet.frames ?? ''}` }, what), el('td', { class: 'num' }, dash(packet.number)), el('td', { class: 'num' }, dash(packet.offset)),
    el('td', { class: 'num' }, dash(packet.length ?? packet.size)), el('td', { class: 'verdict' }, fate(packet)));
}

function show() {
  if (!visible(parts.table)) return;
  const all = frozen ?? store.packets;
  const list = [];
  for (let i = all.length - 1; i >= 0 && list.length < ROWS; i -= 1) if (kept(all[i])) list.push(all[i]);
  const old = new Map([...parts.body.children].map((node) => [Number(node.dataset.id), node]));
  const held = document.activeElement?.closest?.('tr')?.dataset.id;
  parts.body.replaceChildren(...list.map((packet) => old.get(packet.id) ?? row(packet)));
  const first = parts.body.querySelector(`tr[data-id="${chosen}"]`) ?? parts.body.firstElementChild;
  for (const node of parts.body.children) node.tabIndex = node === first ? 0 : -1;
  if (held) parts.body.querySelector(`tr[data-id="${held}"]`)?.focus({ preventScroll: true });
  say(parts.count, `${format.count(list.length)} of ${format.count(all.length)}${store.missedPackets ? `, ${format.count(store.missedPackets)} more not kept` : ''}`);
  parts.empty.hidden = all.length > 0;
}

async function open(id) {
  pause(true); // a row under the eyes must not run away
  chosen = id;
  for (const node of parts.body.children) node.setAttribute('aria-selected', String(Number(node.dataset.id) === id));
  const packet = await attempt('packet', () => api.get(`/v1/packets/${id}`));
  if (!packet || chosen !== id) return;
  parts.detail.hidden = false;
  const unseen = packet.unseen ?? [];
  const decoded = (packet.decoded ?? []).map(({ depth, text }) => {
    const line = el('li', {}, text);
    line.style.paddingLeft = `${depth * 1.2}em`;
    return line;
  });
  parts.detail.replaceChildren(
    el('div', { class: 'bar' }, el('h4', {}, `Packet ${packet.id} `, el('span', { class: 'quiet' }, `${packet.direction === 'up' ? 'client → server' : 'server → client'} · ${format.bytes(packet.size)} · ${packet.mode} · ${packet.verdict}${packet.rule ? ` by ${packet.rule}` : ''}`)),
      el('span', { class: 'stretch' }), el('button', { type: 'button', class: 'small', 'aria-label': 'Close', onclick: close }, '×')),
    el('p', { class: 'quiet' }, `reached the proxy at ${format.seconds(packet.t_ms)} s, ${packet.left_ms === null || packet.left_ms === undefined ? 'never left it' : `left it ${format.millis(packet.left_ms - packet.t_ms)} later`}`),
    el('ul', { class: 'decoded' }, decoded.length ? decoded : el('li', {}, 'nothing could be read')),
    ...(unseen.length ? [el('h4', {}, 'What a man in the middle cannot see'), el('ul', { class: 'unseen' }, unseen.map((text) => el('li', {}, text)))]
      : [el('p', { class: 'note' }, 'Nothing of this packet is hidden from a man in the middle.')]),
    el('h4', {}, 'Bytes'), el('pre', { class: 'hex', tabindex: '0', 'aria-label': 'Bytes in hexadecimal' }, dump(packet.hex ?? '')));
}

function close() {
  parts.detail.hidden = true;
  const back = parts.body.querySelector(`tr[data-id="${chosen}"]`);
  chosen = null;
  back?.setAttribute('aria-selected', 'false');
  back?.focus();
}

function dump(hex) {
  const lines = [];
  for (let at = 0; at < hex.length; at += 32) {
    const pairs = hex.slice(at, at + 32).match(/../g) ?? [];
    const letters = pairs.map((pair) => {
      const code = parseInt(pair, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : '.';
    });
    lines.push(`${(at / 2).toString(16).padStart(4, '0')}  ${pairs.slice(0, 8).join(' ').padEnd(24)} ${pairs.slice(8).join(' ').padEnd(24)} ${letters.join('')}`);
  }
  return lines.join('\n');
}

function pause(on) {
  if (on === (frozen !== null)) return;
  frozen = on ? [...store.packets] : null;
  parts.pause.setAttribute('aria-pressed', String(on));
  say(parts.pause, on ? 'Live' : 'Pause');
  show();
}

function key(event) {
  const node = event.target.closest('tr[data-id]');
  if (!node) return;
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  if (step) {
    pause(true);
    const place = parts.body.querySelector(`tr[data-id="${node.dataset.id}"]`);
    const to = place?.[step];
    if (to) {
      place.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    }
  } else if (event.key === 'Enter') open(Number(node.dataset.id));
  else if (event.key === 'Escape') close();
  else return;
  event.preventDefault();
}

export function mount(root) {
  const filter = (label, list) => el('select', { 'aria-label': label, onchange: () => show() }, list.map(([value, text]) => el('option', { value }, text)));
  parts = {
    way: filter('Direction', [['', 'both ways'], ['up', 'client → server'], ['down', 'server → client']]),
    verdict: filter('Verdict', [['', 'all packets'], ['passed', 'passed'], ['dropped', 'dropped'], ['held', 'held'], ['duplicated', 'duplicated'], ['corrupted', 'damaged'], ['again', 'sent again']]),
    pause: el('button', { type: 'button', onclick: () => pause(frozen === null) }, 'Pause'),
    count: el('span', { class: 'quiet' }),
    body: el('tbody', { onkeydown: key, onclick: (event) => {
      const node = event.target.closest('tr[data-id]');
      if (node) open(Number(node.dataset.id));
    } }),
    empty: el('p', { class: 'empty' }, 'No packets yet. They are seen where a proxy with --controller stands between the ends.'),
    detail: el('section', { class: 'detail', id: 'packet-detail', 'aria-label': 'Chosen packet', hidden: true, onkeydown: (event) => { if (event.key === 'Escape') close(); } }),
  };
  parts.table = el('div', { class: 'table-frame' }, el('table', { id: 'packet-table' },
    el('thead', {}, el('tr', {}, ['time, s', 'way', 'type', 'number', 'offset', 'bytes', 'verdict'].map((text, i) => el('th', { scope: 'col', class: [0, 3, 4, 5].includes(i) ? 'num' : '' }, text)))), parts.body));
  root.append(
    el('div', { class: 'bar' }, parts.way, parts.verdict, parts.pause, el('span', { class: 'stretch' }), parts.count),
    parts.empty, parts.table, parts.detail,
    el('div', { class: 'bar' }, el('button', { type: 'button', onclick: () => saveFrom('/v1/capture.pcapng', 'capture.pcapng') }, 'Capture for Wireshark'), el('button', { type: 'button', onclick: () => saveFrom('/v1/trace.sqlog', 'trace.sqlog') }, 'Trace for qvis')));
  let waiting = false;
  const soon = () => {
    if (waiting || frozen) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      show();
    }, 200);
  };
  on('packets', soon);
  on('tab', show);
  on('forget', () => {
    pause(false);
    parts.detail.hidden = true;
    chosen = null;
    show();
  });
}
