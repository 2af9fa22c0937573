import { existsSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
if (!existsSync(executablePath)) {
  console.log(`The browser tests are skipped: there is no ${executablePath}. Install chromium, or set CHROMIUM to a browser.`);
  process.exit(0);
}

export default defineConfig({
  testDir: '.',
  outputDir: '../../target/web-tests/output',
  reporter: [['list'], ['html', { outputFolder: '../../target/web-tests/report', open: 'never' }]],
  timeout: 90_000,
  expect: { timeout: 20_000 },
  fullyParallel: true,
  workers: 2,
  use: {
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    // The recorder makes requests that the page's policy forbids, so traces are only on demand.
    trace: process.env['TRACE'] ? 'retain-on-failure' : 'off',
    screenshot: 'only-on-failure',
    viewport: { width: 1280, height: 800 },
    launchOptions: {
      executablePath,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--use-fake-device-for-media-stream',
        '--use-fake-ui-for-media-stream',
      ],
    },
  },
});
