// A person tries the demo page: two tabs, a chat, and the commands that the
// page offers, which the Go test runs in a shell.

import { withBrowser } from './browser.mjs';
import { options, report } from './report.mjs';

const patience = 60_000; // ms, for each step
const faults = [];

await withBrowser(async (browser) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 } });
  context.setDefaultTimeout(patience);
  const origin = new URL(options.url).origin;
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin });
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (e) => {
      console.error(`policy violated: ${e.violatedDirective} ${e.blockedURI}`);
    });
  });
  context.on('console', (m) => { if (['error', 'warning'].includes(m.type())) faults.push(m.text()); });
  context.on('weberror', (e) => faults.push(String(e.error())));
  context.on('requestfailed', (r) => faults.push(`${r.url()} failed`));
  context.on('request', (r) => { if (new URL(r.url()).origin !== origin) faults.push(`${r.url()} was loaded`); });
  context.on('response', (r) => { if (r.status() >= 400) faults.push(`${r.url()} ${r.status()}`); });

  const ann = await context.newPage();
  await ann.goto(options.url);
  await ann.fill('#tenant', options.tenant);
  await connect(ann);
  const [bob] = await Promise.all([context.waitForEvent('page'), ann.click('#second')]);
  await connect(bob);
  report({ event: 'connected', data: { ann: await status(ann), bob: await status(bob), bobURL: bob.url() } });

  await chat(ann, bob, 'hello bob, <b>你好</b>');
  await chat(bob, ann, 'hello ann');
  report({ event: 'chatted', data: {} });

  await ann.fill('#types', 'all');
  await ann.click('#types-form button');
  await find(ann, '#notes', 'subscribed to all');
  await commands(ann, bob);

  await ann.click('#ping');
  await find(ann, '#frames', '"pong"');
  await ann.screenshot({ path: options.screenshot, fullPage: true });
  const notesOfBob = await bob.locator('#notes li').count();
  await ann.click('#connect');
  await ann.waitForSelector('#status[data-state=off]');
  report({ event: 'done', data: { faults, notesOfBob } });
});

async function connect(page) {
  await page.click('#connect');
  await page.waitForSelector('#status[data-state=on]');
  await page.locator('#joined li', { hasText: `tenant:${options.tenant}:general` }).waitFor();
}

function status(page) {
  return page.locator('#status-text').textContent();
}

function find(page, feed, text) {
  return page.locator(`${feed} li`, { hasText: text }).first().waitFor();
}

async function chat(from, to, text) {
  await from.fill('#say', text);
  await from.click('#say-form button');
  await find(to, '#chat', text);
}

async function commands(ann, bob) {
  await ann.bringToFront();
  for (const target of ['user', 'channel', 'tenant', 'all']) {
    for (const tool of ['pushd', 'grpcurl']) {
      const text = `by ${tool} to ${target}: it's $(id) "quoted" \\ \`x\``;
      await ann.selectOption('#target', target);
      await ann.fill('#text', text);
      const button = ann.locator(`[data-copies=${tool}-line]`);
      await ann.waitForFunction((b) => b.textContent === 'Copy', await button.elementHandle());
      await button.click();
      await ann.waitForFunction((b) => b.textContent === 'Copied', await button.elementHandle());
      const line = await ann.evaluate(() => navigator.clipboard.readText());
      report({ event: 'command', data: { target, tool, line } }); // the test runs it now
      await find(ann, target === 'user' ? '#notes' : '#chat', text);
      if (target !== 'user') await find(bob, '#chat', text);
    }
  }
}
