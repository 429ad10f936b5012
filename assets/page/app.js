// The page: puts the panels in their places, and does what belongs to none of them: tabs, keys, the banner, the token.

import * as activity from './activity.js';
import * as api from './api.js';
import * as charts from './charts.js';
import * as dataflow from './dataflow.js';
import { attempt, el, say } from './dom.js';
import * as ladder from './ladder.js';
import * as live from './live.js';
import * as network from './network.js';
import * as packets from './packets.js';
import * as runs from './runs.js';
import * as sequence from './sequence.js';
import { emit, on, store } from './store.js';
import * as topology from './topology.js';

const PANELS = [
  ['network', 'Network', network], ['sequence', 'Sequence', sequence], ['ladder', 'Ladder', ladder], ['packets', 'Packets', packets],
  ['activity', 'Threads & log', activity], ['runs', 'Runs', runs], ['flow', 'Data flow', dataflow],
];
const TAB = 'securestream.tab';
const $ = (id) => document.getElementById(id);
const tabs = new Map();

function select(name, focus = false) {
  for (const [other, { tab, panel }] of tabs) {
    const chosen = other === name;
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    panel.hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  sessionStorage.setItem(TAB, name);
  emit('tab', name);
}

function step(by) {
  const names = [...tabs.keys()];
  const at = names.findIndex((name) => !tabs.get(name).panel.hidden);
  select(names[(at + by + names.length) % names.length], true);
}

function mountTabs() {
  const list = $('tabs');
  for (const [name, label, module] of PANELS) {
    const tab = el('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': `panel-${name}`, onclick: () => select(name) }, label);
    const panel = el('div', { role: 'tabpanel', id: `panel-${name}`, class: 'panel', 'aria-labelledby': `tab-${name}`, hidden: true });
    tabs.set(name, { tab, panel });
    list.append(tab);
    $('panels').append(panel);
    module.mount(panel);
  }
  list.addEventListener('keydown', (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
}

// Keys for everywhere but fields, where they are letters.
function key(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest('input, select, textarea, dialog')) return;
  const number = Number(event.key);
  if (number >= 1 && number <= PANELS.length) select(PANELS[number - 1][0], true);
  else if (event.key === ' ' && !event.target.closest('button, summary, [tabindex="0"]:not(#plots)')) charts.togglePause();
  else if (event.key === 'w') widen();
  else if (event.key === '?') $('help').showModal();
  else return;
  event.preventDefault();
}

function widen() {
  const wide = document.body.classList.toggle('wide');
  $('widen').setAttribute('aria-pressed', String(wide));
}

function banner(error) {
  const place = $('banner');
  place.hidden = error === null;
  document.body.classList.toggle('lost', error !== null);
  if (error === null) return;
  const denied = error.status === 401;
  say($('banner-text'), denied ? 'This controller wants a token. It was printed where it started.'
    : error.status ? `The controller refuses: ${error.message}. Trying again…`
      : `No connection to the controller: ${error.message}. What is shown is old. Trying again each second…`);
  $('token-form').hidden = !denied;
  say($('link-state'), denied ? 'token needed' : 'not connected');
}

function start() {
  topology.mount($('topology'));
  charts.mount($('charts'));
  mountTabs();
  const remembered = sessionStorage.getItem(TAB);
  select(tabs.has(remembered) ? remembered : PANELS[0][0]);
  document.addEventListener('keydown', key);
  $('widen').addEventListener('click', widen);
  $('help-open').addEventListener('click', () => $('help').showModal());
  $('reset-all').addEventListener('click', () => attempt('reset', () => api.post('/v1/reset', {})));
  $('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    api.keepToken($('token').value);
    live.start();
  });
  on('connected', (connected) => {
    if (!connected) return;
    banner(null);
    say($('link-state'), `connected · ${store.version}`);
  });
  on('lost', banner);
  live.start();
}

start();
