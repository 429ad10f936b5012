// The real tools in processes of their own, and a browser that can reach nothing but this machine.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const BIN = process.env.STREAM_BIN_DIR ?? fileURLToPath(new URL('../../target/debug', import.meta.url));
const BROWSERS = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
export const PATIENCE_MS = 20_000;

// A tool that runs until it is stopped. `said(pattern)` waits until it has said so, and returns the match.
export class Tool {
  constructor(name, args) {
    this.name = name;
    this.output = '';
    this.ended = false;
    this.child = spawn(join(BIN, name), args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1', STREAM_CONTROLLER: '' } });
    this.waiting = new Set();
    const hear = (text) => {
      this.output += text;
      for (const look of this.waiting) look();
    };
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', hear);
    this.child.stdin.on('error', () => {});
    this.done = new Promise((resolve) => {
      this.child.on('error', (error) => { hear(`cannot start: ${error.message}`); this.ended = true; resolve(-1); });
      this.child.on('close', (code) => { this.ended = true; hear(''); resolve(code); });
    });
  }

  said(pattern) {
    return new Promise((resolve, reject) => {
      const give = (result, value) => {
        clearTimeout(timer);
        this.waiting.delete(look);
        result(value);
      };
      const look = () => {
        const match = pattern.exec(this.output);
        if (match) give(resolve, match);
        else if (this.ended) give(reject, new Error(`${this.name} ended and did not say ${pattern}:\n${this.output}`));
      };
      const timer = setTimeout(() => give(reject, new Error(`${this.name} did not say ${pattern}:\n${this.output}`)), PATIENCE_MS);
      this.waiting.add(look);
      look();
    });
  }

  async stop(signal = 'SIGKILL') {
    if (!this.ended) this.child.kill(signal);
    await this.done;
  }
}

// A port that was free a moment ago. Only the controller needs it, for it comes back at the same address.
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

const CHUNK = Buffer.alloc(16 * 1024, 'securestream ');

// Writes until it is ended, as fast as the tool takes it.
function feed(child) {
  const write = () => {
    while (!child.stdin.destroyed && !child.stdin.writableEnded && child.stdin.write(CHUNK));
  };
  child.stdin.on('drain', write);
  write();
}

// Controller, receiver, proxy and a sender that never ends, all on free ports.
export class Lab {
  static async start({ mode = ['--plain'], impair = 'rate 3mbit; delay 5ms' } = {}) {
    const lab = new Lab();
    lab.folder = mkdtempSync(join(tmpdir(), 'stream-browser-'));
    lab.mode = mode;
    lab.port = await freePort();
    lab.url = `http://127.0.0.1:${lab.port}`;
    try {
      await lab.startController();
      const controller = ['--controller', lab.url];
      lab.receiver = new Tool('stream-receiver', ['--udp', ...mode, '--bind', '127.0.0.1', '--port', '0', '--keep-open', '--output', lab.folder, ...controller]);
      const [, target] = await lab.receiver.said(/listening on 127\.0\.0\.1:(\d+)/);
      lab.proxy = new Tool('stream-proxy', ['--udp', '--bind', '127.0.0.1', '--proxy-port', '0', '--target-port', target, '--seed', '7', '--impair', impair, ...controller]);
      [, lab.proxyPort] = await lab.proxy.said(/listening on 127\.0\.0\.1:(\d+)/);
      lab.startSender();
    } catch (error) {
      await lab.stop();
      throw error;
    }
    return lab;
  }

  async startController() {
    this.controller = new Tool('stream-controller', ['--port', String(this.port)]);
    await this.controller.said(/http:\/\/127\.0\.0\.1:\d+/);
  }

  startSender() {
    this.sender = new Tool('stream-sender', ['--udp', ...this.mode, '--target-port', this.proxyPort, '--controller', this.url]);
    feed(this.sender.child);
  }

  // The sender comes to its end of input, sends what it has, and says goodbye.
  async endSender() {
    this.sender.child.stdin.end();
    const late = setTimeout(() => this.sender.stop(), PATIENCE_MS);
    await this.sender.done;
    clearTimeout(late);
  }

  async stop() {
    await Promise.all([this.sender, this.proxy, this.receiver, this.controller].map((tool) => tool?.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  // What every tool said: printed when a test fails.
  transcript() {
    return [this.controller, this.receiver, this.proxy, this.sender].filter(Boolean)
      .map((tool) => `--- ${tool.name}\n${tool.output.slice(-2000)}`).join('\n');
  }
}

export async function launch() {
  const executablePath = BROWSERS.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error('no Chromium: apt install chromium, or say where it is in CHROMIUM');
  const args = ['--disable-dev-shm-usage', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'];
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  return chromium.launch({ executablePath, args });
}
