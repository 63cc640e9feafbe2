// Opening pages, and what has to hold for every one of them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { plan } from './world.mjs';

const WITHIN_MS = 30000;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function launch() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Tests run as root in containers, where Chromium's own sandbox does not start.
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
  return browser;
}

/** Names of errors that a scenario expects, such as those of a server that it stopped. */
const EXPECTED = /Failed to load resource|net::ERR_/;

/** A window of its own, whose errors fail the scenario. */
export async function open(browser, path, options = {}) {
  const { base = plan.admin, failing = false, before, ...look } = options;
  const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, ...look });
  context.setDefaultTimeout(WITHIN_MS);
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(`error: ${error.stack}`));
  page.on('console', (message) => {
    const isFault = message.type() === 'error' && !(failing && EXPECTED.test(message.text()));
    if (isFault) faults.push(`console: ${message.text()}`);
  });
  page.on('dialog', (dialog) => {
    faults.push(`a script ran: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    const { origin } = new URL(request.url());
    if (origin !== new URL(base).origin && origin !== 'null') faults.push(`asked ${request.url()}`);
  });
  await before?.(page);
  await page.goto(base + path);
  const close = async () => {
    assert.deepEqual(faults, [], `${path} reported faults`);
    await context.close();
  };
  return { page, close };
}

/** Keeps a picture for people to look at. */
export async function picture(page, name) {
  // The bar would stand in the middle of a picture of the whole page.
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(plan.shots, `${name}.png`), fullPage: true });
}

/** No serious fault that axe knows, and nothing that scrolls the page sideways. */
export async function isSound(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const grave = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const told = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(told, [], `${what}: axe`);
  const [content, window] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok(content <= window, `${what} is ${content} wide in a window of ${window}`);
}

/** The rows of a table that have this text in them. */
export function row(page, table, text) {
  const rows = page.getByRole('table', { name: table, exact: true }).locator('tbody tr');
  return rows.filter({ hasText: text });
}

/** The cell of a row below a heading, by the heading's words. */
export async function cell(page, table, name, heading) {
  const titles = page
    .getByRole('table', { name: table, exact: true })
    .locator('thead tr:last-child > *');
  const texts = (await titles.allTextContents()).map((text) => text.replace(/[↑↓]/g, '').trim());
  const at = texts.indexOf(heading);
  assert.ok(at >= 0, `${table} has no column ${heading}, but ${texts}`);
  return row(page, table, name).first().locator(':scope > *').nth(at);
}

/** Waits until a cell says this. */
export async function says(page, table, name, heading, wanted) {
  await row(page, table, name).first().waitFor();
  const end = Date.now() + WITHIN_MS;
  let text;
  do {
    text = (await (await cell(page, table, name, heading)).innerText()).trim();
    if (wanted instanceof RegExp ? wanted.test(text) : text === wanted) return;
    await page.waitForTimeout(100);
  } while (Date.now() < end);
  assert.fail(`${table}, ${name}, ${heading}: ${text}, not ${wanted}`);
}
