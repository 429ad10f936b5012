// Elements without markup in strings: what the network says can never become a tag.

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Writes text only where it changed: thousands of writes a second cost more than they show.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A line at the foot of the window, read aloud by screen readers. Failures stay longer than good news.
export function toast(text, bad = false) {
  const place = document.getElementById('toasts');
  const line = el('p', { class: bad ? 'toast bad' : 'toast' }, text);
  place.append(line);
  while (place.childElementCount > 4) place.firstChild.remove();
  setTimeout(() => line.remove(), bad ? 8000 : 2500);
}

// Runs what a person asked for, and says why if it failed.
export async function attempt(what, action) {
  try {
    return await action();
  } catch (error) {
    toast(`${what}: ${error.message}`, true);
    return undefined;
  }
}

// Runs `action` with the newest value at most once in `ms`; the last value always arrives.
export function throttled(ms, action) {
  let timer = null;
  let newest;
  let busy = false;
  const run = async () => {
    timer = null;
    if (busy) {
      timer = setTimeout(run, ms);
      return;
    }
    busy = true;
    try {
      await action(newest);
    } finally {
      busy = false;
    }
  };
  return (value) => {
    newest = value;
    timer ??= setTimeout(run, ms);
  };
}

// Whether an element is on the screen: panels behind other tabs do not draw.
export function visible(node) {
  return !document.hidden && node.offsetParent !== null;
}
