// Numbers as people read them. Every number has its unit; what is not known is a dash.

const NONE = '–';
const known = (value) => typeof value === 'number' && Number.isFinite(value);
const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const count = (n) => (known(n) ? grouped.format(n) : NONE);

// Three digits that matter.
export function short(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(+value.toPrecision(3));
  if (size >= 100 || value === 0) return grouped.format(value);
  return value.toFixed(size >= 10 ? 1 : 2);
}

function scaled(value, step, units) {
  if (!known(value)) return NONE;
  let place = 0;
  while (Math.abs(value) >= step && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  return `${place === 0 ? grouped.format(value) : short(value)} ${units[place]}`;
}

export const bytes = (n) => scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
export const bits = (perSecond) => scaled(perSecond, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']);
export const packets = (perSecond) => (known(perSecond) ? `${short(perSecond)}/s` : NONE);
export const millis = (ms) => (known(ms) ? `${short(ms)} ms` : NONE);
export const micros = (us) => (known(us) ? millis(us / 1000) : NONE);
export const percent = (pct) => (known(pct) ? `${+pct.toFixed(2)} %` : NONE);
export const seconds = (ms) => (known(ms) ? (ms / 1000).toFixed(3) : NONE);

export function duration(ms) {
  if (!known(ms)) return NONE;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

// "loss 5 → 4.7 [3.2 to 6.9] %": what the proxy prints, with the unit of its name at the end. An interval that rounds to one
// number says nothing.
export function observation(one) {
  const { name, unit, configured, observed, low, high } = readable(one);
  const interval = known(low) && known(high) && short(low) !== short(high) ? ` [${short(low)} to ${short(high)}]` : '';
  return `${name} ${tidy(configured)} → ${short(observed)}${interval}${unit}`;
}

function readable({ what, configured, observed, low, high }) {
  const [, name, unit] = /^(.*?) ?(%|ms|kbit\/s|bytes)?$/.exec(what);
  const scale = unit === 'kbit/s' && configured >= 1000 ? 1000 : 1;
  const scaled = (value) => (known(value) ? value / scale : value);
  return { name, unit: unit ? ` ${scale === 1000 ? 'Mbit/s' : unit}` : '', configured: scaled(configured), observed: scaled(observed), low: scaled(low), high: scaled(high) };
}

const tidy = (value) => (known(value) ? String(+value.toFixed(2)) : NONE);

export const differs = ({ configured, low, high }) =>
  known(configured) && known(low) && known(high) && (configured < low || configured > high);

// What a rule says, in the words of the one-line form.
export function rule(rule) {
  const limit = rule.queue?.limit_packets ? ` limit ${rule.queue.limit_packets}p`
    : rule.queue?.limit_bytes ? ` limit ${bytes(rule.queue.limit_bytes)}` : '';
  switch (rule.type) {
    case 'loss': return `loss ${+rule.pct}%`;
    case 'gilbert': return `loss ${+rule.loss_pct}% burst ${+rule.mean_burst}`;
    case 'delay': {
      const shape = rule.distribution && rule.distribution !== 'none' ? ` ${rule.distribution}` : '';
      return `delay ${+rule.delay_ms}ms${rule.jitter_ms ? ` ${+rule.jitter_ms}ms${shape}` : ''}`;
    }
    case 'reorder': return `reorder ${+rule.pct}%${rule.hold_ms ? ` ${+rule.hold_ms}ms` : ''}`;
    case 'duplicate': return `duplicate ${+rule.pct}%${rule.copies > 1 ? ` ${rule.copies}` : ''}`;
    case 'corrupt': return `corrupt ${+rule.pct}% ${rule.mode ?? ''}`.trim();
    case 'rate': return `rate ${bits(rule.kbit * 1000)}${limit}${rule.queue?.type === 'codel' ? ' codel' : ''}`;
    case 'mtu': return `mtu ${rule.bytes}`;
    case 'onoff': return `onoff ${+rule.on_ms}ms ${+rule.off_ms}ms`;
    case 'next': return `next ${rule.n}`;
    case 'drop_list': return `drop ${(rule.ordinals ?? []).slice(0, 6).join(',')}${(rule.ordinals ?? []).length > 6 ? ',…' : ''}`;
    case 'trace': return `trace ${rule.file}`;
    case 'rebind': return `rebind ${+rule.after_ms}ms`;
    default: return rule.type;
  }
}
