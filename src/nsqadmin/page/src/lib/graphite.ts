// Addresses of Graphite's pictures, for those who have one: the same series as the original's.

import { config, serverPath } from './config';
import type { Latency } from './types';

export type Subject =
  | { kind: 'topic'; topic: string; node?: string }
  | { kind: 'channel'; topic: string; channel: string; node?: string }
  | { kind: 'node'; node: string }
  | { kind: 'counter' };

/** The stretches of time that the original offers. */
export const INTERVALS = ['1h', '2h', '12h', '24h', '48h', '168h'];

interface Picture {
  title: string;
  key: string;
  colour: string;
}

const QUEUE: Picture[] = [
  { title: 'Depth', key: 'depth', colour: 'red' },
  { title: 'Messages', key: 'message_count', colour: 'blue' },
];

const CHANNEL: Picture[] = [
  ...QUEUE,
  { title: 'In flight', key: 'in_flight_count', colour: 'blue' },
  { title: 'Deferred', key: 'deferred_count', colour: 'red' },
  { title: 'Requeued', key: 'requeue_count', colour: 'blue' },
  { title: 'Timed out', key: 'timeout_count', colour: 'blue' },
  { title: 'Clients', key: 'clients', colour: 'blue' },
];

const NODE: Picture[] = [
  { title: 'GC pressure', key: '*_bytes', colour: 'red,green,blue,purple' },
  { title: 'GC pause percentiles', key: 'gc_pause_*', colour: 'red,green,blue,purple' },
  { title: 'GC runs', key: 'gc_runs', colour: 'red,green,blue,purple' },
  { title: 'Heap objects in use', key: 'heap_objects', colour: 'red,green,blue,purple' },
];

const PICTURES: Record<Subject['kind'], Picture[]> = {
  topic: QUEUE,
  channel: CHANNEL,
  node: NODE,
  counter: [{ title: 'Messages', key: 'message_count', colour: 'green' }],
};

const COUNTERS = new Set(['requeue_count', 'timeout_count', 'message_count', 'gc_runs']);

function formatted(key: string, path: string): string {
  const format = COUNTERS.has(key) ? config.STATSD_COUNTER_FORMAT : config.STATSD_GAUGE_FORMAT;
  return format === '' ? path : format.replaceAll('%s', path);
}

/** As statsd daemons write names. */
const clean = (name: string) =>
  name
    .replaceAll(' ', '_')
    .replaceAll('/', '-')
    .replaceAll(/[^a-zA-Z0-9-_.]/g, '');

function prefixOf(node: string): string {
  const prefix = config.STATSD_PREFIX.replaceAll('%s', node.replaceAll(/[.:]/g, '_'));
  return prefix.endsWith('.') ? prefix : `${prefix}.`;
}

function pathOf(of: Subject): string {
  const prefix = prefixOf('node' in of && of.node ? of.node : '*');
  switch (of.kind) {
    case 'topic':
      return `${prefix}topic.${clean(of.topic)}.`;
    case 'channel':
      return `${prefix}topic.${clean(of.topic)}.channel.${clean(of.channel)}.`;
    case 'node':
      return `${prefix}mem.`;
    case 'counter':
      return `${prefix}topic.*.channel.*.`;
  }
}

function targetOf(of: Subject, key: string): string {
  const series = formatted(key, pathOf(of) + key);
  if (key === 'gc_runs') return `movingAverage(${series},45)`;
  return of.kind === 'node' ? series : `sumSeries(${series})`;
}

function latencyTargets(of: Subject, latency: Latency): string[] {
  return (latency.percentiles ?? []).map(({ quantile }) => {
    const key = `e2e_processing_latency_${Number((quantile * 100).toFixed(3))}`;
    return `scale(averageSeries(${formatted(key, pathOf(of) + key)}),0.000001)`;
  });
}

function render(targets: string[], colour: string, interval: string): string {
  const query = new URLSearchParams({
    colorList: colour,
    height: '225',
    width: '480',
    bgcolor: 'ff000000',
    fgcolor: '888888',
    yMin: '0',
    lineMode: 'connected',
    drawNullAsZero: 'false',
    from: `-${interval}`,
    until: '-1min',
  });
  for (const target of targets) {
    query.append('target', `summarize(${target},"${config.STATSD_INTERVAL}sec","avg")`);
  }
  // Proxied, it is below our own base path.
  const base = config.GRAPHITE_URL ? `${config.GRAPHITE_URL}/render` : serverPath('/render');
  return `${base}?${query}`;
}

/** Titles and addresses of all pictures of a subject. */
export function pictures(of: Subject, latency: Latency | null | undefined, interval: string) {
  const drawn = PICTURES[of.kind].map(({ title, key, colour }) => {
    const target = targetOf(of, key);
    const perSecond = COUNTERS.has(key) ? `scale(${target},${1 / config.STATSD_INTERVAL})` : target;
    const shown = COUNTERS.has(key) ? `${title}, per second` : title;
    return { title: shown, src: render([perSecond], colour, interval) };
  });
  if (latency?.percentiles?.length) {
    const src = render(latencyTargets(of, latency), 'blue,purple,green,orange,red', interval);
    drawn.push({ title: 'From publish to finish, in ms', src });
  }
  return drawn;
}
