// The page in a real browser, against the real tools: what a teacher does, and what must hold meanwhile.
//
// npm ci && npm test; the tools are looked for in target/debug (STREAM_BIN_DIR). UPDATE_SCREENSHOTS=1 rewrites the
// picture of the README.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort, Lab, launch, PATIENCE_MS, Tool } from './tools.mjs';

const PICTURES = new URL('../../assets/screenshots/', import.meta.url);
let lab;
let browser;
let context;
let page;
const asked = []; // addresses of all requests
const faults = []; // errors that the page itself reported

before(async () => {
  [lab, browser] = await Promise.all([Lab.start(), launch()]);
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
  page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  context.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => faults.push(String(error)));
  // What fails to load is told by its response, or is the controller that a test kills.
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource|net::ERR_/.test(message.text())) faults.push(message.text());
  });
  context.on('response', (response) => {
    if (response.status() >= 400) faults.push(`${response.status()} for ${response.request().method()} ${response.url()}`);
  });
  await page.goto(lab.url);
  await flowing();
});

after(async () => {
  await browser?.close();
  await lab?.stop();
});

afterEach((t) => {
  if (t.error ?? t.passed === false) console.error(lab.transcript());
});

const text = (selector) => page.locator(selector).first().innerText();
// Looks again and again, for waitForFunction takes the promise of an asynchronous condition for true.
const until = async (what, condition, argument, view = page) => {
  for (const end = Date.now() + PATIENCE_MS; !(await view.evaluate(condition, argument));) {
    if (Date.now() > end) throw new Error(`it did not come to this: ${what}`);
    await setTimeout(20);
  }
};
const flowing = () => until('packets flow through the topology', () => document.querySelectorAll('.arrow.flowing').length === 4);
const tab = (name) => page.locator(`#tab-${name}`).click();
const sample = async () => (await (await fetch(`${lab.url}/statistics`)).json()).sample;

// Whether the last chart has bars in the colour of what a rule dropped: more than so many pixels with three more below.
// (The line of zero is thinner.)
const drops = (least) => {
  const canvas = [...document.querySelectorAll('#plots canvas')].at(-1);
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const red = (i) => data[i] === 0xd5 && data[i + 1] === 0x5e && data[i + 2] === 0;
  let n = 0;
  for (let i = 0; i < 4 * width * (height - 3); i += 4) if ([0, 1, 2, 3].every((row) => red(i + 4 * width * row))) n += 1;
  return n > least;
};

test('the page shows the transfer that runs', async () => {
  assert.match(await text('#link-state'), /connected/);
  assert.match(await text('#node-sender'), /plain · udp/);
  assert.match(await text('#node-proxy'), /emulator healthy|overloaded/);
  assert.match(await text('#rate-up-in'), /bit\/s/);
  await until('the window of the sender is known', () => /\d/.test(document.querySelector('[data-series="cwnd"]').textContent));
  await until('a round-trip time is known', () => /ms/.test(document.querySelector('[data-series="srtt"]').textContent));
});

