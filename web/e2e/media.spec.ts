import { randomFillSync } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';
import type { Page } from '@playwright/test';
import { App, expect, test } from './fixtures';
import { gate } from './model';

/** A real PNG of any size. Its pixels are noise, which does not compress. */
function png(side: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const line = side * 3 + 1;
  const pixels = randomFillSync(Buffer.alloc(side * line));
  for (let row = 0; row < side; row++) pixels[row * line] = 0;
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(pixels)), chunk('IEND', Buffer.alloc(0))]);
}

test('a picture is uploaded with progress and answered with text, audio and a picture', async ({ app }) => {
  const { page } = app;
  const session = await app.context.newCDPSession(page);
  await session.send('Network.enable');
  // Slow enough to see the progress.
  await session.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 1_500_000 });
  await page.locator('input[type=file]').setInputFiles({ name: 'noise.png', mimeType: 'image/png', buffer: png(900) });
  const chip = page.locator('.chip');
  await expect(chip).toHaveAttribute('data-state', 'uploading');
  await expect(chip).toContainText(/[1-9]\d? % uploaded/);
  await expect(chip).toHaveAttribute('data-state', 'done');
  await app.say('What is this?');

  const answer = app.answers.first();
  await expect(answer).toHaveAttribute('data-progress', 'done');
  await expect(answer).toContainText('response for What is this?');
  await expect(answer.locator('audio')).toHaveCount(1);
  await expect.poll(() => answer.locator('audio').evaluate((audio: HTMLAudioElement) => audio.readyState)).toBeGreaterThan(0);
  const picture = answer.getByRole('img', { name: 'Image' });
  await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);

  const own = app.messages.first().getByRole('img', { name: 'Image' });
  await expect.poll(() => own.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(900);
  await app.messages.first().getByRole('button', { name: 'Enlarge the image' }).click();
  await expect(page.getByRole('dialog', { name: 'Image' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);

  // Another attempt needs another upload. The user does not notice that.
  await answer.hover();
  await answer.getByRole('button', { name: 'Ask again' }).click();
  await expect(answer.getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
  await expect(answer.locator('audio')).toHaveCount(1);
});

test('an upload can be stopped, and what cannot be sent is refused', async ({ app }) => {
  const { page } = app;
  const session = await app.context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 50_000 });
  const input = page.locator('input[type=file]');
  await input.setInputFiles({ name: 'noise.png', mimeType: 'image/png', buffer: png(400) });
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'uploading');
  await page.getByRole('button', { name: 'Remove noise.png' }).click();
  await expect(page.locator('.chip')).toHaveCount(0);

  await input.setInputFiles({ name: 'page.html', mimeType: 'text/html', buffer: Buffer.from('<p>') });
  await expect(page.getByText('page.html has a type that cannot be sent.')).toBeVisible();
  await input.setInputFiles({ name: 'none.png', mimeType: 'image/png', buffer: Buffer.alloc(0) });
  await expect(page.getByText('none.png is empty.')).toBeVisible();
  await expect(page.locator('.chip')).toHaveCount(0);
});

test('files can be dropped and pasted', async ({ app }) => {
  const { page } = app;
  const bytes = png(8).toString('base64');
  const transfer = await page.evaluateHandle((base64) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], 'dropped.png', { type: 'image/png' }));
    return data;
  }, bytes);
  await page.locator('.page').dispatchEvent('dragenter', { dataTransfer: transfer });
  await page.getByText('Drop files to attach them').dispatchEvent('drop', { dataTransfer: transfer });
  await expect(page.locator('.chip')).toHaveText([/dropped\.png/]);

  await app.composer.evaluate((field, base64) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], 'pasted.png', { type: 'image/png' }));
    field.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
  }, bytes);
  await expect(page.locator('.chip')).toHaveText([/dropped\.png/, /pasted\.png/]);

  // One message has one file. Two files become two messages, and the text goes with the first.
  await expect(page.locator('.chip[data-state=done]')).toHaveCount(2);
  await app.say('Both');
  await expect(app.messages).toHaveCount(2);
  for (const index of [0, 1]) await expect(app.answers.nth(index)).toHaveAttribute('data-progress', 'done');
});

test('a voice message is recorded and answered with text and audio', async ({ app }) => {
  const { page } = app;
  await page.getByRole('button', { name: 'Record a voice message' }).click();
  await expect(page.getByText('Recording 0:02')).toBeVisible();
  await page.getByRole('button', { name: 'Finish recording' }).click();
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');
  await expect(app.answers.first().locator('audio')).toHaveCount(1);
  await expect(app.messages.first().locator('audio')).toHaveCount(1);
});

