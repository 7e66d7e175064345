import { Client } from './client.js';
import { codes, explain } from './closecodes.js';
import { grpcurlLine, pushdLine } from './commands.js';

const maxLines = 400; // what a feed keeps

const $ = (id) => document.getElementById(id);
const joined = new Set();
const subscribed = new Set();
let server = { grpcAddr: '127.0.0.1:9090', grpcNeedsKey: false };
let followsTenant = true; // until the channel is edited

// element makes a node; what was typed or received only ever becomes text.
function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function append(feed, item, follow = true) {
  const atEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 40;
  feed.append(item);
  while (feed.childElementCount > maxLines) feed.firstElementChild.remove();
  if (follow && atEnd) feed.scrollTop = feed.scrollHeight;
}

function clock(timestamp) {
  const date = timestamp ? new Date(timestamp) : new Date();
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleTimeString();
}

function logFrame(direction, text) {
  const item = element('li', undefined, direction);
  item.append(element('span', `${clock()} ${direction === 'out' ? '→' : '←'}`, 'meta'), text);
  append($('frames'), item, !$('hold').checked);
}

function words(value) {
  if (typeof value === 'string') return value;
  if (typeof value?.text === 'string') return value.text;
  return JSON.stringify(value) ?? '';
}

function addChat(who, text, meta, mine) {
  const item = element('li', undefined, mine ? 'mine' : '');
  item.append(element('span', who, 'who'), text, element('span', meta, 'meta'));
  append($('chat'), item);
}

function addAside(feed, text) {
  append(feed, element('li', text, 'aside'));
}

function showJoined() {
  $('joined').replaceChildren(...[...joined].map((name) => {
    const item = element('li', name);
    const leave = element('button', '×');
    leave.type = 'button';
    leave.setAttribute('aria-label', `Leave ${name}`);
    leave.addEventListener('click', () => client.send('leave_channel', { channel: name }));
    item.append(leave);
    return item;
  }));
}

const on = {
  connection() {
    // A reconnect starts anew: what was joined is asked for again.
    for (const channel of joined) client.send('join_channel', { channel });
    if (subscribed.size) client.send('subscribe_notifications', { types: [...subscribed] });
    if (!joined.size) client.send('join_channel', { channel: $('channel').value.trim() });
  },
  channel_joined({ channel }) {
    joined.add(channel);
    showJoined();
    addAside($('chat'), `joined ${channel}`);
  },
  channel_left({ channel }) {
    joined.delete(channel);
    showJoined();
    addAside($('chat'), `left ${channel}`);
  },
  channel_message({ channel, message, sender, timestamp }) {
    addChat(sender?.id ?? 'somebody', words(message), `${channel} · ${clock(timestamp)}`, false);
  },
  notification(data) {
    const item = element('li', words(data));
    item.append(element('span', clock(), 'meta'));
    append($('notes'), item);
  },
  notifications_subscribed({ types }) {
    addAside($('notes'), `subscribed to ${types.join(', ')}`);
  },
  pong() {},
  error({ error, code }) {
    addAside($('chat'), [error, code && `(${code})`].filter(Boolean).join(' '));
  },
};

const client = new Client({
  state(name) {
    $('status').dataset.state = name;
    const who = `${$('user').value.trim()} of ${$('tenant').value.trim()}`;
    $('status-text').textContent = { on: `connected as ${who}`, wait: 'connecting…', off: 'not connected', bad: 'refused' }[name];
    $('connect').textContent = name === 'on' || name === 'wait' ? 'Disconnect' : 'Connect';
    if (name === 'on') notice('');
  },
  sent: (text) => logFrame('out', text),
  received(text, message) {
    logFrame('in', text);
    const handle = Object.hasOwn(on, message?.type ?? '') ? on[message.type] : null;
    if (handle) handle(message.data ?? {});
    else if (message?.type) addChat(message.type, words(message.data ?? message), `event · ${clock()}`, false);
  },
  closed(code, retries) {
    const text = `Closed with ${explain(code)}.`;
    notice(retries ? `${text} Reconnecting.` : text);
    addAside($('frames'), text);
  },
});

function notice(text) {
  $('closed').textContent = text;
  $('closed').hidden = text === '';
}

function submit(id, act) {
  $(id).addEventListener('submit', (e) => {
    e.preventDefault();
    act();
  });
}

function needConnection() {
  notice('Connect first.');
  $('connect').focus();
}

submit('connect-form', async () => {
  if ($('connect').textContent === 'Disconnect') {
    client.disconnect();
    return;
  }
  joined.clear();
  subscribed.clear();
  showJoined();
  notice('');
  const roles = $('admin').checked ? ['admin'] : [];
  try {
    await client.connect({ tenant: $('tenant').value.trim(), user: $('user').value.trim(), roles });
  } catch (err) {
    notice(`No token: ${err.message}.`);
  }
});

submit('join-form', () => {
  if (!client.send('join_channel', { channel: $('channel').value.trim() })) needConnection();
});

submit('say-form', () => {
  const text = $('say').value.trim();
  if (!text) return;
  const channel = $('channel').value.trim();
  // The server does not send a message back to its own connection.
  if (!client.send('send_message', { channel, message: { text } })) return needConnection();
  addChat('you', text, `${channel} · ${clock()}`, true);
  $('say').value = '';
});

submit('types-form', () => {
  const types = $('types').value.split(',').map((t) => t.trim()).filter(Boolean);
  if (!types.length) return;
  if (!client.send('subscribe_notifications', { types })) return needConnection();
  types.forEach((t) => subscribed.add(t));
});

$('ping').addEventListener('click', () => {
  if (!client.send('ping')) needConnection();
});
$('clear').addEventListener('click', () => $('frames').replaceChildren());

for (const button of document.querySelectorAll('.copy')) {
  button.addEventListener('click', async () => {
    const source = $(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    } catch {
      getSelection().selectAllChildren(source); // Copying was not allowed: ready for the keyboard.
    }
  });
}

function follow() {
  const tenant = $('tenant').value.trim();
  const user = $('user').value.trim();
  if (followsTenant) $('channel').value = `tenant:${tenant}:general`;
  const o = {
    ...server, tenant, user,
    channel: $('channel').value.trim(),
    target: $('target').value,
    eventType: $('event-type').value.trim(),
    text: $('text').value,
  };
  $('event-type-label').hidden = o.target === 'user';
  $('pushd-line').textContent = pushdLine(o);
  $('grpcurl-line').textContent = grpcurlLine(o);
  $('key-hint').hidden = !server.grpcNeedsKey;
  const other = user === 'bob' ? 'ann' : 'bob';
  $('second').href = `?${new URLSearchParams({ tenant, user: other })}`;
  $('second-user').textContent = other;
}

$('channel').addEventListener('input', () => { followsTenant = false; });
document.addEventListener('input', follow);

$('codes').replaceChildren(...codes.map(([code, name, does]) => {
  const line = element('tr');
  line.append(element('td', String(code)), element('td', name), element('td', does));
  return line;
}));

const query = new URLSearchParams(location.search);
for (const name of ['tenant', 'user']) {
  if (query.get(name)) $(name).value = query.get(name);
}
follow();
try {
  server = await (await fetch('config.json')).json();
  follow();
} catch {
  // The usual address stays.
}