test('moving a slider changes the observed loss, the chart of losses and the topology', async () => {
  await tab('network');
  await page.locator('[data-add="up"]').selectOption('loss');
  const card = page.locator('[data-rule="up.loss"]');
  await card.waitFor();
  assert.equal(await page.evaluate(drops, 0), false, 'nothing was dropped yet');
  await card.locator('input[type="range"]').focus();
  for (let i = 0; i < 3; i += 1) await page.keyboard.press('PageUp'); // a tenth of the way each
  await until('the proxy observes the loss', () => {
    const [, seen] = /→ ([\d.]+)/.exec(document.querySelector('[data-rule="up.loss"] .measured')?.textContent ?? '') ?? [];
    return Number(seen) > 10;
  });
  await until('the topology shows configured and measured', () => /loss [\d.]+ → [\d.]+ \[/.test(document.querySelector('#rules-up').textContent));
  await until('the sender sends again', () => /[1-9]/.test(document.querySelector('[data-series="again"]').textContent));
  await until('the chart of losses names the rule', () => /[1-9]/.test(document.querySelector('[data-series="byRule"]').textContent));
  await until('the chart of losses shows what was dropped', drops, 20);
  await card.getByRole('button', { name: /Remove/ }).click();
  await card.waitFor({ state: 'detached' });
  await until('the topology forgets the rule', () => !/loss/.test(document.querySelector('#rules-up').textContent));
});

test('cut stops the link, and mending lets it go on', async () => {
  await tab('network');
  await page.locator('[data-cut="up"]').click();
  await until('the cut is in force', () => document.querySelector('[data-cut="up"]').getAttribute('aria-pressed') === 'true');
  await until('nothing leaves the proxy', () => /^0 bit\/s|^–/.test(document.querySelector('#rate-up-out').textContent));
  await page.locator('[data-cut="up"]').click();
  await flowing();
});

test('the next packet can be dropped', async () => {
  await tab('network');
  await page.locator('[data-next="up"]').click();
  await until('one packet was dropped', () => /^1 of|, 1 dropped/.test(document.querySelector('[data-rule="up.next"]')?.innerText.split('\n').at(-1) ?? ''));
  await page.locator('[data-rule="up.next"]').getByRole('button', { name: /Remove/ }).click();
});

test('the receive delay reaches the configuration', async () => {
  await tab('flow');
  const number = page.locator('#panel-flow .field', { hasText: 'Receive delay' }).locator('input[type="number"]');
  await number.fill('0.2');
  await number.press('Enter');
  await until('the controller has it', async () => (await (await fetch('/config')).json()).recv_delay === 0.2);
  await number.fill('0');
  await number.press('Enter');
  await until('the controller has it', async () => (await (await fetch('/config')).json()).recv_delay === 0);
  await flowing();
});

test('the drop sliders of the original are the rule "drop" of both directions', async () => {
  await tab('flow');
  const number = page.locator('#panel-flow .field', { hasText: 'Client → server drop' }).locator('input[type="number"]');
  await number.fill('10');
  await number.press('Enter');
  await tab('network');
  await page.locator('[data-rule="up.drop"]').waitFor();
  await until('it drops', () => /[1-9]\d* of/.test(document.querySelector('[data-rule="up.drop"]').innerText));
  await tab('flow');
  await number.fill('0');
  await number.press('Enter');
  await tab('network');
  await page.locator('[data-rule="up.drop"]').waitFor({ state: 'detached' });
});

test('Clear Chart empties the picture and Reset Statistics the counters', async () => {
  await tab('flow');
  await until('the counter is far from zero', () => Number(document.querySelector('#flow-client_sent').textContent.replace(/\D/g, '')) > 100);
  const counted = (await sample()).client_sent;
  await page.locator('#clear-chart').click();
  assert.ok((await sample()).client_sent >= counted, 'clearing the chart leaves the counters alone');
  await page.locator('#reset-statistics').click();
  await until('the counters began again', (old) => Number(document.querySelector('#flow-client_sent').textContent.replace(/\D/g, '')) < old, counted);
  assert.ok((await sample()).client_sent < counted);
});

test('each series has a box, the navigator chooses a range, and the menu exports', async () => {
  await tab('flow');
  const box = page.getByRole('checkbox', { name: /Proxy Send/ });
  await box.check();
  assert.ok(await box.isChecked());
  await page.locator('.navigator').focus();
  await page.keyboard.press('+');
  await until('a range is chosen', () => / to .* s/.test(document.querySelector('#panel-flow').innerText));
  await page.keyboard.press('Escape');
  await page.locator('.menu summary').click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('.menu').getByRole('button', { name: 'CSV' }).click()]);
  assert.equal(download.suggestedFilename(), 'data-flow.csv');
});

test('the inspector opens a packet: header, bytes, and what is hidden', async () => {
  await tab('packets');
  await page.locator('#packet-table tbody tr').first().click();
  await page.locator('#packet-detail').waitFor();
  const words = await text('#packet-detail');
  assert.match(words, /reached the proxy at/);
  assert.match(words, /hidden from a man in the middle|cannot see/);
  assert.match(await text('#packet-detail .decoded'), /\w/);
  assert.match(await text('#packet-detail .hex'), /^0000 {2}[0-9a-f]{2} /);
  await page.locator('#panel-packets').getByRole('button', { name: 'Live' }).click(); // the list stood still for the eyes
});

