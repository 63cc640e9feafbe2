// One topic: its nodes, its channels, and what may be done to it.

import { useMemo } from 'preact/hooks';
import { api, failuresOf, get } from '../lib/api';
import { brief, bytes, count, plural, rate } from '../lib/format';
import { type Polled, usePolled } from '../lib/live';
import { type NodeRow, useNodeRows } from '../lib/noderows';
import { type Rates, useRates } from '../lib/rates';
import { pathOf, useParam } from '../lib/router';
import type { Channel, Envelope, Node, Topic } from '../lib/types';
import { Actions, Tombstone } from '../ui/actions';
import { Badge, Ephemeral, Paused, isEphemeral } from '../ui/badge';
import { columnsOf, latencyColumns, nodeNote, rateColumn, splitColumn } from '../ui/columns';
import { Search } from '../ui/filter';
import { Graphite } from '../ui/graphite';
import { HistoryCharts } from '../ui/history';
import { ChannelLink, Link, NodeLink } from '../ui/link';
import { Empty, Failures, LoadError } from '../ui/notice';
import { Page, Section, Tile, Tiles } from '../ui/page';
import { type Column, DataTable } from '../ui/table';

/** What a channel is done with: finished, or emptied. */
export const doneOf = (channel: Channel) =>
  channel.message_count - channel.depth - channel.in_flight_count - channel.deferred_count;

function* readings(topic: Topic | null): Iterable<[string, number]> {
  if (!topic) return;
  yield ['in', topic.message_count];
  for (const node of topic.nodes ?? []) yield [`node ${node.node}`, node.message_count];
  for (const channel of topic.channels ?? []) {
    yield [`in ${channel.channel_name}`, channel.message_count];
    yield [`out ${channel.channel_name}`, doneOf(channel)];
  }
}

/** The nodes that should know this topic, long before they say so. */
export function useExpected(topic: string): Node[] {
  const { data } = usePolled('nodes', () => get<{ nodes: Node[] | null }>(api.nodes), 15_000);
  const has = (node: Node) =>
    node.topics?.some((entry) => entry.topic === topic && !entry.tombstoned);
  return (data?.nodes ?? []).filter(has);
}

export function TopicPage({ topic }: { topic: string }) {
  const path = api.topic(topic);
  const polled: Polled<Topic & Envelope> = usePolled(path, () => get<Topic>(path));
  const { data, error, at } = polled;
  const failed = data ? failuresOf(data) : (error?.failed ?? []);
  const expected = useExpected(topic);
  const rates = useRates(at, () => readings(data));
  const nodes = useNodeRows({
    answered: data ? (data.nodes ?? []) : null,
    failed,
    expected,
    at,
  });
  return (
    <Page
      name={topic}
      crumbs={[{ href: pathOf.topics(), text: 'Topics' }]}
      marks={
        <>
          {data?.paused ? <Paused /> : null}
          {isEphemeral(topic) ? <Ephemeral /> : null}
        </>
      }
      actions={data ? <Actions topic={topic} paused={data.paused} depth={data.depth} /> : null}
    >
      <LoadError error={error} at={at} />
      <Failures failed={failed.filter(({ kind }) => kind === 'nsqlookupd')} of="The numbers" />
      {error && !data ? null : (
        <>
          <Summary topic={data} rates={rates} nodes={nodes} />
          <HistoryCharts of={{ topic }} lines={['throughput', 'backlog']} />
          <Channels topic={data} rates={rates} />
          <Nodes topic={topic} sum={data} rows={nodes} rates={rates} />
          <Graphite of={{ kind: 'topic', topic }} latency={data?.e2e_processing_latency} />
        </>
      )}
    </Page>
  );
}

interface SummaryProps {
  topic: Topic | null;
  rates: Rates;
  nodes: NodeRow<Topic>[] | null;
}

