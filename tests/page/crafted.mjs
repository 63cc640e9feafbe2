// States that are hard to come by: the page gets answers that were made up.
import assert from 'node:assert/strict';
import { isSound, open, picture, row } from './browser.mjs';
import { until } from './world.mjs';

const json = (body) => ({ contentType: 'application/json', body: JSON.stringify(body) });

const HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>';

const EMPTY = {
  depth: 0,
  channel_depth: 0,
  memory_depth: 0,
  backend_depth: 0,
  in_flight_count: 0,
  deferred_count: 0,
  requeue_count: 0,
  timeout_count: 0,
  message_count: 0,
  channel_count: 0,
  client_count: 0,
  rate_in: null,
  rate_out: null,
};

function overview(topics) {
  return {
    message: '',
    failed: [],
    at: Date.now(),
    interval_ms: 5000,
    nodes: 1,
    nodes_failed: 0,
    totals: EMPTY,
    topics,
  };
}

const topicNamed = (topic_name, i = 0) => ({
  ...EMPTY,
  topic_name,
  message_count: i,
  paused: false,
  paused_channels: 0,
  node_count: 1,
  rate_in: i,
  rate_out: i,
  spark: [1, 2, null, i],
  depth_spark: [],
});

/** A thousand topics: only the visible rows exist, and all can be reached. */
export async function thousand(browser) {
  const topics = Array.from({ length: 1000 }, (_, i) =>
    topicNamed(`topic_${String(i).padStart(4, '0')}`, i),
  );
  const before = (page) =>
    page.route('**/api/overview', (route) => route.fulfill(json(overview(topics))));
  const { page, close } = await open(browser, '/', { before });
  await row(page, 'Topics', 'topic_0000').waitFor();
  const rows = page.locator('tbody tr');
  assert.ok((await rows.count()) < 120, 'rows out of sight are not in the document');
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await row(page, 'Topics', 'topic_0999').waitFor();
  assert.ok(await row(page, 'Topics', 'topic_0999').isVisible());
  await page.evaluate(() => scrollTo(0, 0));
  const cpu_ms = await costOfKeys(page, ['t', 'topic_05', 'topic_0', '', '99', '']);
  console.log(`  a key in the search costs ${Math.round(cpu_ms)} ms with 1,000 topics`);
  assert.ok(cpu_ms < 250, `${cpu_ms} ms for a key`);
  await page.getByRole('searchbox').fill('topic_0999');
  await until('one row', async () => (await rows.count()) === 1);
  await close();
}

/** Processor time of the page for each of these texts in the search: others' work is not in it. */
async function costOfKeys(page, texts) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const spent_s = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value;
  };
  const before_s = await spent_s();
  for (const text of texts) {
    await page.getByRole('searchbox').fill(text);
    await page.evaluate(
      () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))),
    );
  }
  return ((await spent_s()) - before_s) * (1000 / texts.length);
}

/** Whatever stands in a name, it is text. */
export async function hostile(browser) {
  const before = async (page) => {
    await page.route('**/api/overview', (route) =>
      route.fulfill(json(overview([topicNamed(HOSTILE)]))),
    );
    await page.route('**/api/nodes', (route) =>
      route.fulfill(json({ nodes: [NODE], message: '' })),
    );
    await page.route('**/api/topics/t/c', (route) => route.fulfill(json(CHANNEL)));
  };
  const { page, close } = await open(browser, '/', { before });
  const link = page.getByRole('link', { name: HOSTILE });
  await link.waitFor();
  const href = await link.getAttribute('href');
  assert.ok(href.endsWith(`/topics/${encodeURIComponent(HOSTILE)}`), href);
  await page.goto(new URL('/nodes', page.url()).href);
  await page.getByText(HOSTILE).first().waitFor();
  await page.goto(new URL('/topics/t/c', page.url()).href);
  await page.getByText('mallory').waitFor();
  assert.equal(await page.locator('a[href^="javascript:"]').count(), 0);
  assert.equal(
    await page.getByText('TLS').getAttribute('title'),
    'tls1.3 · TLS_AES_128_GCM_SHA256 · mutual',
  );
  for (const mark of ['Snappy', 'Deflate', 'Zone-local']) {
    await page.getByText(mark, { exact: true }).waitFor();
  }
  await page
    .getByRole('img', { name: 'same zone 50%, same region 25%, elsewhere 25%' })
    .first()
    .waitFor();
  await page.getByText('1h 2m').waitFor();
  await picture(page, 'clients-marked');
  await isSound(page, 'a channel with marked clients');
  await close();
}

