// Threads of every process, and the log.

import * as api from './api.js';
import { el, say, visible } from './dom.js';
import * as format from './format.js';
import { on, store } from './store.js';

const EVERY_MS = 1000;
const LINES = 300;
let parts;
let before = new Map(); // source/name -> [cpu_ms, when]

async function threads() {
  if (!visible(parts.body)) return;
  let told;
  try {
    told = (await api.get('/v1/threads')).threads ?? [];
  } catch {
    return; // the banner says it
  }
  const now = performance.now();
  const next = new Map();
  const seen = new Map();
  // The first thread of a process has the name of its program.
  const programs = new Map();
  for (const { source, name } of told) if (name.startsWith('stream-') && !programs.has(source)) programs.set(source, name);
  parts.body.replaceChildren(...told.map((thread) => {
    const twin = `${thread.source}/${thread.name}`;
    const n = (seen.get(twin) ?? 0) + 1;
    seen.set(twin, n);
    const key = `${twin}/${n}`;
    next.set(key, [thread.cpu_ms, now]);
    const old = before.get(key);
    const load = old && now > old[1] && thread.cpu_ms >= old[0] ? (100 * (thread.cpu_ms - old[0])) / (now - old[1]) : null;
    const bar = el('i', { class: 'load' });
    bar.style.width = `${Math.min(100, load ?? 0)}%`;
    return el('tr', {}, el('td', {}, `${(programs.get(thread.source) ?? 'process').replace('stream-', '')} ${thread.source}`), el('td', {}, thread.name), el('td', { class: 'num' }, format.duration(thread.cpu_ms)),
      el('td', { class: 'load-cell' }, el('span', {}, load === null ? '–' : `${Math.round(load)} %`), bar), el('td', { class: 'num' }, format.count(thread.switches)), el('td', {}, thread.state ?? '–'));
  }));
  before = next;
  parts.empty.hidden = told.length > 0;
}

const SEVERE = { error: 0, warn: 1, info: 2, debug: 3, trace: 4 };

function line({ t_ms, source, level, text }) {
  return el('li', { class: `log-${level}` }, el('time', {}, format.seconds(t_ms)), el('span', { class: 'source' }, source), el('span', { class: 'level' }, level), el('span', { class: 'text' }, text));
}

function log() {
  if (!visible(parts.list)) return;
  const most = SEVERE[parts.level.value];
  const word = parts.word.value.toLowerCase();
  const said = new Set(store.log.map((one) => `${Math.round(one.t_ms / 10)} ${one.text}`));
  const marks = store.marks.filter((one) => !said.has(`${Math.round(one.t_ms / 10)} ${one.text}`)).map(({ t_ms, text }) => ({ t_ms, source: 'mark', level: 'info', text }));
  const all = [...store.log, ...marks].filter((one) => (SEVERE[one.level] ?? 2) <= most && (!word || `${one.source} ${one.text}`.toLowerCase().includes(word)))
    .sort((a, b) => a.t_ms - b.t_ms).slice(-LINES);
  const atEnd = parts.list.scrollTop + parts.list.clientHeight >= parts.list.scrollHeight - 20;
  parts.list.replaceChildren(...all.map(line));
  if (atEnd) parts.list.scrollTop = parts.list.scrollHeight;
  say(parts.count, `${format.count(all.length)} lines`);
}

export function mount(root) {
  parts = {
    body: el('tbody'),
    empty: el('p', { class: 'empty' }, 'No process reports its threads yet.'),
    list: el('ol', { class: 'log', id: 'log', tabindex: '0', 'aria-label': 'Log' }),
    level: el('select', { 'aria-label': 'Least level', onchange: log }, Object.keys(SEVERE).map((level) => el('option', { value: level, selected: level === 'info' }, level))),
    word: el('input', { type: 'search', placeholder: 'contains…', 'aria-label': 'Words in the log', oninput: log }),
    count: el('span', { class: 'quiet' }),
  };
  root.append(
    el('div', { class: 'bar' }, el('h3', {}, 'Threads')), parts.empty,
    el('div', { class: 'table-frame threads' }, el('table', {}, el('thead', {}, el('tr', {}, [['process'], ['thread'], ['CPU time', 'num'], ['load now'], ['switches', 'num'], ['state']].map(([text, style]) => el('th', { scope: 'col', class: style }, text)))), parts.body)),
    el('div', { class: 'bar' }, el('h3', {}, 'Log and changes'), el('span', { class: 'stretch' }), parts.count, parts.word, parts.level), parts.list);
  setInterval(threads, EVERY_MS);
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      log();
    }, 200);
  };
  on('log', soon);
  on('marks', soon);
  on('tab', () => {
    threads();
    log();
  });
}
