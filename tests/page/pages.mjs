// Every page shows what the cluster has, and keeps its state in the address.
import assert from 'node:assert/strict';
import { open, row, says } from './browser.mjs';
import { PUBLISHED, plan, publish, until } from './world.mjs';

const ALL = plan.nodes.length;
const inAll = (amount) => (amount * ALL).toLocaleString('en-US');

export async function topics(browser) {
  const { page, close } = await open(browser, '/');
  await says(page, 'Topics', 'orders', 'Messages', inAll(PUBLISHED));
  await says(page, 'Topics', 'orders', 'Channels', '2');
  await says(page, 'Topics', 'orders', 'Clients', String(ALL + 1));
  await says(page, 'Topics', 'orders', 'Nodes', String(ALL));
  await says(page, 'Topics', 'unread', 'Depth', '1');
  await says(page, 'Topics', 'clicks', 'In channels', inAll(PUBLISHED * 2));
  await page.getByText('1 channel paused').waitFor();
  if (plan.lookupds.length > 0)
    await row(page, 'Topics', 'planned').getByText('No producers').waitFor();
  await close();
}

export async function topic(browser) {
  const { page, close } = await open(browser, '/topics/clicks');
  const channels = 'Channels of this topic';
  await says(page, channels, 'archive', 'Depth', inAll(PUBLISHED));
  await says(page, channels, 'archive', 'Memory + disk', /^[\d,]+ \+ [\d,]+$/);
  await says(page, channels, 'archive', 'Messages', inAll(PUBLISHED));
  await row(page, channels, 'stopped').getByText('Paused', { exact: true }).waitFor();
  await row(page, channels, 'archive').getByText('No consumers').waitFor();
  for (const node of plan.nodes) {
    await says(page, 'Nodes of this topic', node.http, 'Messages', String(PUBLISHED));
  }
  await says(page, 'Nodes of this topic', 'Total', 'Messages', inAll(PUBLISHED));
  assert.equal(await page.title(), 'clicks · nsqadmin');
  await close();
}

export async function channel(browser) {
  const { page, close } = await open(browser, '/topics/orders/archive');
  for (const node of plan.nodes) {
    await says(page, 'Nodes of this channel', node.http, 'Messages', String(PUBLISHED));
    await says(page, 'Nodes of this channel', node.http, 'Clients', '1');
    await says(page, 'Clients', node.http, 'Finished', String(PUBLISHED));
  }
  const first = row(page, 'Clients', 'worker.example').first();
  await first.getByText('archiver-7').waitFor();
  await first.getByText('<img src=x onerror=alert(1)>').waitFor();
  await page.goto(`${plan.admin}/topics/orders/metrics`);
  await page.getByText('Sampled 42%').waitFor();
  await says(page, 'Clients', plan.nodes[0].http, 'Ready', '100');
  await close();
}

export async function nodes(browser) {
  const { page, close } = await open(browser, '/nodes');
  for (const node of plan.nodes) {
    await says(page, 'Nodes', node.http, 'TCP port', node.tcp.split(':')[1]);
    await row(page, 'Nodes', node.http).getByRole('link', { name: 'orders' }).waitFor();
  }
  if (plan.lookupds.length > 0) {
    const connections = row(page, 'Nodes', plan.nodes[0].http).getByRole('button', {
      name: '2 of 2',
    });
    await connections.click();
    await page.getByText(`${plan.lookupds[0]} ←`).waitFor();
  }
  await page.getByRole('searchbox').fill('no such node');
  await page.getByText(/^None of the \d nodes matches\.$/).waitFor();
  await close();
}

export async function node(browser) {
  const { http } = plan.nodes[0];
  const { page, close } = await open(browser, '/nodes');
  await page.getByRole('link', { name: http }).click();
  await page.waitForURL(`**/nodes/${http}`);
  const tree = 'Topics and channels of this node';
  await says(page, tree, 'orders', 'Messages', String(PUBLISHED));
  await row(page, tree, 'stopped').getByText('Paused', { exact: true }).waitFor();
  await row(page, 'Clients', 'archiver-7').waitFor();
  await says(page, 'Clients', 'archiver-7', 'Finished', String(PUBLISHED));
  await page.getByRole('table', { name: tree }).getByRole('button', { name: 'In flight' }).click();
  const first = page.getByRole('table', { name: tree }).locator('tbody th .name').first();
  await until(
    'the topic with messages in flight on top',
    async () => (await first.innerText()) === 'orders',
  );
  await close();
}

