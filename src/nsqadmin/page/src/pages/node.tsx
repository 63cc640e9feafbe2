// One node: what it runs, its topics with their channels, and everybody who is connected.

import { useMemo } from 'preact/hooks';
import { api, failuresOf, get } from '../lib/api';
import { brief, bytes, count, duration, plural, rate } from '../lib/format';
import { usePolled } from '../lib/live';
import { type Rates, useRates } from '../lib/rates';
import { pathOf, useParam } from '../lib/router';
import type { Channel, Client, NodeDetail, Topic } from '../lib/types';
import { Tombstone } from '../ui/actions';
import { Badge, Ephemeral, Paused, isEphemeral } from '../ui/badge';
import { ClientsTable, ProducersTable } from '../ui/clients';
import { Count, Rate, splitColumn } from '../ui/columns';
import { Search } from '../ui/filter';
import { Graphite } from '../ui/graphite';
import { HistoryCharts } from '../ui/history';
import { ChannelLink, TopicLink } from '../ui/link';
import { Empty, LoadError, Notice } from '../ui/notice';
import { Page, Section, Tile, Tiles } from '../ui/page';
import { type Column, DataTable, sorted } from '../ui/table';
import { doneOf } from './topic';

/** A topic, or one of its channels, which stands below it. */
interface Row {
  topic: Topic;
  channel: Channel | null;
}

function* readings(topics: Topic[]): Iterable<[string, number]> {
  let total = 0;
  for (const topic of topics) {
    total += topic.message_count;
    yield [`in ${topic.topic_name}`, topic.message_count];
    for (const channel of topic.channels ?? []) {
      const key = `${topic.topic_name} ${channel.channel_name}`;
      yield [`in ${key}`, channel.message_count];
      yield [`out ${key}`, doneOf(channel)];
    }
  }
  yield ['all', total];
}

/** Channels follow their topic, unless the search names only some of them. */
function rowsOf(topics: Topic[], needle: string): Row[] {
  const rows: Row[] = [];
  for (const topic of topics) {
    const isNamed = topic.topic_name.toLowerCase().includes(needle);
    const channels = (topic.channels ?? []).filter(
      (channel) => isNamed || channel.channel_name.toLowerCase().includes(needle),
    );
    if (isNamed || channels.length > 0) rows.push({ topic, channel: null });
    for (const channel of channels) rows.push({ topic, channel });
  }
  return rows;
}

const keyOf = ({ topic, channel }: Row) => `${topic.topic_name} ${channel?.channel_name ?? ''}`;

export function NodePage({ node }: { node: string }) {
  const path = api.node(node);
  const { data, error, at } = usePolled(path, () => get<NodeDetail>(path));
  const topics = useMemo(() => (data ? (data.topics ?? []) : null), [data]);
  const rates = useRates(at, () => readings(topics ?? []));
  const failed = data ? failuresOf(data).filter(({ kind }) => kind === 'nsqd') : [];
  const isIll = data?.health?.startsWith('NOK') ?? false;
  return (
    <Page
      name={node}
      crumbs={[{ href: pathOf.nodes(), text: 'Nodes' }]}
      marks={
        <>
          {data?.info?.version ? <Badge>v{data.info.version}</Badge> : null}
          {data?.info?.topology_region ? <Badge>{data.info.topology_region}</Badge> : null}
          {data?.info?.topology_zone ? <Badge>{data.info.topology_zone}</Badge> : null}
          {error || failed.length > 0 ? <Badge tone="critical">No answer</Badge> : null}
        </>
      }
    >
      <LoadError error={error} at={at} />
      {isIll ? (
        <Notice kind="critical" title="This node says that it is not well.">
          <p>{data?.health?.replace(/^NOK - /, '')}</p>
        </Notice>
      ) : null}
      {error && !data ? null : (
        <>
          <Summary node={data} rates={rates} />
          <HistoryCharts of={{ node }} lines={['throughput', 'backlog']} />
          <Topics node={node} topics={topics} rates={rates} />
          <Clients topics={topics} at={at} />
          {data?.producers?.length ? (
            <Section title="Producers">
              <ProducersTable producers={data.producers} at={at} />
            </Section>
          ) : null}
          <Memory memory={data?.memory} />
          <Graphite of={{ kind: 'node', node }} />
        </>
      )}
    </Page>
  );
}

