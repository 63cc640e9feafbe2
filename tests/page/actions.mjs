// Every action, from the button to what the nodes then say.
import assert from 'node:assert/strict';
import { open, row } from './browser.mjs';
import { PUBLISHED, channelOn, plan, publish, topicOn, until } from './world.mjs';

const button = (page, name) => page.getByRole('button', { name, exact: true });
const dialog = (page) => page.getByRole('dialog');

/** Presses an action that asks for no more than a click. */
async function confirm(page, name, done) {
  await button(page, name).click();
  await dialog(page).getByRole('button', { name, exact: true }).click();
  await page.getByRole('status').getByText(done).waitFor();
}

/** Presses an action that wants a name typed, and is not to be had for another one. */
async function type(page, opener, verb, name, done) {
  await opener.click();
  const go = dialog(page).getByRole('button', { name: verb, exact: true });
  assert.ok(await go.isDisabled(), `${verb} before anything is typed`);
  await dialog(page).getByRole('textbox').fill(`${name}x`);
  assert.ok(await go.isDisabled(), `${verb} with another name`);
  await dialog(page).getByRole('textbox').fill(name);
  await go.click();
  await page.getByRole('status').getByText(done).waitFor();
  await dialog(page).waitFor({ state: 'detached' });
}

const everywhere = async (check) => {
  for (const node of plan.nodes) if (!(await check(node))) return false;
  return true;
};

/** Made on the lookup page; published to, emptied, paused, deleted on their own. */
export async function ownTopic(browser) {
  const topic = 'made.by.hand';
  const { page, close } = await open(browser, '/lookup', { failing: true });
  await page.getByLabel('Topic', { exact: true }).fill('not a name');
  await button(page, 'Create').click();
  assert.ok(await page.locator('input:invalid').count(), 'a bad name is refused');
  await publish(topic, 3);
  await page.getByLabel('Topic', { exact: true }).fill(topic);
  await page.getByLabel(/^Channel/).fill('own');
  await until('the topic to be registered everywhere', async () => {
    const response = await fetch(`${plan.admin}/api/topics/${topic}`);
    return response.ok && (await response.json()).nodes?.length === plan.nodes.length;
  });
  await button(page, 'Create').click();
  await page.getByRole('status').getByText(`Channel own of topic ${topic} is there.`).waitFor();
  await until('the channel on every node', () =>
    everywhere((node) => channelOn(node, topic, 'own')),
  );

  await page.goto(`${plan.admin}/topics/${topic}`);
  await confirm(page, 'Pause', `Topic ${topic} is paused.`);
  assert.ok(await everywhere(async (node) => (await topicOn(node, topic)).paused));
  await publishByHand(page, topic);
  await type(page, button(page, 'Empty…'), 'Empty', topic, `Topic ${topic} is empty.`);
  assert.ok(await everywhere(async (node) => (await topicOn(node, topic)).depth === 0));
  await confirm(page, 'Unpause', `Topic ${topic} is no longer paused.`);
  assert.ok(await everywhere(async (node) => !(await topicOn(node, topic)).paused));

  await takeOff(page, topic);
  await type(page, button(page, 'Delete…'), 'Delete', topic, `Topic ${topic} is deleted.`);
  await page.getByRole('heading', { name: 'Topics', level: 1 }).waitFor();
  assert.ok(await everywhere(async (node) => !(await topicOn(node, topic))));
  await close();
}

async function publishByHand(page, topic) {
  const total = async () => {
    let sum = 0;
    for (const node of plan.nodes) sum += (await topicOn(node, topic)).message_count;
    return sum;
  };
  const before = await total();
  await button(page, 'Publish…').click();
  await dialog(page).getByLabel('Message').fill('{"greeting": "hällo"}');
  await dialog(page).getByRole('button', { name: 'Publish', exact: true }).click();
  await dialog(page)
    .getByText(/^Published to /)
    .waitFor();
  assert.equal(await total(), before + 1);
  await page.keyboard.press('Escape');
}

/** Takes the topic off the last node only. */
async function takeOff(page, topic) {
  const node = plan.nodes.at(-1);
  const opener = row(page, 'Nodes of this topic', node.http).getByRole('button');
  await type(page, opener, 'Take it off', topic, `Topic ${topic} is off ${node.http}.`);
  assert.equal(await topicOn(node, topic), undefined);
  assert.ok(await topicOn(plan.nodes[0], topic));
}

export async function ownChannel(browser) {
  const [topic, channel] = ['emails.outbound', 'metrics'];
  const { page, close } = await open(browser, `/topics/${topic}/${channel}`, { failing: true });
  const is = (check) => everywhere(async (node) => check(await channelOn(node, topic, channel)));
  await confirm(page, 'Pause', `Channel ${channel} is paused.`);
  assert.ok(await is((found) => found.paused));
  await page.getByText('Paused', { exact: true }).first().waitFor();
  await confirm(page, 'Unpause', `Channel ${channel} is no longer paused.`);
  assert.ok(await is((found) => !found.paused));
  assert.ok(await is((found) => found.depth >= PUBLISHED));
  await type(page, button(page, 'Empty…'), 'Empty', channel, `Channel ${channel} is empty.`);
  assert.ok(await is((found) => found.depth === 0));
  await type(page, button(page, 'Delete…'), 'Delete', channel, `Channel ${channel} is deleted.`);
  await page.waitForURL(`**/topics/${topic}`);
  assert.ok(await is((found) => !found));
  await close();
}

/** Names that only the lookupds know are deleted on the lookup page. */
export async function forgotten(browser) {
  if (plan.lookupds.length === 0) return;
  const { page, close } = await open(browser, '/lookup');
  const remove = (label) => page.getByRole('button', { name: label });
  const gone = 'The lookupds have forgotten';
  await type(page, remove('Delete channel later'), 'Delete', 'later', `${gone} channel later.`);
  await type(page, remove('Delete topic planned'), 'Delete', 'planned', `${gone} topic planned.`);
  await page.getByRole('link', { name: 'planned' }).waitFor({ state: 'detached' });
  await close();
}

/** Who is no admin sees everything and is offered nothing; here below a base path. */
export async function reader(browser) {
  const base = plan.reader;
  const { page, close } = await open(browser, '/topics/orders', { base });
  await row(page, 'Nodes of this topic', plan.nodes[0].http).waitFor();
  const words = /Pause$|Empty|Delete|Publish|Take topic/;
  assert.equal(await page.getByRole('button', { name: words }).count(), 0);
  await page.goto(`${base}/topics/orders/archive`);
  await row(page, 'Clients', 'archiver-7').first().waitFor();
  assert.equal(await page.getByRole('button', { name: words }).count(), 0);
  assert.equal(await page.getByText('Look at messages').count(), 0);
  await page.getByRole('link', { name: 'Topics', exact: true }).first().click();
  await row(page, 'Topics', 'orders').waitFor();
  assert.equal(new URL(page.url()).pathname, new URL(base).pathname);
  await page.reload();
  await row(page, 'Topics', 'orders').waitFor();
  await page.goto(`${base}/lookup`);
  await page.getByRole('heading', { name: 'Lookup', level: 1 }).waitFor();
  assert.equal(await page.getByText('Create').count(), 0);
  await close();
}

/** Looking at messages: what Shoal's nodes hold. */
export async function peek(browser) {
  const { page, close } = await open(browser, '/topics/clicks/archive');
  await button(page, 'Look at messages').click();
  await page.locator('.messages', { hasText: '"kind": "clicks"' }).first().waitFor();
  await close();
}
