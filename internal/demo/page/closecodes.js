// What a close code asks of a client. The range decides what to do, so that a
// client obeys codes that are newer than itself.

export const codes = [
  [1000, 'normal', 'nothing: it was asked for'],
  [1001, 'going away', 'reconnect soon: the node stops'],
  [1002, 'protocol error', 'not repeat what it sent'],
  [1007, 'bad data', 'send valid UTF-8'],
  [1009, 'too big', 'send smaller messages'],
  [1011, 'server fault', 'back off, then reconnect'],
  [4000, 'drain', 'reconnect now: the node is leaving'],
  [4001, 'rebalance', 'reconnect now'],
  [4002, 'resync', 'reconnect now'],
  [4100, 'overloaded', 'back off, then reconnect'],
  [4101, 'slow consumer', 'read faster; back off, then reconnect'],
  [4102, 'ping timeout', 'back off, then reconnect'],
  [4103, 'rate limited', 'send less; back off, then reconnect'],
  [4104, 'internal', 'back off, then reconnect'],
  [4200, 'token expired', 'get a new token, reconnect once'],
  [4201, 'token invalid', 'get a new token, reconnect once'],
  [4202, 'token revoked', 'get a new token, reconnect once'],
  [4300, 'unauthorized', 'stop and tell the person'],
  [4301, 'forbidden', 'stop: a role is missing'],
  [4302, 'kicked', 'stop and tell the person'],
  [4303, 'connection limit', 'close other tabs of this user first'],
  [4304, 'replaced', 'stop: another connection took over'],
  [4305, 'bad request', 'stop and tell the person'],
  [4307, 'tenant suspended', 'stop and tell the person'],
];

const ranges = [
  [4000, 'reconnect now'],
  [4100, 'back off, then reconnect'],
  [4200, 'get a new token, reconnect once'],
  [4300, 'stop and tell the person'],
];

export function explain(code) {
  if (code === 1006) {
    return '1006: the connection broke without a close frame, or could not be made';
  }
  const known = codes.find(([c]) => c === code);
  if (known) {
    return `${code} ${known[1]}: a client should ${known[2]}`.replace('should nothing:', 'does nothing:');
  }
  const range = ranges.find(([from]) => code >= from && code < from + 100);
  return range ? `${code}: a client should ${range[1]}` : `${code}: unknown code`;
}

// next says what this page does after a close: 'stop', 'now', or 'later'.
export function next(code) {
  if (code >= 4000 && code < 4100) return 'now';
  if (code === 1001 || code === 1006 || code === 1011 || code === 1012) return 'later';
  if (code >= 4100 && code < 4200) return 'later';
  return 'stop';
}