test('the ladder, the sequence, the threads and the log are there', async () => {
  await tab('ladder');
  await until('the ladder counts packets', () => /^[1-9]\d* packets/.test(document.querySelector('#ladder-text').textContent));
  await page.locator('#ladder-pause').click();
  assert.equal(await page.locator('#ladder-pause').getAttribute('aria-pressed'), 'true');
  await tab('sequence');
  await until('the sequence shows data', () => /[1-9]\d* shown/.test(document.querySelector('#panel-sequence .legend').innerText));
  await tab('activity');
  await until('threads are listed', () => document.querySelectorAll('#panel-activity tbody tr').length > 2);
  await until('changes are in the log', () => document.querySelectorAll('#log li').length > 2);
});

test('a run can be kept as A, and another one lies over it', async () => {
  await tab('runs');
  await page.getByRole('button', { name: /Keep .* as A/ }).first().click();
  await lab.endSender();
  lab.startSender();
  await until('the overlay names run A', () => /dashed/.test(document.querySelector('#overlay-name').textContent));
  await until('both are in the table', () => document.querySelectorAll('#compare tbody tr').length > 5);
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#export-json').click()]);
  assert.equal(download.suggestedFilename(), 'lab.json');
  await page.getByRole('button', { name: 'Forget A' }).click();
});

test('the keyboard alone reaches everything', async () => {
  await page.locator('h1').click();
  await page.keyboard.press('4');
  await page.locator('#panel-packets').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'tab-packets');
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'tab-ladder');
  await page.keyboard.press('ArrowRight');
  // From the tab to the table: selects, the pause, then the rows.
  const reach = async (selector) => {
    for (let i = 0; i < 60; i += 1) {
      if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`Tab does not reach ${selector}`);
  };
  await reach('#packet-table tr');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.locator('#packet-detail').waitFor();
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(ring, 'none', 'the focus is visible');
  await page.keyboard.press('Escape');
  await page.locator('#packet-detail').waitFor({ state: 'hidden' });
  await page.keyboard.press('?');
  await page.locator('#help').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('1');
  await reach('[data-cut="up"]');
  await page.keyboard.press('Enter');
  await until('the cut is in force', () => document.querySelector('[data-cut="up"]').getAttribute('aria-pressed') === 'true');
  await page.keyboard.press('Enter');
  await flowing();
  await page.locator('#plots').focus();
  await page.keyboard.press(' ');
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
  await page.keyboard.press('ArrowLeft');
  await until('the cursor stands at a time', () => /values at [\d.]+ s/.test(document.querySelector('#cursor-time').textContent));
  await page.keyboard.press('Escape');
});