export async function counter(browser) {
  const { page, close } = await open(browser, '/counter');
  const digits = page.locator('.digits');
  const number = async () => Number((await digits.innerText()).replaceAll(',', ''));
  const before = await until('digits', number);
  await publish('tally', 10);
  const wanted = before + 10 * ALL;
  await until(`digits to reach ${wanted}`, async () => (await number()) === wanted);
  await close();
}

export async function lookup(browser) {
  const { page, close } = await open(browser, '/lookup');
  if (plan.lookupds.length === 0) {
    await page.getByText('was not given any nsqlookupd').waitFor();
  } else {
    for (const address of plan.lookupds) await page.getByText(address).waitFor();
    await page.getByRole('link', { name: 'planned' }).waitFor();
    await page.getByRole('link', { name: 'later' }).waitFor();
  }
  await close();
}

export async function health(browser) {
  const { page, close } = await open(browser, '/health');
  for (const { http } of plan.nodes) await says(page, 'Nodes', http, 'State', 'OK');
  for (const address of plan.lookupds) {
    await says(page, 'Lookupds', address, 'Nodes', String(ALL));
  }
  await page.locator('.findings').getByText('clicks/stopped').first().waitFor();
  await close();
}

/** Rates and charts come from what the server keeps, without Graphite. */
export async function live(browser) {
  const { page, close } = await open(browser, '/topics/emails.outbound');
  const channels = 'Channels of this topic';
  await says(page, channels, 'archive', 'Depth', inAll(PUBLISHED));
  await publish('emails.outbound', 5);
  await says(page, channels, 'archive', 'Depth', inAll(PUBLISHED + 5));
  await says(page, channels, 'archive', 'In/s', /^[1-9\d.]+$/);
  await until('a chart', () =>
    page
      .locator('.plot canvas')
      .first()
      .evaluate((canvas) => canvas.width > 0),
  );
  await page.getByRole('button', { name: 'Live' }).click();
  await publish('emails.outbound', 5);
  await page.waitForTimeout(4000);
  await says(page, channels, 'archive', 'Depth', inAll(PUBLISHED + 5));
  await page.getByRole('button', { name: 'Paused' }).click();
  await says(page, channels, 'archive', 'Depth', inAll(PUBLISHED + 10));
  await close();
}

/** What is searched, chosen and sorted survives a reload and can be sent to a colleague. */
export async function address(browser) {
  const { page, close } = await open(browser, '/');
  await row(page, 'Topics', 'orders').waitFor();
  await page.getByRole('searchbox').fill('e');
  await page.getByRole('button', { name: /^Backlog/ }).click();
  await page.getByRole('button', { name: 'Messages' }).click();
  assert.equal(new URL(page.url()).search, '?q=e&show=backlog&sort=-message_count');
  await page.reload();
  const names = () => page.locator('tbody:not(.totals) th .name').allTextContents();
  await until('the same rows', async () => (await names()).length > 0);
  assert.deepEqual((await names()).sort(), ['emails.outbound', 'orders', 'unread']);
  assert.equal((await names()).at(-1), 'unread');
  await page.getByRole('link', { name: 'orders' }).click();
  await page.getByRole('heading', { name: 'orders' }).waitFor();
  await page.goBack();
  assert.equal(await page.getByRole('searchbox').inputValue(), 'e');
  await close();
}

export async function keyboard(browser) {
  const { page, close } = await open(browser, '/health');
  await page.getByRole('heading', { name: 'Health' }).waitFor();
  for (const [key, title] of [
    ['n', 'Nodes'],
    ['l', 'Lookup'],
    ['c', 'Counter'],
    ['t', 'Topics'],
  ]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.getByRole('heading', { name: title, level: 1 }).waitFor();
  }
  await row(page, 'Topics', 'unread').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('orders');
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'orders', level: 1 }).waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog').getByText('Next row').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), 'light');
  await page.keyboard.press('d');
  await page.keyboard.press('d');
  assert.equal(await theme(), 'dark');
  await page.reload();
  assert.equal(await theme(), 'dark');
  await close();
}

export async function nowhere(browser) {
  const { page, close } = await open(browser, '/topics/no_such_topic', { failing: true });
  await page.getByText('No node of this cluster knows this topic.').waitFor();
  await page.goto(`${plan.admin}/topics/orders/no_such_channel`);
  await page.getByText('This topic has no channel of this name.').waitFor();
  await page.goto(`${plan.admin}/nodes/127.0.0.1:1`);
  await page.getByText('No node with this address is registered.').waitFor();
  await close();
}