test('an edit that cannot be sent stays in its field', async ({ app }) => {
  const { page } = app;
  await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: png(8) });
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  await app.ask('Look');
  await page.route('**/api/uploads', (route) => route.abort());
  await app.messages.first().hover();
  await app.messages.first().getByRole('button', { name: 'Edit' }).click();
  const field = page.getByLabel('Edit your message');
  await field.fill('Look closer');
  await field.press('Enter');
  await expect(page.getByText('Something went wrong.')).toBeVisible();
  await expect(field).toHaveValue('Look closer');
  // The edit is not lost either when the user looks elsewhere.
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await page.getByRole('link', { name: 'Look' }).click();
  await expect(field).toHaveValue('Look closer');
  await page.unroute('**/api/uploads');
  await field.press('Enter');
  await expect(app.messages.first().getByRole('group', { name: 'Version 2 of 2' })).toBeVisible();
});

test('a double click records once', async ({ app }) => {
  const { page } = app;
  await page.evaluate(() => {
    const open: MediaStreamTrack[] = [];
    Object.assign(window, { open });
    const media = navigator.mediaDevices;
    const ask = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
      const stream = await ask(wanted);
      open.push(...stream.getTracks());
      return stream;
    };
  });
  await page.getByRole('button', { name: 'Record a voice message' }).dblclick();
  await page.getByRole('button', { name: 'Discard the recording' }).click();
  const live = () => page.evaluate(() => (window as unknown as { open: MediaStreamTrack[] }).open.map((track) => track.readyState));
  await expect.poll(live).toEqual(['ended']);
});

/** A WAV file of silence: 8 bit, one channel. */
function wav(seconds: number): Buffer {
  const rate = 8000;
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + seconds * rate, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate, 28);
  head.writeUInt16LE(1, 32);
  head.writeUInt16LE(8, 34);
  head.write('data', 36);
  head.writeUInt32LE(seconds * rate, 40);
  return Buffer.concat([head, Buffer.alloc(seconds * rate, 128)]);
}

/** From now on the addresses of files are refused, until the page asks for a message again and gets fresh ones. */
async function expire(page: Page): Promise<{ renewed: number }> {
  const state = { renewed: 0 };
  await page.route(/X-Amz-Signature/, (route) => {
    const isRefused = state.renewed === 0 && route.request().method() === 'GET';
    return isRefused ? route.fulfill({ status: 403 }) : route.continue();
  });
  await page.route(/\/messages\/[^/?]+$/, async (route) => {
    const response = await route.fetch();
    state.renewed++;
    await route.fulfill({ response });
  });
  return state;
}

test('a picture whose address has ended is loaded and downloaded by a fresh one', async ({ app }) => {
  const { page } = app;
  await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: png(8) });
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  await app.ask('Look');
  const state = await expire(page);
  await page.reload();
  for (const row of [app.messages, app.answers]) {
    const picture = row.first().getByRole('img', { name: 'Image' });
    await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
  }
  const player = app.answers.first().locator('audio');
  await expect.poll(() => player.evaluate((audio: HTMLAudioElement) => audio.readyState)).toBeGreaterThan(0);
  expect(state.renewed).toBeGreaterThan(0);

  await app.messages.first().getByRole('button', { name: 'Enlarge the image' }).click();
  state.renewed = 0;
  const got = page.waitForEvent('download');
  const button = page.getByRole('dialog').getByRole('button', { name: 'Download' });
  await button.click();
  expect(await (await got).failure()).toBeNull();
  expect(state.renewed).toBe(1);
  await page.route(/\/messages\/[^/?]+$/, (route) => route.abort());
  await button.click();
  await expect(page.getByRole('dialog').getByRole('alert')).toHaveText('The file could not be downloaded.');
});

test('playing goes on where the address of the recording has ended', async ({ app }) => {
  const { page } = app;
  await page.locator('input[type=file]').setInputFiles({ name: 'long.wav', mimeType: 'audio/wav', buffer: wav(2400) });
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  await app.ask('Listen');
  await page.reload();
  // It is so long that no browser loads it to its end at once.
  const player = app.messages.first().locator('audio');
  await player.evaluate((audio: HTMLAudioElement) => audio.play());
  const state = await expire(page);
  await player.evaluate((audio: HTMLAudioElement) => (audio.currentTime = 2000));
  await expect.poll(() => state.renewed).toBe(1);
  await expect.poll(() => player.evaluate((audio: HTMLAudioElement) => audio.currentTime)).toBeGreaterThan(2000);
  expect(await player.evaluate((audio: HTMLAudioElement) => audio.paused)).toBe(false);
});