function Summary({ topic, rates, nodes }: SummaryProps) {
  const failed = nodes?.filter((row) => row.state !== 'ok' && row.state !== 'awaited').length ?? 0;
  const clients = (topic?.channels ?? []).reduce((sum, each) => sum + each.client_count, 0);
  const waiting = (topic?.channels ?? []).reduce((sum, each) => sum + each.depth, 0);
  return (
    <Tiles>
      <Tile label="In" value={rate(rates.of('in'))} detail="messages/s" />
      <Tile
        label="Depth"
        value={brief(topic?.depth)}
        detail={
          topic ? `${brief(topic.memory_depth)} memory + ${brief(topic.backend_depth)} disk` : ''
        }
        title="Messages that wait in the topic itself"
      />
      <Tile
        label="Waiting in channels"
        value={topic ? brief(waiting) : '–'}
        detail={topic ? plural(topic.channels?.length ?? 0, 'channel') : ''}
      />
      <Tile label="Messages" value={brief(topic?.message_count)} detail="since the nodes started" />
      <Tile label="Clients" value={topic ? brief(clients) : '–'} detail="consumers" />
      <Tile
        label="Nodes"
        value={nodes ? count(nodes.length) : '–'}
        detail={failed > 0 ? `${count(failed)} not answering` : topic ? 'all answering' : ''}
        tone={failed > 0 ? 'critical' : undefined}
      />
    </Tiles>
  );
}

interface NodesProps {
  topic: string;
  sum: Topic | null;
  rows: NodeRow<Topic>[] | null;
  rates: Rates;
}

/** How a total is named when not everybody answered. */
export function totalName<T>(rows: NodeRow<T>[]): string {
  const answered = rows.filter((row) => row.state === 'ok').length;
  return answered === rows.length ? 'Total' : `Total of ${answered} of ${rows.length}`;
}

function Nodes({ topic, sum, rows, rates }: NodesProps) {
  const columns = useMemo(() => nodeColumns(topic, sum, rows ?? [], rates), [topic, sum, rows]);
  return (
    <Section title="Nodes">
      <DataTable
        label="Nodes of this topic"
        columns={columns}
        rows={rows}
        keyOf={(row) => row.node}
        sortParam="nodes"
        sortFirst="node"
        totals
        note={(row) => nodeNote(row, (stats) => `a depth of ${count(stats.depth)}`)}
        rowClass={(row) => row.state}
        empty={
          <Empty title="No node has this topic.">
            <p>
              The lookupds know its name only. See <Link href={pathOf.lookup()}>Lookup</Link>.
            </p>
          </Empty>
        }
      />
    </Section>
  );
}

function nodeColumns(
  topic: string,
  sum: Topic | null,
  rows: NodeRow<Topic>[],
  rates: Rates,
): Column<NodeRow<Topic>>[] {
  const { number } = columnsOf<NodeRow<Topic>, Topic>((row) => row.stats, sum);
  const channels = (row: NodeRow<Topic>) => row.stats?.channels?.length ?? null;
  return [
    {
      id: 'node',
      title: 'Node',
      text: true,
      value: (row) => `${row.hostname} ${row.node}`,
      cell: (row) => (
        <span class="named">
          <NodeLink node={row.node} hostname={row.hostname} />
          {row.stats?.paused ? <Paused /> : null}
        </span>
      ),
      total: totalName(rows),
    },
    rateColumn(
      'in',
      'In/s',
      'Messages published per second',
      (row) => rates.of(`node ${row.node}`),
      rates.of('in'),
    ),
    number('depth', 'Depth'),
    splitColumn((row) => row.stats, sum),
    number('message_count', 'Messages'),
    ...(sum?.message_bytes ? [bytesColumn(sum.message_bytes)] : []),
    {
      id: 'channels',
      title: 'Channels',
      value: channels,
      total: count(sum?.channels?.length ?? (sum ? 0 : null)),
    },
    ...latencyColumns(
      rows,
      (row) => row.stats?.e2e_processing_latency,
      sum?.e2e_processing_latency,
    ),
    {
      id: 'tombstone',
      title: '',
      unsorted: true,
      value: () => null,
      cell: (row) => <Tombstone topic={topic} node={row.node} />,
    },
  ];
}