function Summary({ node, rates }: { node: NodeDetail | null; rates: Rates }) {
  const start = node?.info?.start_time;
  const topics = node?.topics ?? [];
  const channels = topics.reduce((sum, topic) => sum + (topic.channels?.length ?? 0), 0);
  const waiting = topics.reduce((sum, topic) => sum + topic.depth, 0);
  const inChannels = topics
    .flatMap((topic) => topic.channels ?? [])
    .reduce((sum, channel) => sum + channel.depth, 0);
  return (
    <Tiles>
      <Tile label="In" value={rate(rates.of('all'))} detail="messages/s" />
      <Tile
        label="Waiting"
        value={node ? brief(waiting + inChannels) : '–'}
        detail={node ? `${brief(waiting)} in topics` : ''}
      />
      <Tile label="Messages" value={brief(node?.total_messages)} detail="since it started" />
      <Tile
        label="Topics"
        value={node ? count(topics.length) : '–'}
        detail={node ? plural(channels, 'channel') : ''}
      />
      <Tile label="Clients" value={brief(node?.total_clients)} detail="consumers" />
      <Tile
        label="Up for"
        value={start ? duration(Math.max(0, Date.now() - start * 1000) * 1e6) : '–'}
        detail={node?.info ? `${node.info.hostname}, TCP ${node.info.tcp_port}` : ''}
      />
    </Tiles>
  );
}

interface TopicsProps {
  node: string;
  topics: Topic[] | null;
  rates: Rates;
}

function Topics({ node, topics, rates }: TopicsProps) {
  const [query, setQuery] = useParam('topics', '');
  const needle = query.trim().toLowerCase();
  const rows = useMemo(() => topics && rowsOf(topics, needle), [topics, needle]);
  const columns = useMemo(() => treeColumns(node, rates), [topics]);
  const known = topics?.length ?? 0;
  return (
    <Section
      title="Topics and channels"
      aside={
        known > 5 ? (
          <Search value={query} onInput={setQuery} label="Find a topic or channel" />
        ) : null
      }
    >
      <DataTable
        label="Topics and channels of this node"
        columns={columns}
        rows={rows}
        keyOf={keyOf}
        sortParam="sort"
        sortFirst="name"
        arrange={arrange}
        rowClass={(row) => (row.channel ? 'below' : 'above')}
        empty={
          known > 0 ? (
            <Empty icon="search" title="No topic or channel matches." />
          ) : (
            <Empty title="This node has no topics." />
          )
        }
      />
    </Section>
  );
}

/** Sorts topics, and within each its channels. */
function arrange(rows: Row[], column: Column<Row>, descending: boolean): Row[] {
  const below = Map.groupBy(rows, (row) => row.topic);
  const heads = sorted(
    rows.filter((row) => !row.channel),
    column,
    descending,
  );
  return heads.flatMap((head) => {
    const channels = (below.get(head.topic) ?? []).filter((row) => row.channel);
    return [head, ...sorted(channels, column, descending)];
  });
}

type Amount = (row: Row) => number | null;

function amount(id: string, title: string, value: Amount): Column<Row> {
  const cell = (row: Row) => {
    const known = value(row);
    return known === null ? null : <Count value={known} />;
  };
  return { id, title, value, cell };
}

/** A number that channels have; topics are sorted by its sum. */
function ofChannel(id: keyof Channel & string, title: string): Column<Row> {
  const own = (channel: Channel) => channel[id] as number;
  const sum = (topic: Topic) => (topic.channels ?? []).reduce((all, each) => all + own(each), 0);
  return {
    id,
    title,
    value: (row) => (row.channel ? own(row.channel) : sum(row.topic)),
    cell: (row) => (row.channel ? <Count value={own(row.channel)} /> : null),
  };
}

