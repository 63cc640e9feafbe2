// What the tests look at: the cluster that they were given, and what is in it.
import { consume } from './consumer.mjs';

/** The plan: `admin`, `reader` (an nsqadmin of which nobody is an admin), `nodes`, `lookupds`, `shots`. */
export const plan = JSON.parse(process.env.PAGE_PLAN);

export async function post(node, path, body = '') {
  const response = await fetch(`http://${node.http}${path}`, { method: 'POST', body });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
}

/** The statistics of a topic on one node; undefined when it has none. */
export async function topicOn(node, topic) {
  const response = await fetch(`http://${node.http}/stats?format=json&topic=${topic}`);
  return (await response.json()).topics?.find((entry) => entry.topic_name === topic);
}

export async function channelOn(node, topic, channel) {
  const found = await topicOn(node, topic);
  return found?.channels.find((entry) => entry.channel_name === channel);
}

/** Waits until `ready` gives something. */
export async function until(what, ready, within_ms = 30000) {
  const end = Date.now() + within_ms;
  for (;;) {
    const found = await ready();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${within_ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export const PUBLISHED = 40;

/** Publishes so many messages to each node. */
export async function publish(topic, amount = PUBLISHED) {
  const lines = Array.from({ length: amount }, (_, i) => JSON.stringify({ id: i, kind: topic }));
  for (const node of plan.nodes) await post(node, `/mpub?topic=${topic}`, lines.join('\n'));
}

/** Makes what the pages are expected to show. */
export async function furnish() {
  for (const topic of ['orders', 'clicks', 'emails.outbound']) {
    for (const node of plan.nodes) {
      await post(node, `/topic/create?topic=${topic}`);
      for (const channel of ['archive', 'metrics']) {
        await post(node, `/channel/create?topic=${topic}&channel=${channel}`);
      }
    }
    await publish(topic);
  }
  for (const node of plan.nodes) {
    await post(node, '/topic/create?topic=tally');
    await post(node, '/channel/create?topic=tally&channel=c');
  }
  const [first] = plan.nodes;
  await post(first, '/topic/create?topic=unread');
  await post(first, '/pub?topic=unread', 'nobody reads this');
  await post(first, '/channel/create?topic=clicks&channel=stopped');
  await post(first, '/channel/pause?topic=clicks&channel=stopped');
  const identity = {
    client_id: 'archiver-7',
    hostname: 'worker.example',
    user_agent: '<img src=x onerror=alert(1)>',
  };
  for (const node of plan.nodes) await consume(node.tcp, 'orders', 'archive', { identity });
  const sampled = { client_id: 'm', hostname: 'm', sample_rate: 42 };
  await consume(first.tcp, 'orders', 'metrics', { identity: sampled, finish: false });
  if (plan.lookupds.length > 0) {
    const [lookupd] = plan.lookupds;
    await post({ http: lookupd }, '/topic/create?topic=planned');
    await post({ http: lookupd }, '/channel/create?topic=planned&channel=later');
  }
}
