// The path at a glance: sender, proxy, receiver; what flows now; what was asked of the link and what was measured.

import { el, say, visible } from './dom.js';
import * as format from './format.js';
import { chosenProxy, emit, newestOf, on, senderOf, store } from './store.js';

const parts = {};

function box(id, title) {
  const name = el('h3', {}, title);
  const state = el('span', { class: 'quiet' });
  const facts = el('dl', { class: 'facts' });
  const node = el('section', { class: 'node', id: `node-${id}`, 'aria-label': title }, el('div', { class: 'node-head' }, name, state), facts);
  parts[id] = { node, name, state, facts, cells: new Map() };
  return node;
}

function fact(id, label, text) {
  const { facts, cells } = parts[id];
  if (!cells.has(label)) {
    const value = el('dd');
    facts.append(el('div', {}, el('dt', {}, label), value));
    cells.set(label, value);
  }
  say(cells.get(label), text);
}

function arrow(id, way) {
  const bits = el('b', { id: `rate-${id}` });
  const packets = el('span');
  const node = el('div', { class: `arrow ${way}` }, el('div', { class: 'arrow-text' }, bits, packets), el('div', { class: 'shaft', 'aria-hidden': 'true' }));
  parts[id] = { node, bits, packets };
  return node;
}

function lane(way, label) {
  const rules = el('span', { class: 'lane-rules', id: `rules-${way}` });
  const queue = el('span');
  const fill = el('i', { class: 'queue-fill' });
  const node = el('div', { class: 'lane' }, el('span', { class: 'lane-name' }, label), rules, el('span', { class: 'lane-queue' }, queue, el('span', { class: 'queue', 'aria-hidden': 'true' }, fill)));
  parts[`lane-${way}`] = { rules, queue, fill, worst: 1 };
  return node;
}

// Rates over the last second: a tenth of one is too restless to read.
function pace(of) {
  const last = store.samples.at(-1);
  let first = last;
  for (let i = store.samples.length - 2; i >= 0 && last.t_ms - store.samples[i].t_ms <= 1050; i -= 1) first = store.samples[i];
  if (!last || first === last || last.t_ms === first.t_ms) return null;
  const [a, b] = [of(first), of(last)];
  if (!Number.isFinite(a) || !Number.isFinite(b) || b < a) return null;
  return ((b - a) * 1000) / (last.t_ms - first.t_ms);
}

function showArrow(id, bytesOf, packetsOf) {
  const { node, bits, packets } = parts[id];
  const bytes = pace(bytesOf);
  const many = pace(packetsOf);
  say(bits, bytes === null ? (many === null ? '–' : format.packets(many)) : format.bits(bytes * 8));
  say(packets, bytes === null || many === null ? '' : `${format.short(many)} packets/s`);
  node.classList.toggle('flowing', (many ?? 0) > 0);
}

function showLane(way, proxy, link) {
  const { rules, queue, fill } = parts[`lane-${way}`];
  const mine = (proxy?.rules ?? []).filter((rule) => rule.direction === way);
  const key = JSON.stringify(mine);
  if (rules.dataset.key !== key) {
    rules.dataset.key = key;
    rules.replaceChildren(...(mine.length ? mine.map(ruleText) : [el('span', { class: 'quiet' }, proxy ? 'no rules: everything passes' : '')]));
  }
  const held = link?.queue_packets ?? 0;
  const bytes = link?.queue_bytes ?? 0;
  const limit = mine.map((rule) => rule.queue?.limit_bytes).find(Boolean);
  const part = parts[`lane-${way}`];
  part.worst = Math.max(part.worst, bytes);
  say(queue, link ? `queue ${format.count(held)} · ${format.bytes(bytes)}` : '');
  fill.style.width = `${Math.min(100, (100 * bytes) / (limit ?? part.worst))}%`;
}

function ruleText(rule) {
  const seen = (rule.observations ?? []).filter((one) => one.configured !== null && one.configured !== undefined);
  if (!seen.length) return el('span', { class: 'rule-text' }, format.rule(rule));
  return el('span', { class: seen.some(format.differs) ? 'rule-text differs' : 'rule-text', title: `${format.rule(rule)}: configured → measured [95 % interval]` },
    seen.map(format.observation).join(', '));
}