test('a double click on "Ask again" about a file sends once', async ({ app }) => {
  const { page } = app;
  await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: png(8) });
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  await app.ask('Look');
  const uploads = await holdUploads(page);
  const answer = app.answers.first();
  await answer.hover();
  const again = answer.getByRole('button', { name: 'Ask again' });
  // The second click comes before the page has drawn anything.
  await again.evaluate((button: HTMLElement) => (button.click(), button.click()));
  await expect(again).toBeDisabled();
  uploads.open();
  await expect(answer.getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
  await expect(answer).toHaveAttribute('data-progress', 'done');
  await page.reload();
  await expect(answer.getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
});

/** Uploads do not begin before the gate is opened. */
async function holdUploads(page: Page): Promise<{ open(): void }> {
  const held = gate();
  await page.route('**/api/uploads', async (route) => {
    await held.opened;
    await route.continue();
  });
  return held;
}

test('a message that waits for its upload keeps no other conversation from sending', async ({ app }) => {
  const { page } = app;
  await app.ask('First');
  const uploads = await holdUploads(page);
  await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: png(8) });
  await app.composer.fill('Look at this');
  await app.composer.press('Enter');
  await expect(page.getByText('The message is sent as soon as the upload is done.')).toBeVisible();

  await page.getByRole('button', { name: 'New chat' }).first().click();
  await expect(page.locator('.chip')).toHaveCount(0);
  await app.ask('Second');
  await app.composer.fill('A draft for later');

  await page.getByRole('link', { name: 'First' }).click();
  await expect(app.composer).toHaveValue('Look at this');
  await expect(page.getByRole('button', { name: 'Send', exact: true })).toBeDisabled();
  await page.getByRole('link', { name: 'Second' }).click();
  uploads.open();
  await page.getByRole('link', { name: 'First' }).click();
  await expect(app.messages).toHaveText([/First/, /Look at this/]);
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', 'done');
  await expect(app.composer).toHaveValue('');
  await expect(page.locator('.chip')).toHaveCount(0);
  await page.getByRole('link', { name: 'Second' }).click();
  await expect(app.composer).toHaveValue('A draft for later');
});

test('the way to the administration and back keeps the conversation, its draft and its files', async ({ browser, stack, user }) => {
  const app = await App.open(browser, stack, user, { admin: true });
  const { page } = app;
  await app.ask('Where I was');
  const url = page.url();
  const input = page.locator('input[type=file]');
  await input.setInputFiles({ name: 'ready.png', mimeType: 'image/png', buffer: png(8) });
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  const uploads = await holdUploads(page);
  await input.setInputFiles({ name: 'running.png', mimeType: 'image/png', buffer: png(8) });
  await app.composer.fill('With both');

  const visit = async () => {
    await page.getByRole('button', { name: 'Account and settings' }).click();
    await page.getByRole('menuitem', { name: 'Administration' }).click();
    await expect(page.locator(`tr[data-client="${user}"]`)).toBeVisible();
  };
  const back = page.getByRole('link', { name: 'Back to the chat' });
  await visit();
  await back.click();
  await expect(page).toHaveURL(url);
  await expect(page.locator('.chip')).toHaveText([/ready\.png/, /running\.png/]);
  await expect(page.locator('.chip').nth(1)).toHaveAttribute('data-state', 'uploading');
  await expect(app.composer).toHaveValue('With both');

  // A message that is being sent goes out from there too.
  await app.composer.press('Enter');
  await visit();
  const sent = page.waitForResponse('**/api/uploads');
  uploads.open();
  await sent;
  await back.click();
  await expect(app.messages).toHaveCount(3);
  await expect(app.composer).toHaveValue('');
  await expect(page.locator('.chip')).toHaveCount(0);
  for (const index of [1, 2]) await expect(app.answers.nth(index)).toHaveAttribute('data-progress', 'done');

  // After a reload, the administration page still knows the way back.
  await visit();
  await page.reload();
  await back.click();
  await expect(page).toHaveURL(url);
  await app.close();
});
