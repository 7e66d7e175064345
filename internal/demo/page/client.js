// One connection to pushd that comes back by itself when it may.

import { next } from './closecodes.js';

const firstDelay = 500; // ms
const longestDelay = 10_000; // ms

export class Client {
  // handlers: state(name), sent(text), received(text, message), closed(code, retries)
  constructor(handlers) {
    this.handlers = handlers;
    this.socket = null;
    this.who = null;
    this.delay = firstDelay;
    this.timer = 0;
    this.attempt = 0;
  }

  get open() {
    return this.socket !== null && this.socket.readyState === WebSocket.OPEN;
  }

  connect(who) {
    this.disconnect();
    this.who = who;
    this.delay = firstDelay;
    return this.dial();
  }

  // A token is asked for each time: with --dev the key is gone when the
  // process is.
  async dial() {
    const attempt = ++this.attempt;
    this.handlers.state('wait');
    let token;
    try {
      token = await fetchToken(this.who);
    } catch (err) {
      if (attempt !== this.attempt) return;
      if (err instanceof Refused) {
        this.who = null;
        this.handlers.state('bad');
        throw err;
      }
      this.retry(1006);
      return;
    }
    if (attempt !== this.attempt) return;
    const url = new URL('/ws', location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    // Browsers can't set a header; a subprotocol keeps the token out of URLs,
    // which end up in logs.
    const socket = new WebSocket(url, ['pushd.plain', `pushd.jwt.${token}`]);
    this.socket = socket;
    socket.addEventListener('message', (e) => this.receive(e.data));
    socket.addEventListener('close', (e) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.retry(e.code);
    });
  }

  receive(text) {
    let message = null;
    try {
      message = JSON.parse(text);
    } catch {
      // shown as it came
    }
    if (message?.type === 'connection') {
      this.delay = firstDelay;
      this.handlers.state('on');
    }
    this.handlers.received(text, message);
  }

  retry(code) {
    const after = next(code);
    if (after === 'stop') {
      this.who = null;
      this.handlers.state(code === 1000 ? 'off' : 'bad');
      this.handlers.closed(code, false);
      return;
    }
    this.handlers.state('wait');
    this.handlers.closed(code, true);
    const wait = (after === 'now' ? firstDelay : this.delay) * (0.5 + Math.random());
    this.delay = Math.min(this.delay * 2, longestDelay);
    // dial only throws for names that the server refuses, which it took before.
    this.timer = setTimeout(() => this.dial().catch(() => {}), wait);
  }

  disconnect() {
    clearTimeout(this.timer);
    this.attempt++;
    this.who = null;
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close(1000);
    this.handlers.state('off');
  }

  send(type, data) {
    if (!this.open) return false;
    const text = JSON.stringify(data === undefined ? { type } : { type, data });
    this.socket.send(text);
    this.handlers.sent(text);
    return true;
  }
}

// Refused is an answer that asking again would not change.
export class Refused extends Error {}

async function fetchToken(who) {
  const answer = await fetch('token', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(who),
  });
  const body = await answer.json();
  if (answer.status >= 400 && answer.status < 500) throw new Refused(body.error);
  if (!answer.ok) throw new Error(body.error);
  return body.token;
}
