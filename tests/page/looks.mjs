// Every page in light, dark and narrow: sound for axe, never scrolled sideways, kept as pictures.
import { isSound, open, picture } from './browser.mjs';
import { plan } from './world.mjs';

const PAGES = {
  topics: '/',
  topic: '/topics/clicks',
  channel: '/topics/orders/archive',
  nodes: '/nodes',
  node: `/nodes/${plan.nodes[0].http}`,
  counter: '/counter',
  lookup: '/lookup',
  health: '/health',
};

const LOOKS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  narrow: { colorScheme: 'light', viewport: { width: 390, height: 800 } },
};

async function look(browser, name) {
  for (const [page_name, path] of Object.entries(PAGES)) {
    const { page, close } = await open(browser, path, LOOKS[name]);
    await page.locator('table tbody tr:not(.skeleton) th, .panel').first().waitFor();
    await picture(page, `${page_name}-${name}`);
    await isSound(page, `${page_name}, ${name}`);
    await close();
  }
}

export const light = (browser) => look(browser, 'light');
export const dark = (browser) => look(browser, 'dark');
export const narrow = (browser) => look(browser, 'narrow');

export async function dialogs(browser) {
  const { page, close } = await open(browser, '/topics/orders');
  const shown = async (name) => {
    await page.getByRole('dialog').waitFor();
    await picture(page, `dialog-${name}`);
    await isSound(page, `the dialog ${name}`);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  };
  for (const [name, opener] of [
    ['delete', 'Delete…'],
    ['pause', 'Pause'],
    ['publish', 'Publish…'],
  ]) {
    await page.getByRole('button', { name: opener, exact: true }).click();
    await shown(name);
  }
  await page.keyboard.press('?');
  await shown('keys');
  await close();
}
