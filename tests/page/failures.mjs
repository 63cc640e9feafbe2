// What is seen when parts of the cluster are ill: in place, in words, and without losing the rest.
import assert from 'node:assert/strict';
import { isSound, open, picture, row, says } from './browser.mjs';
import { PUBLISHED, channelOn, plan } from './world.mjs';

/** One node hangs: its row says so, the others keep their numbers, and an action half fails. */
export async function hanging(browser) {
  const node = plan.nodes.at(-1);
  const others = plan.nodes.slice(0, -1);
  const { page, close } = await open(browser, '/topics/clicks/archive', { failing: true });
  const table = 'Nodes of this channel';
  // What it answered last is what is shown of it.
  await says(page, table, node.http, 'Depth', /^\d+$/);
  process.kill(node.pid, 'SIGSTOP');
  try {
    await row(page, table, node.http).getByText('Does not answer').waitFor();
    await row(page, table, node.http)
      .getByText(/it had a depth of \d+/)
      .waitFor();
    await says(page, table, `Total of ${others.length} of ${plan.nodes.length}`, 'Clients', '0');
    await picture(page, 'node-hangs');
    await isSound(page, 'a page with a node that hangs');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Pause', exact: true }).click();
    await dialog.getByText(/of \d servers did it, the others did not/).waitFor();
    await dialog.locator('li.critical', { hasText: node.http }).waitFor();
    for (const { http } of others) await dialog.locator('li.ok', { hasText: http }).waitFor();
    await picture(page, 'action-half-fails');
    for (const other of others) {
      assert.ok((await channelOn(other, 'clicks', 'archive')).paused, `${other.http} is paused`);
    }
  } finally {
    process.kill(node.pid, 'SIGCONT');
  }
  await page.getByRole('dialog').getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('status').getByText('Channel archive is paused.').waitFor();
  await says(page, table, node.http, 'Depth', /^\d+$/);
  await page.getByText('Total', { exact: true }).first().waitFor();
  await close();
}

/** A node dies while somebody looks at it, and while somebody looks at the cluster. */
export async function killed(browser) {
  const node = plan.nodes.at(-1);
  const topic = await open(browser, '/topics/orders', { failing: true });
  const detail = await open(browser, `/nodes/${node.http}`, { failing: true });
  const table = 'Nodes of this topic';
  await says(topic.page, table, node.http, 'Messages', String(PUBLISHED));
  await row(detail.page, 'Topics and channels of this node', 'orders').waitFor();
  process.kill(node.pid, 'SIGKILL');
  const lost = row(topic.page, table, node.http).getByText(/Does not answer|no longer listed/);
  await lost.waitFor();
  await says(topic.page, table, plan.nodes[0].http, 'Messages', String(PUBLISHED));
  await detail.page.getByText('No answer').waitFor();
  await detail.page.getByText(/The numbers below are of/).waitFor();
  await row(detail.page, 'Topics and channels of this node', 'orders').waitFor();
  await picture(topic.page, 'node-killed');
  await picture(detail.page, 'node-killed-itself');
  await topic.close();
  await detail.close();
}

/** nsqadmin itself goes: the last numbers stay, with their time. */
export async function alone(browser) {
  const { page, close } = await open(browser, '/', { failing: true });
  await row(page, 'Topics', 'orders').waitFor();
  process.kill(plan.admin_pid, 'SIGKILL');
  await page.getByText('nsqadmin itself cannot be reached').waitFor();
  await page.getByText(/The numbers below are of \d\d:\d\d:\d\d/).waitFor();
  await row(page, 'Topics', 'orders').waitFor();
  await picture(page, 'nsqadmin-gone');
  await close();
}
