// From samples to the columns that charts draw: gauges as they are, counters as rates between two reports of who counts.
// (Each end reports ten times a second, at its own moments. So a sample may hold no news of it, and the next one two reports.)
// Nothing is smoothed. Where a sample is missing, or an endpoint was not there, the value is null and the line has a gap.

import { on, senderOf, store, chosenProxy } from './store.js';

export const GAP_MS = 2500; // of a pause in which nothing moves, the controller keeps one sample a second
const MOST = 6000;

export const COLUMNS = [
  't', 'cwnd', 'ssthresh', 'inFlight', 'rwnd', 'latestRtt', 'srtt', 'minRtt', 'link', 'sent', 'goodput', 'again',
  'byRule', 'byQueue', 'corrupt', 'lost', 'pto', 'spurious',
];

export const columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));

const known = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null);

// Per second; null if a side is unknown. A counter that fell belongs to somebody new.
function rate(now, before, seconds) {
  if (known(now) === null || known(before) === null || now < before) return null;
  return (now - before) / seconds;
}

const isQueue = (name, rules) => {
  const kind = rules.find((rule) => rule.name === name)?.type ?? name.replace(/#.*/, '');
  return kind === 'rate' || kind === 'trace';
};

function drops(link, rules) {
  const sum = { rule: 0, queue: 0 };
  let named = 0;
  for (const [name, n] of Object.entries(link?.dropped_by ?? {})) {
    sum[isQueue(name, rules) ? 'queue' : 'rule'] += n;
    named += n;
  }
  sum.rule += Math.max(0, (link?.dropped ?? 0) - named); // a rule that is gone took its name with it
  return sum;
}

function both(proxy, of) {
  if (!proxy?.up && !proxy?.down) return undefined;
  return of(proxy.up) + of(proxy.down);
}

// What is counted at one place. `of` finds its counters in a sample, `rates` makes columns of two of them.
const SENDER = {
  of: (sample) => {
    const id = senderOf(sample);
    return { id, data: sample.endpoints?.[id]?.gauges };
  },
  rates: (now, old, seconds) => {
    const since = (name) => rate(now[name], old[name], seconds);
    return {
      sent: since('bytes_sent'), goodput: since('acknowledged_bytes'), again: since('retransmitted_bytes'),
      lost: negative(since('lost_packets')), pto: negative(since('pto_count')), spurious: negative(since('spurious_losses')),
    };
  },
};
const LINK = {
  of: (sample) => {
    const id = chosenProxy()?.id;
    return { id, data: sample.proxies?.[id] };
  },
  rates: (now, old, seconds) => {
    const rules = chosenProxy()?.rules ?? [];
    const since = (of) => rate(both(now, of), both(old, of), seconds);
    return {
      link: rate(now.up?.bytes_out, old.up?.bytes_out, seconds),
      byRule: since((l) => drops(l, rules).rule), byQueue: since((l) => drops(l, rules).queue), corrupt: since((l) => l?.corrupted ?? 0),
    };
  },
};

// How long a source may be silent before it counts as one that stands still.
const SILENT_MS = 250;

// Rates from the last news to this one, for all rows in between. Until the next news the last rates stand there.
function follow(place) {
  let last = null; // { id, data, words, t_ms }
  let rates = {};
  let waiting = 0;
  return {
    forget() {
      last = null;
      rates = {};
      waiting = 0;
    },
    // Returns what belongs into the new row, and into how many before it.
    take(sample) {
      const { id, data } = place.of(sample);
      if (!data) {
        this.forget();
        return [{}, 0];
      }
      const words = JSON.stringify(data);
      if (!last || last.id !== id) {
        this.forget();
        last = { id, data, words, t_ms: sample.t_ms };
        return [{}, 0];
      }
      if (words === last.words && sample.t_ms - last.t_ms < SILENT_MS) {
        waiting += 1;
        return [rates, 0];
      }
      rates = place.rates(data, last.data, (sample.t_ms - last.t_ms) / 1000);
      const before = waiting;
      last = { id, data, words, t_ms: sample.t_ms };
      waiting = 0;
      return [rates, before];
    },
  };
}

const followed = [follow(SENDER), follow(LINK)];

function gaugesOf(sample, before) {
  const now = SENDER.of(sample).data ?? {};
  const old = (before && SENDER.of(before).data) ?? {};
  return {
    t: sample.t_ms / 1000,
    cwnd: known(now.cwnd_bytes), ssthresh: known(now.ssthresh_bytes), inFlight: known(now.in_flight_bytes), rwnd: known(now.rwnd_bytes),
    srtt: inMillis(now.srtt_us), minRtt: inMillis(now.min_rtt_us),
    latestRtt: now.acknowledged_bytes === old.acknowledged_bytes ? null : inMillis(now.latest_rtt_us), // a dot for each news
  };
}

const inMillis = (us) => (known(us) === null ? null : us / 1000);
const negative = (value) => (value === null ? null : -value); // drawn below the axis; -0 is 0 to people

function append(row) {
  for (const name of COLUMNS) columns[name].push(row[name] ?? null);
  if (columns.t.length > MOST * 1.1) for (const name of COLUMNS) columns[name].splice(0, columns[name].length - MOST);
}

let before = null;

function forget() {
  before = null;
  for (const one of followed) one.forget();
}

function add(sample) {
  if (before && sample.t_ms - before.t_ms > GAP_MS) {
    append({ t: (before.t_ms + 1) / 1000 });
    forget();
  }
  const row = gaugesOf(sample, before);
  for (const one of followed) {
    const [rates, rows] = one.take(sample);
    Object.assign(row, rates);
    for (let at = columns.t.length - rows; at < columns.t.length; at += 1) for (const [name, value] of Object.entries(rates)) columns[name][at] = value;
  }
  append(row);
  before = sample;
}

export function rebuild() {
  for (const name of COLUMNS) columns[name].length = 0;
  forget();
  for (const sample of store.samples) add(sample);
}

on('sample', add);
on('forget', rebuild);

// The place of the sample at `t` seconds, or of the last one before it.
export function indexAt(t, times = columns.t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
