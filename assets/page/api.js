// Requests to the controller. The token comes from the page's address, is kept for this tab, and leaves the address
// so that it is not copied with it.

const KEY = 'securestream.token';
const PATIENCE_MS = 5000;

const address = new URL(location.href);
if (address.searchParams.has('token')) {
  sessionStorage.setItem(KEY, address.searchParams.get('token'));
  address.searchParams.delete('token');
  history.replaceState(null, '', address);
}

export class ApiError extends Error {
  constructor(status, message, field) {
    super(field ? `${message} (${field})` : message);
    this.status = status;
  }
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);

async function answer(method, path, body) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new ApiError(0, 'the controller does not answer');
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new ApiError(response.status, told.error ?? `status ${response.status}`, told.field);
  }
  return response;
}

async function json(method, path, body) {
  const response = await answer(method, path, body);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path) => json('GET', path);
export const post = (path, body) => json('POST', path, body);
export const patch = (path, body) => json('PATCH', path, body);
export const remove = (path) => json('DELETE', path);
export const blob = async (path) => (await answer('GET', path)).blob();

// An EventSource cannot send headers, so its token stands in the address.
export function eventsAddress() {
  const token = sessionStorage.getItem(KEY);
  return token ? `/v1/events?token=${encodeURIComponent(token)}` : '/v1/events';
}
