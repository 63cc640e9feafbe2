// The one large number: messages that went through all channels, moving as they do.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { api, failuresOf, get } from '../lib/api';
import { count, rate } from '../lib/format';
import { usePolled } from '../lib/live';
import { useRates } from '../lib/rates';
import { ChannelLink, NodeLink, TopicLink } from '../ui/link';
import { Count, Rate } from '../ui/columns';
import { Graphite } from '../ui/graphite';
import { HistoryCharts } from '../ui/history';
import { Empty, Failures, LoadError } from '../ui/notice';
import { Page, Section } from '../ui/page';
import { type Column, DataTable } from '../ui/table';

interface Entry {
  node: string;
  topic_name: string;
  channel_name: string;
  message_count: number;
}

interface Counted {
  stats: Record<string, Entry> | null;
}

const keyOf = (entry: Entry) => `${entry.topic_name}:${entry.channel_name}:${entry.node}`;

export function CounterPage() {
  const { data, error, at } = usePolled('counter', () => get<Counted>(api.counter));
  const entries = useMemo(() => (data ? Object.values(data.stats ?? {}) : null), [data]);
  const total = (entries ?? []).reduce((sum, entry) => sum + entry.message_count, 0);
  const rates = useRates(at, () => readings(entries ?? [], total));
  const perSecond = rates.of('all');
  return (
    <Page name="Counter">
      <LoadError error={error} at={at} />
      <Failures failed={data ? failuresOf(data) : (error?.failed ?? [])} of="The numbers" />
      <div class="counter panel">
        <Moving value={entries ? total : null} />
        <p>messages went through channels since the nodes started</p>
        <p class="aside">
          {perSecond === null ? 'Reading again for a rate…' : `${rate(perSecond)} per second`}
        </p>
      </div>
      <HistoryCharts of={{}} lines={['throughput', 'backlog']} />
      <Section title="Where they went">
        <DataTable
          label="Messages by topic, channel and node"
          columns={columnsFor(total, perSecond, (entry) => rates.of(keyOf(entry)))}
          rows={entries}
          keyOf={keyOf}
          sortParam="sort"
          sortFirst="-messages"
          totals
          empty={
            <Empty title="There are no channels, so nothing is counted.">
              <p>A message counts once for each channel that gets it.</p>
            </Empty>
          }
        />
      </Section>
      <Graphite of={{ kind: 'counter' }} />
    </Page>
  );
}

function* readings(entries: Entry[], total: number): Iterable<[string, number]> {
  if (entries.length > 0) yield ['all', total];
  for (const entry of entries) yield [keyOf(entry), entry.message_count];
}

function columnsFor(
  total: number,
  perSecond: number | null,
  rateOf: (entry: Entry) => number | null,
): Column<Entry>[] {
  return [
    {
      id: 'topic',
      title: 'Topic',
      text: true,
      value: (entry) => entry.topic_name,
      cell: (entry) => <TopicLink topic={entry.topic_name} />,
    },
    {
      id: 'channel',
      title: 'Channel',
      text: true,
      value: (entry) => entry.channel_name,
      cell: (entry) => <ChannelLink topic={entry.topic_name} channel={entry.channel_name} />,
    },
    {
      id: 'node',
      title: 'Node',
      text: true,
      value: (entry) => entry.node,
      cell: (entry) => <NodeLink node={entry.node} />,
    },
    {
      id: 'rate',
      title: 'Messages/s',
      value: rateOf,
      cell: (entry) => <Rate value={rateOf(entry)} />,
      total: <Rate value={perSecond} />,
    },
    {
      id: 'messages',
      title: 'Messages',
      value: (entry) => entry.message_count,
      total: <Count value={total} />,
    },
  ];
}

/** Over how long it moves from what was shown to what is true. */
const MOVE_MS = 3000;

/** Runs after the number, so that the digits move as the messages do. */
function Moving({ value }: { value: number | null }) {
  const [shown, setShown] = useState(value);
  const current = useRef(value);
  useEffect(() => {
    if (value === null) return;
    const from = current.current ?? value;
    const still = value <= from || matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (still) {
      current.current = value;
      setShown(value);
      return;
    }
    const start = performance.now();
    let frame = 0;
    const move = (now: number) => {
      const done = Math.min(1, Math.max(0, (now - start) / MOVE_MS));
      current.current = Math.round(from + (value - from) * done);
      setShown(current.current);
      if (done < 1) frame = requestAnimationFrame(move);
    };
    frame = requestAnimationFrame(move);
    return () => cancelAnimationFrame(frame);
  }, [value]);
  return <p class="digits">{count(shown)}</p>;
}