function show() {
  if (!visible(parts.sender.node)) return;
  const last = store.samples.at(-1);
  const proxy = chosenProxy();
  const link = last?.proxies?.[proxy?.id];
  showEnd('sender', store.endpoints.get(senderOf(last)) ?? newestOf('client'), last, 'client');
  showEnd('receiver', newestOf('server'), last, 'server');

  const { node, state } = parts.proxy;
  node.classList.toggle('absent', !proxy);
  say(state, proxy
    ? `${proxy.listen} → ${proxy.target} · seed ${proxy.seed} · ${proxy.clients === 1 ? '1 client' : `${format.count(proxy.clients)} clients`}`
    : 'none attached');
  const light = parts.light;
  light.hidden = !proxy;
  light.className = proxy?.attached === false ? 'light gone' : proxy?.healthy === false ? 'light bad' : 'light good';
  say(light, proxy?.attached === false ? 'gone' : proxy?.healthy === false ? 'overloaded' : 'emulator healthy');
  light.title = proxy?.health ?? '';
  for (const way of ['up', 'down']) showLane(way, proxy, link?.[way]);
  parts.hint.hidden = Boolean(proxy);

  const linkOf = (way, key) => (sample) => sample.proxies?.[proxy?.id]?.[way]?.[key];
  const sampleOf = (key) => (sample) => sample.sample?.[key];
  const gauge = (role, key) => (sample) => {
    const id = role === 'client' ? senderOf(sample) : newestOf('server')?.id;
    return sample.endpoints?.[id]?.gauges?.[key];
  };
  if (proxy) {
    showArrow('up-in', linkOf('up', 'bytes_in'), linkOf('up', 'packets_in'));
    showArrow('up-out', linkOf('up', 'bytes_out'), linkOf('up', 'packets_out'));
    showArrow('down-in', linkOf('down', 'bytes_in'), linkOf('down', 'packets_in'));
    showArrow('down-out', linkOf('down', 'bytes_out'), linkOf('down', 'packets_out'));
  } else {
    showArrow('up-in', gauge('client', 'bytes_sent'), sampleOf('client_sent'));
    showArrow('up-out', gauge('server', 'bytes_received'), sampleOf('server_recv'));
    showArrow('down-in', gauge('server', 'bytes_sent'), sampleOf('server_sent'));
    showArrow('down-out', gauge('client', 'bytes_received'), sampleOf('client_recv'));
  }
}

function showEnd(id, endpoint, last, role) {
  const { node, state } = parts[id];
  const here = endpoint && last?.endpoints?.[endpoint.id];
  node.classList.toggle('absent', !here);
  const g = (here ?? endpoint)?.gauges ?? {};
  say(state, endpoint ? [here ? g.state ?? 'open' : 'ended', endpoint.mode, endpoint.carrier].filter(Boolean).join(' · ') : 'not started');
  const sample = last?.sample ?? {};
  fact(id, 'packets sent', format.count(g.packets_sent ?? sample[`${role}_sent`]));
  fact(id, 'received', format.count(g.packets_received ?? sample[`${role}_recv`]));
  if (role === 'client') {
    fact(id, 'acknowledged', format.bytes(g.acknowledged_bytes));
    fact(id, 'waits for', g.blocked_by ? ({ cwnd: 'cwnd', rwnd: 'rwnd', app: 'its program', pacing: 'the pacer', carrier: 'the kernel', none: 'nothing' }[g.blocked_by] ?? g.blocked_by) : '–');
  } else {
    fact(id, 'delivered', format.bytes(g.delivered_bytes));
    fact(id, 'bad / replayed', `${format.count(g.auth_failures)} / ${format.count(g.replays_rejected)}`);
  }
}

function choose() {
  const senders = [...store.firstSeen.keys()].filter((id) => store.samples.at(-1)?.endpoints?.[id]?.role === 'client');
  options(parts.senders, [['', 'newest sender'], ...senders.map((id) => [id, id])], store.chosen.sender ?? '', senders.length < 2);
  const proxies = store.proxies.map((proxy) => proxy.id);
  options(parts.proxies, proxies.map((id) => [id, id]), chosenProxy()?.id ?? '', proxies.length < 2);
}

function options(select, list, chosen, hidden) {
  select.hidden = hidden;
  const key = JSON.stringify(list);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  select.replaceChildren(...list.map(([value, text]) => el('option', { value, selected: value === chosen }, text)));
}

export function mount(root) {
  const select = (key, label) => {
    parts[`${key}s`] = el('select', { 'aria-label': label, hidden: true, onchange: (event) => {
      store.chosen[key] = event.target.value || null;
      emit('choice');
    } });
    return parts[`${key}s`];
  };
  parts.proxies = null;
  const sender = box('sender', 'Sender');
  const receiver = box('receiver', 'Receiver');
  const proxy = box('proxy', 'Proxy');
  parts.light = el('span', { class: 'light good', hidden: true });
  parts.sender.name.after(select('sender', 'Sender shown'));
  const proxies = el('select', { 'aria-label': 'Proxy shown', hidden: true, onchange: (event) => {
    store.chosen.proxy = event.target.value || null;
    emit('choice');
    emit('proxies');
  } });
  parts.proxies = proxies;
  parts.proxy.name.after(parts.light, proxies);
  parts.proxy.facts.remove();
  parts.hint = el('p', { class: 'quiet' }, 'Without a proxy nothing can be impaired. Start one: ', el('code', {}, `stream-proxy --udp --controller ${location.origin}`));
  proxy.append(el('div', { class: 'lanes' }, lane('up', 'up →'), lane('down', '← down')), parts.hint);
  root.append(sender,
    el('div', { class: 'wire' }, arrow('up-in', 'up'), arrow('down-out', 'down')),
    proxy,
    el('div', { class: 'wire' }, arrow('up-out', 'up'), arrow('down-in', 'down')),
    receiver);
  const all = () => {
    choose();
    show();
  };
  for (const topic of ['sample', 'proxies', 'endpoints', 'forget', 'choice']) on(topic, all);
  document.addEventListener('visibilitychange', show);
  show();
}
