// Runs code of the README in a page of the test's, and reports what it logs, until it logs
// that a connection was closed.

import { withBrowser } from './browser.mjs';
import { options, report } from './report.mjs';

await withBrowser(async (browser) => {
  const page = await browser.newPage();
  page.on('pageerror', (err) => report({ event: 'fault', data: { text: String(err) } }));
  const closed = new Promise((resolve) => {
    page.on('console', (m) => {
      report({ event: 'log', data: { text: m.text() } });
      if (m.text().startsWith('closed')) resolve();
    });
  });
  await page.goto(options.page);
  await page.addScriptTag({ content: options.code, type: 'module' });
  await closed;
});