/** A cluster without anything in it says how to begin. */
export async function bare(browser) {
  const before = async (page) => {
    await page.route('**/api/overview', (route) => route.fulfill(json(overview([]))));
    await page.route('**/api/nodes', (route) => route.fulfill(json({ nodes: null, message: '' })));
  };
  const { page, close } = await open(browser, '/', { before });
  await page.getByText('There are no topics yet.').waitFor();
  await picture(page, 'no-topics');
  await isSound(page, 'no topics');
  await page.goto(new URL('/nodes', page.url()).href);
  await page.getByText('No node is registered.').waitFor();
  await close();
}

/** While nothing has come, the nodes that are awaited are named. */
export async function awaited(browser) {
  let answer = () => {};
  const held = new Promise((resolve) => (answer = resolve));
  const before = async (page) => {
    await page.route('**/api/nodes', (route) =>
      route.fulfill(json({ nodes: [NODE], message: '' })),
    );
    await page.route('**/api/topics/t/c', async (route) => {
      await held;
      await route.fulfill(json(CHANNEL));
    });
  };
  const { page, close } = await open(browser, '/topics/t/c', { before });
  const node = row(page, 'Nodes of this channel', '10.0.0.1:4151');
  await node.getByText('Waiting for its answer…').waitFor();
  await picture(page, 'node-awaited');
  answer();
  await node.getByText('1,234').first().waitFor();
  await close();
}

/** Graphite, for those who have it: pictures of the series that the original asks for. */
export async function graphite(browser) {
  const asked = [];
  const before = async (page) => {
    await page.route('**/topics/orders/archive', async (route) => {
      const response = await route.fetch();
      const text = (await response.text()).replace(/(GRAPH_ENABLED&[^:]*:)false/, '$1true');
      await route.fulfill({ response, body: text });
    });
    await page.route('**/api/topics/**', (route) => route.continue());
    await page.route('**/render?**', (route) => {
      asked.push(new URL(route.request().url()).searchParams);
      const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="225"/>';
      return route.fulfill({ contentType: 'image/svg+xml', body: svg });
    });
  };
  const { page, close } = await open(browser, '/topics/orders/archive', { before });
  await page.getByRole('img', { name: 'Depth, drawn by Graphite' }).waitFor();
  const targets = () => asked.map((query) => query.get('target'));
  const series = 'stats.gauges.nsq.*.topic.orders.channel.archive.depth';
  await until('the depth', () =>
    targets().includes(`summarize(sumSeries(${series}),"60sec","avg")`),
  );
  assert.equal(asked[0].get('from'), '-2h');
  await page.getByRole('button', { name: '24h' }).click();
  await until('another stretch', () => asked.some((query) => query.get('from') === '-24h'));
  assert.equal(new URL(page.url()).search, '?t=24h');
  await picture(page, 'graphite');
  await isSound(page, 'a page with Graphite');
  await close();
}

const NODE = {
  remote_addresses: null,
  remote_address: '',
  hostname: HOSTILE,
  broadcast_address: '10.0.0.1',
  tcp_port: 4150,
  http_port: 4151,
  version: '1.3.0',
  topics: [{ topic: 't', tombstoned: false }],
  out_of_date: true,
};

const CLIENT = {
  node: '10.0.0.1:4151',
  remote_address: '10.0.0.9:5000',
  version: 'V2',
  client_id: 'c',
  hostname: 'c',
  user_agent: HOSTILE,
  connected: 3720e9,
  in_flight_count: 1,
  ready_count: 2,
  finish_count: 3,
  requeue_count: 4,
  message_count: 8,
  sample_rate: 0,
  deflate: true,
  snappy: true,
  authed: true,
  auth_identity: 'mallory',
  auth_identity_url: 'javascript:alert(1)',
  node_topology_zone: 'a',
  topology_zone: 'a',
  tls: true,
  tls_cipher_suite: 'TLS_AES_128_GCM_SHA256',
  tls_version: 'tls1.3',
  tls_negotiated_protocol: '',
  tls_negotiated_protocol_is_mutual: true,
};

const COUNTS = {
  hostname: 'h',
  topic_name: 't',
  channel_name: 'c',
  depth: 1234,
  memory_depth: 1000,
  backend_depth: 234,
  in_flight_count: 1,
  deferred_count: 2,
  requeue_count: 3,
  timeout_count: 4,
  message_count: 5678,
  delivery_msg_count: 4,
  zone_local_msg_count: 2,
  region_local_msg_count: 1,
  global_msg_count: 1,
  client_count: 1,
  paused: false,
  e2e_processing_latency: {
    count: 5,
    percentiles: [{ quantile: 0.99, min: 1e6, max: 3e6, average: 2e6, count: 5 }],
  },
};

const CHANNEL = {
  ...COUNTS,
  node: '*',
  nodes: [{ ...COUNTS, node: '10.0.0.1:4151', nodes: null, clients: null }],
  clients: [CLIENT],
  message: '',
};
