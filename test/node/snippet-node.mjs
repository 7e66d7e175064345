// Runs code of the README in Node, and reports what it logs.

import './ws-global.mjs';

import { options, report } from './report.mjs';

console.log = (...words) => report({ event: 'log', data: { text: words.map(word).join(' ') } });

await import(`data:text/javascript,${encodeURIComponent(options.code)}`);

function word(value) {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