test('the charts stay in view while the panel scrolls', async () => {
  for (const [width, height] of [[1280, 800], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    const fits = await page.evaluate(() => {
      const foot = document.querySelector('#plots').getBoundingClientRect().bottom;
      return foot <= innerHeight && document.documentElement.scrollHeight <= innerHeight;
    });
    assert.ok(fits, `at ${width} x ${height}`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
});

test('a reload keeps the history', async () => {
  const times = () => page.evaluate(async () => (await import('/series.js')).columns.t);
  await until('there is a history', async () => (await import('/series.js')).columns.t.length > 50);
  const seen = await times();
  await page.reload();
  await flowing();
  const kept = await times();
  // Of a pause in which nothing moves the controller keeps one sample a second.
  const missing = seen.filter((t) => !kept.some((other) => Math.abs(other - t) < 1.5));
  assert.deepEqual(missing, [], 'no time is without a sample');
  assert.ok(kept.length > seen.length / 3);
  await until('marks are kept', async () => (await import('/store.js')).store.marks.length > 0);
});

test('a controller that dies is said, and one that comes back is taken up', async () => {
  await lab.controller.stop();
  await page.locator('#banner').waitFor();
  assert.match(await text('#banner'), /No connection to the controller/);
  await lab.startController();
  await page.locator('#banner').waitFor({ state: 'hidden' });
  await flowing();
});

test('a page for which there is no place says so, and comes in when another one leaves', async () => {
  const leave = new AbortController();
  const other = await browser.newContext(); // the refusals here are no faults of the page
  try {
    const follow = () => fetch(`${lab.url}/v1/events`, { headers: { accept: 'text/event-stream' }, signal: leave.signal });
    for (let status = 200, most = 100; status === 200; most -= 1) {
      assert.ok(most > 0, 'there is always a place');
      ({ status } = await follow());
    }
    const late = await other.newPage();
    await late.goto(lab.url);
    await until('it is told', () => /too many pages/.test(document.querySelector('#banner-text').textContent), undefined, late);
    leave.abort();
    await until('it is in', () => /^connected/.test(document.querySelector('#link-state').textContent), undefined, late);
    await late.locator('#banner').waitFor({ state: 'hidden' });
  } finally {
    leave.abort();
    await other.close();
  }
});

test('what nothing could judge is over, and not a failure', async () => {
  await tab('runs');
  const said = await page.evaluate(async () => {
    const { emit, store } = await import('/store.js');
    const before = store.scenario;
    const canned = [{ name: 'five', title: 'Five', what: '', command: 'stream-lab run five' }];
    const verdict = (passed) => {
      store.scenario = { running: null, last: { name: 'five', passed, failures: passed === false ? ['too slow'] : [] }, canned };
      emit('scenario');
      return document.querySelector('#scenario-state').textContent;
    };
    const all = [null, true, false].map(verdict);
    store.scenario = before;
    emit('scenario');
    return all;
  });
  assert.match(said[0], /is over; .*stream-lab run five/);
  assert.equal(said[1], 'five: as expected');
  assert.match(said[2], /not as expected: too slow/);
});

test('a token is asked for, kept for the tab, and does not stay in the address', async () => {
  const port = await freePort();
  const controller = new Tool('stream-controller', ['--port', String(port), '--token', 'a-word-of-ours']);
  const other = await browser.newContext(); // the refusals here are no faults of the page
  try {
    await controller.said(/http:\/\/127\.0\.0\.1:\d+/);
    const connected = () => /^connected/.test(document.querySelector('#link-state').textContent);
    const asking = await other.newPage();
    await asking.goto(`http://127.0.0.1:${port}/`);
    await asking.locator('#token').fill('a-word-of-ours');
    await asking.keyboard.press('Enter');
    await until('the typed token is taken', connected, undefined, asking);
    await asking.reload();
    await until('the tab has kept it', connected, undefined, asking);
    const linked = await other.newPage();
    await linked.goto(`http://127.0.0.1:${port}/?token=a-word-of-ours`);
    await until('the token of the address is taken', connected, undefined, linked);
    assert.equal(new URL(linked.url()).search, '');
  } finally {
    await other.close();
    await controller.stop();
  }
});

test('nothing was asked of any other machine, and the page reported no fault', async () => {
  const foreign = asked.filter((address) => !address.startsWith(`${lab.url}/`) && !address.startsWith('blob:'));
  assert.deepEqual(foreign, []);
  assert.ok(asked.length > 20);
  assert.deepEqual(faults, []);
});

test('the picture of the README', { skip: !process.env.UPDATE_SCREENSHOTS }, async () => {
  const nice = await Lab.start({ impair: 'up: delay 15ms 3ms; rate 6mbit limit 96KiB | down: delay 15ms' });
  try {
    const view = await context.newPage();
    await view.goto(nice.url);
    await view.locator('#tab-network').click();
    await view.locator('#spans button[data-span="15"]').click();
    const passed = (seconds) => until('time passes', async (wanted) => (await import('/series.js')).columns.t.at(-1) > wanted, seconds, view);
    await passed(7);
    await view.locator('[data-add="up"]').selectOption('loss');
    await passed(17);
    await view.locator('h1').click();
    await view.screenshot({ path: fileURLToPath(new URL('lab.png', PICTURES)) });
  } finally {
    await nice.stop();
  }
});
