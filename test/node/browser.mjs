// Starts the Chromium that the test names, with a profile of its own that is
// gone afterwards.

import { chromium } from 'playwright-core';

import { options } from './report.mjs';

export async function withBrowser(act) {
  const browser = await chromium.launch({
    executablePath: options.chromium,
    headless: true,
    timeout: 60_000,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    ],
  });
  try {
    await act(browser);
  } finally {
    await browser.close();
  }
}