function bytesColumn(total: number): Column<NodeRow<Topic>> {
  return {
    id: 'bytes',
    title: 'Size',
    hint: 'Of all messages since the node started',
    value: (row) => row.stats?.message_bytes ?? null,
    cell: (row) => bytes(row.stats?.message_bytes),
    total: bytes(total),
  };
}

function Channels({ topic, rates }: { topic: Topic | null; rates: Rates }) {
  const [query, setQuery] = useParam('q', '');
  const channels = topic ? (topic.channels ?? []) : null;
  const needle = query.trim().toLowerCase();
  const rows = useMemo(
    () =>
      channels?.filter((channel) => channel.channel_name.toLowerCase().includes(needle)) ?? null,
    [channels, needle],
  );
  const columns = useMemo(() => channelColumns(rows ?? [], rates), [rows]);
  const known = channels?.length ?? 0;
  return (
    <Section
      title="Channels"
      aside={known > 8 ? <Search value={query} onInput={setQuery} label="Find a channel" /> : null}
    >
      <DataTable
        label="Channels of this topic"
        columns={columns}
        rows={rows}
        keyOf={(channel) => channel.channel_name}
        sortParam="channels"
        sortFirst="channel"
        totals
        empty={
          known > 0 ? (
            <Empty icon="search" title={`None of the ${plural(known, 'channel')} matches.`} />
          ) : (
            <Empty title="This topic has no channels.">
              <p>Its messages wait in the topic until a consumer makes the first one.</p>
            </Empty>
          )
        }
      />
    </Section>
  );
}

function sumOf(rows: Channel[]): Channel | null {
  const [first] = rows;
  if (!first) return null;
  const sum = { ...first };
  const fields = [
    'depth',
    'memory_depth',
    'backend_depth',
    'in_flight_count',
    'deferred_count',
    'requeue_count',
    'timeout_count',
    'message_count',
    'client_count',
  ] as const;
  for (const field of fields) sum[field] = rows.reduce((total, row) => total + row[field], 0);
  return sum;
}

function channelColumns(rows: Channel[], rates: Rates): Column<Channel>[] {
  const sum = sumOf(rows);
  const { number } = columnsOf<Channel, Channel>((row) => row, sum);
  const [into, out] = ['in', 'out'].map(
    (side) => (row: Channel) => rates.of(`${side} ${row.channel_name}`),
  ) as [(row: Channel) => number | null, (row: Channel) => number | null];
  const total = (value: (row: Channel) => number | null) =>
    rows.some((row) => value(row) !== null)
      ? rows.reduce((all, row) => all + (value(row) ?? 0), 0)
      : null;
  return [
    {
      id: 'channel',
      title: 'Channel',
      text: true,
      value: (row) => row.channel_name,
      cell: (row) => <ChannelName channel={row} />,
    },
    rateColumn('in', 'In/s', 'Messages that it got per second', into, total(into)),
    rateColumn('out', 'Out/s', 'Messages that it was done with per second', out, total(out)),
    number('depth', 'Depth'),
    splitColumn((row) => row, sum),
    number('in_flight_count', 'In flight'),
    number('deferred_count', 'Deferred'),
    number('requeue_count', 'Requeued'),
    number('timeout_count', 'Timed out'),
    number('message_count', 'Messages'),
    number('client_count', 'Clients'),
    ...latencyColumns(rows, (row) => row.e2e_processing_latency, null),
  ];
}

function ChannelName({ channel }: { channel: Channel }) {
  return (
    <span class="named">
      <ChannelLink topic={channel.topic_name} channel={channel.channel_name} />
      {channel.paused ? <Paused /> : null}
      {channel.client_count === 0 ? (
        <Badge tone={channel.depth > 0 ? 'warning' : 'plain'}>No consumers</Badge>
      ) : null}
      {isEphemeral(channel.channel_name) ? <Ephemeral /> : null}
    </span>
  );
}