function treeColumns(node: string, rates: Rates): Column<Row>[] {
  const queue = (row: Row) => row.channel ?? row.topic;
  const into: Amount = (row) => rates.of(`in ${keyOf(row).trim()}`);
  const out: Amount = (row) => (row.channel ? rates.of(`out ${keyOf(row)}`) : null);
  return [
    {
      id: 'name',
      title: 'Topic, channel',
      text: true,
      value: (row) => row.channel?.channel_name ?? row.topic.topic_name,
      cell: (row) => <Name row={row} />,
    },
    { id: 'in', title: 'In/s', value: into, cell: (row) => <Rate value={into(row)} /> },
    {
      id: 'out',
      title: 'Out/s',
      value: out,
      cell: (row) => (row.channel ? <Rate value={out(row)} /> : null),
    },
    amount('depth', 'Depth', (row) => queue(row).depth),
    splitColumn(queue, null),
    ofChannel('in_flight_count', 'In flight'),
    ofChannel('deferred_count', 'Deferred'),
    ofChannel('requeue_count', 'Requeued'),
    ofChannel('timeout_count', 'Timed out'),
    amount('messages', 'Messages', (row) => queue(row).message_count),
    ofChannel('client_count', 'Clients'),
    {
      id: 'tombstone',
      title: '',
      unsorted: true,
      value: () => null,
      cell: (row) => (row.channel ? null : <Tombstone topic={row.topic.topic_name} node={node} />),
    },
  ];
}

function Name({ row: { topic, channel } }: { row: Row }) {
  if (!channel) {
    const amount = topic.channels?.length ?? 0;
    return (
      <span class="named">
        <TopicLink topic={topic.topic_name} />
        <span class="aside">{amount === 0 ? 'no channels' : plural(amount, 'channel')}</span>
        {topic.paused ? <Paused /> : null}
        {isEphemeral(topic.topic_name) ? <Ephemeral /> : null}
      </span>
    );
  }
  return (
    <span class="named">
      <ChannelLink topic={topic.topic_name} channel={channel.channel_name} />
      {channel.paused ? <Paused /> : null}
      {channel.client_count === 0 ? (
        <Badge tone={channel.depth > 0 ? 'warning' : 'plain'}>No consumers</Badge>
      ) : null}
    </span>
  );
}

/** A client, and what it reads. */
interface Reader extends Client {
  topic: string;
  channel: string;
}

const READS: Column<Client>[] = [
  {
    id: 'reads',
    title: 'Reads',
    text: true,
    value: (client) => `${(client as Reader).topic} ${(client as Reader).channel}`,
    cell: (client) => {
      const { topic, channel } = client as Reader;
      return (
        <span class="reads">
          <TopicLink topic={topic} /> / <ChannelLink topic={topic} channel={channel} />
        </span>
      );
    },
  },
];

function Clients({ topics, at }: { topics: Topic[] | null; at: number }) {
  const readers = useMemo(() => topics && topics.flatMap(readersOf), [topics]);
  const [query, setQuery] = useParam('q', '');
  const needle = query.trim().toLowerCase();
  const found = useMemo(
    () =>
      readers && readers.filter((reader) => JSON.stringify(reader).toLowerCase().includes(needle)),
    [readers, needle],
  );
  const known = readers?.length ?? 0;
  return (
    <Section
      title="Clients"
      aside={known > 8 ? <Search value={query} onInput={setQuery} label="Find a client" /> : null}
    >
      <ClientsTable
        clients={found}
        at={at}
        before={READS}
        withNode={false}
        empty={
          known > 0
            ? `None of the ${plural(known, 'client')} matches.`
            : 'Nobody reads from this node.'
        }
      />
    </Section>
  );
}

function readersOf(topic: Topic): Reader[] {
  return (topic.channels ?? []).flatMap((channel) =>
    (channel.clients ?? []).map((client) => ({
      ...client,
      topic: topic.topic_name,
      channel: channel.channel_name,
    })),
  );
}

/** What the node says of its memory, in its own words. */
function Memory({ memory }: { memory: Record<string, number> | null | undefined }) {
  const entries = Object.entries(memory ?? {});
  if (entries.length === 0) return null;
  return (
    <Section title="Memory">
      <dl class="facts panel">
        {entries.map(([name, value]) => (
          <div key={name}>
            <dt>{wordsOf(name)}</dt>
            <dd>{shownAs(name, value)}</dd>
          </div>
        ))}
      </dl>
    </Section>
  );
}

const wordsOf = (name: string) =>
  name
    .replace(/_(bytes|usec)/, '')
    .replaceAll('_', ' ')
    .replace(/\bgc\b/, 'GC')
    .replace(/^h/, 'H');

function shownAs(name: string, value: number): string {
  if (name.endsWith('bytes')) return bytes(value);
  if (name.includes('usec')) return duration(value * 1e3);
  return count(value);
}
