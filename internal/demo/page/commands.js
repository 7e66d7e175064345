// The commands that a person can paste into a terminal. Everything that was
// typed is quoted for a POSIX shell.

export function quote(text) {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

const methods = { user: 'NotifyUser', channel: 'SendChannel', tenant: 'BroadcastTenant', all: 'BroadcastAll' };

// ownsTenant tells channels whose name says the tenant, or that have none.
function ownsTenant(channel) {
  return /^(tenant|notifications|public):/.test(channel);
}

export function pushdLine(o) {
  const names = { user: [o.tenant, o.user], channel: [o.channel], tenant: [o.tenant], all: [] }[o.target];
  const flags = [];
  if (o.target !== 'user') flags.push('--type', quote(o.eventType));
  if (o.target === 'channel' && !ownsTenant(o.channel)) flags.push('--tenant', quote(o.tenant));
  flags.push('--json', quote(JSON.stringify({ text: o.text })));
  if (o.grpcAddr !== '127.0.0.1:9090') flags.push('--server', quote(o.grpcAddr));
  if (o.grpcNeedsKey) flags.push('--key-file', 'KEY_FILE');
  const quoted = names.map(quote);
  // A name that begins with "-" must not be read as a flag.
  const dashed = names.some((n) => n.startsWith('-'));
  const args = dashed ? [...flags, '--', ...quoted] : [...quoted, ...flags];
  return ['pushd', 'send', o.target, ...args].join(' ');
}

export function grpcurlLine(o) {
  const body = {};
  if (o.target === 'user') Object.assign(body, { tenant_id: o.tenant, user_id: o.user });
  if (o.target === 'tenant') body.tenant_id = o.tenant;
  if (o.target === 'channel') {
    body.channel = o.channel;
    if (!ownsTenant(o.channel)) body.tenant_id = o.tenant;
  }
  if (o.target !== 'user') body.event_type = o.eventType;
  body.data = { text: o.text };
  const key = o.grpcNeedsKey ? ['-H', "'authorization: Bearer KEY'"] : [];
  return ['grpcurl', '-plaintext', ...key, '-d', quote(JSON.stringify(body)), quote(o.grpcAddr),
    `pushd.v1.ControlService/${methods[o.target]}`].join(' ');
}
