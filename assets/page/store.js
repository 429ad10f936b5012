// What the page knows, in one place, and who wants to hear of it. Everything here is bounded.

const MOST = { samples: 6000, marks: 500, log: 1000, packets: 5000 };

export const store = {
  version: '',
  config: {},
  endpoints: new Map(),
  firstSeen: new Map(), // id of an endpoint -> when it came, in ms
  proxies: [],
  presets: [],
  scenario: null,
  samples: [], // Stats, oldest first
  marks: [],
  log: [],
  packets: [],
  missedPackets: 0,
  chosen: { sender: null, proxy: null }, // null: the newest sender, the first proxy
  clearedAt: null, // "Clear Chart": what is older is not shown in the data-flow chart
};

const listeners = new Map();

export function on(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic).add(listener);
}

export function emit(topic, value) {
  for (const listener of listeners.get(topic) ?? []) listener(value);
}

function push(list, most, items) {
  list.push(...items);
  if (list.length > most + most / 10) list.splice(0, list.length - most);
}

export function addSample(sample) {
  const last = store.samples.at(-1);
  if (last && sample.t_ms <= last.t_ms) return; // already here: the history and the live events overlap
  for (const id of Object.keys(sample.endpoints ?? {})) {
    if (!store.firstSeen.has(id)) store.firstSeen.set(id, sample.t_ms);
  }
  push(store.samples, MOST.samples, [sample]);
  emit('sample', sample);
}

export function addMark(mark) {
  push(store.marks, MOST.marks, [mark]);
  emit('marks');
}

export function addLog(line) {
  push(store.log, MOST.log, [line]);
  emit('log', line);
}

export function addPackets(packets, missed = 0) {
  const newest = store.packets.at(-1)?.id ?? -1;
  const fresh = packets.filter((packet) => packet.id > newest);
  store.missedPackets += missed;
  push(store.packets, MOST.packets, fresh);
  emit('packets', fresh);
}

export function setConfig(config) {
  store.config = config;
  emit('config');
}

export function setProxy(proxy) {
  const place = store.proxies.findIndex((other) => other.id === proxy.id);
  if (place < 0) store.proxies.push(proxy);
  else store.proxies[place] = proxy;
  emit('proxies');
}

export function dropProxy(id) {
  store.proxies = store.proxies.filter((proxy) => proxy.id !== id);
  if (store.chosen.proxy === id) store.chosen.proxy = null;
  emit('proxies');
}

export function setEndpoint(endpoint) {
  if (endpoint.gone) store.endpoints.delete(endpoint.id);
  else store.endpoints.set(endpoint.id, endpoint);
  emit('endpoints');
}

export function setState(state) {
  store.version = state.version;
  store.config = state.config;
  store.endpoints = new Map(Object.entries(state.endpoints ?? {}));
  store.proxies = state.proxies ?? [];
  store.presets = state.presets ?? [];
  store.scenario = state.scenario ?? null;
  for (const topic of ['config', 'endpoints', 'proxies', 'presets', 'scenario']) emit(topic);
}

// The past as the controller kept it. Replaces ours: the controller may be a new one.
export function setHistory(history, packets) {
  forget();
  store.marks = [...(history.marks ?? [])];
  store.log = [...(history.log ?? [])];
  for (const sample of history.stats ?? []) addSample(sample);
  addPackets(packets ?? []);
  emit('marks');
  emit('log', null);
}

export function forget() {
  Object.assign(store, { samples: [], marks: [], packets: [], missedPackets: 0, clearedAt: null });
  store.firstSeen.clear();
  emit('forget');
}

export const chosenProxy = () =>
  store.proxies.find((proxy) => proxy.id === store.chosen.proxy) ?? store.proxies.find((proxy) => proxy.attached) ?? store.proxies[0] ?? null;

// The sender that the charts show at one moment: the chosen one, or that which came last.
export function senderOf(sample) {
  let best = null;
  for (const [id, endpoint] of Object.entries(sample?.endpoints ?? {})) {
    if (endpoint.role !== 'client') continue;
    if (id === store.chosen.sender) return id;
    if (best === null || store.firstSeen.get(id) >= store.firstSeen.get(best)) best = id;
  }
  return best;
}

export const newestOf = (role) =>
  [...store.endpoints.values()].filter((endpoint) => endpoint.role === role).at(-1) ?? null;
