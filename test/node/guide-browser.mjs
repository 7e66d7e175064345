import { withBrowser } from './browser.mjs';
import { options, report } from './report.mjs';

await withBrowser(async (browser) => {
  const page = await browser.newPage();
  page.on('pageerror', (err) => report({ event: 'fault', data: { text: String(err) } }));
  await page.goto(options.page);
  await page.exposeFunction('report', report);
  await page.evaluate(async (o) => {
    const { run } = await import('./guide-scenario.mjs');
    await run(o, window.report);
  }, options);
});
