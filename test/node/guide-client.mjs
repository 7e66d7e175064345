// A client with the calls and callbacks of the guide's usage example. It runs
// in browsers, and in Node once globalThis.WebSocket is there.

export class Client {
  #handlers = {};

  // base is where the server is; the guide has it built in.
  constructor(token, tenantId, base = 'ws://localhost:3000') {
    Object.assign(this, { token, tenantId, base });
  }

  connect() {
    const url = new URL('/ws', this.base);
    url.searchParams.set('token', this.token);
    this.socket = new WebSocket(url.href);
    this.socket.onopen = () => this.joinChannel(`tenant:${this.tenantId}:general`);
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      for (const handle of this.#handlers[message.type] ?? []) handle(message.data);
    };
    this.socket.onclose = ({ code }) => {
      for (const handle of this.#handlers.close ?? []) handle({ code });
    };
    this.socket.onerror = () => {}; // the close that follows tells more
  }

  on(event, callback) {
    (this.#handlers[event] ??= []).push(callback);
  }

  joinChannel(channel) {
    this.#send('join_channel', { channel });
  }

  subscribeToNotifications(types = ['all']) {
    this.#send('subscribe_notifications', { types });
  }

  sendMessage(channel, message) {
    this.#send('send_message', { channel, message });
  }

  #send(type, data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, data }));
  }
}
