// Files made here or by the controller, saved by the browser.

import * as api from './api.js';
import { attempt, el } from './dom.js';

export function save(name, type, text) {
  saveBlob(name, new Blob([text], { type }));
}

export function saveBlob(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = el('a', { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

export async function saveFrom(path, name) {
  const blob = await attempt(name, () => api.blob(path));
  if (blob) saveBlob(name, blob);
}

// RFC 4180: a null is an empty field.
export function csv(names, columns) {
  const field = (value) => {
    if (value === null || value === undefined) return '';
    const text = String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [names.join(',')];
  for (let i = 0; i < (columns[0]?.length ?? 0); i += 1) lines.push(columns.map((column) => field(column[i])).join(','));
  return `${lines.join('\n')}\n`;
}
