// Keeps the page in step with the controller: state, history, then events. When the controller is gone it says so and
// tries again each second; when it is back everything is read anew, so that a restart cannot leave old and new mixed.

import * as api from './api.js';
import {
  addLog, addMark, addPackets, addSample, dropProxy, emit, forget, setConfig, setEndpoint, setHistory, setProxy, setState, store,
} from './store.js';

const RETRY_MS = 1000;
const SILENCE_MS = 5000; // the controller sends ten samples a second
const OPENING_MS = 5000;

let events = null;
let heard = 0;

export async function start() {
  const early = listen();
  try {
    const [state, history, packets] = await Promise.all([
      api.get('/v1/state'), api.get('/v1/history'), api.get('/v1/packets?limit=2000'),
    ]);
    await early.opened; // last, so that a missing token is told by the others, which know their status
    if (!early.isCurrent()) return;
    setState(state);
    setHistory(history, packets.packets);
    early.release();
    emit('connected', true);
  } catch (error) {
    if (early.isCurrent()) lost(error);
  }
}

// Events that come while the history is on its way wait for it.
function listen() {
  events?.close();
  heard = performance.now();
  let waiting = [];
  let fault = null;
  const take = (name, handle) => (event) => {
    heard = performance.now();
    const data = JSON.parse(event.data);
    if (waiting) waiting.push([handle, data]);
    else handle(data);
  };
  const source = new EventSource(api.eventsAddress());
  for (const [name, handle] of Object.entries(handlers)) source.addEventListener(name, take(name, handle));
  const opened = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new api.ApiError(0, 'no events come')), OPENING_MS);
    source.onopen = () => {
      clearTimeout(timer);
      resolve();
    };
    source.onerror = () => {
      clearTimeout(timer);
      if (events !== source) return;
      // The browser tries again where the connection broke, and never where the answer was another one than 200.
      fault = source.readyState === EventSource.CLOSED ? new api.ApiError(503, 'too many pages follow the events already')
        : new api.ApiError(0, 'the connection broke');
      if (waiting === null) lost(fault);
      else reject(fault);
    };
  });
  opened.catch(() => {}); // start() hears of it, unless it has failed before
  events = source;
  return {
    opened,
    isCurrent: () => events === source,
    release() {
      if (fault) throw fault; // it was open, and broke while the history was on its way
      const held = waiting;
      waiting = null;
      for (const [handle, data] of held) handle(data);
    },
  };
}

const handlers = {
  stats: addSample,
  mark: addMark,
  log: addLog,
  config: setConfig,
  endpoint: setEndpoint,
  rules: ({ proxy, gone }) => (gone || proxy.gone ? dropProxy(proxy.id ?? proxy) : setProxy(proxy)),
  packets: ({ missed, packets }) => addPackets(packets, missed),
  scenario(scenario) {
    store.scenario = scenario;
    emit('scenario');
  },
  reset: forget,
};

function lost(error) {
  events?.close();
  events = null;
  emit('connected', false);
  emit('lost', error);
  if (error.status === 401) return; // a person has to type the token; the page starts again then
  setTimeout(start, RETRY_MS);
}

// A controller that hangs keeps the connection open, so silence has to be noticed as well. So does a connection that died
// on its way; then the controller answers others, and events still do not come.
async function watch() {
  if (!events || document.hidden || performance.now() - heard < SILENCE_MS) return;
  const source = events;
  const asked = performance.now();
  heard = asked;
  try {
    await api.get('/v1/health');
    if (heard === asked) throw new api.ApiError(0, 'it answers, but its events do not come');
  } catch (error) {
    if (events === source) lost(error);
  }
}

setInterval(watch, RETRY_MS);
