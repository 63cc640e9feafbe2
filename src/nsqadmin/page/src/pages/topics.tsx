// The first page: every topic of the cluster with its numbers.

import { useMemo } from 'preact/hooks';
import { api, failuresOf, get } from '../lib/api';
import { brief, count, plural, rate } from '../lib/format';
import { usePolled } from '../lib/live';
import { useParam } from '../lib/router';
import type { Overview, OverviewTopic } from '../lib/types';
import { Badge, Ephemeral, Paused, isEphemeral } from '../ui/badge';
import { Count, Rate, splitColumn } from '../ui/columns';
import { Choices, Search } from '../ui/filter';
import { HistoryCharts } from '../ui/history';
import { TopicLink } from '../ui/link';
import { Empty, Failures, LoadError } from '../ui/notice';
import { Page, Tile, Tiles } from '../ui/page';
import { Spark } from '../ui/spark';
import { type Column, DataTable } from '../ui/table';

/** What waits in a topic and its channels. */
const backlog = (topic: OverviewTopic) => topic.depth + topic.channel_depth;

const FILTERS: { id: string; text: string; keep: (topic: OverviewTopic) => boolean }[] = [
  { id: 'all', text: 'All', keep: () => true },
  { id: 'backlog', text: 'Backlog', keep: (topic) => backlog(topic) > 0 },
  { id: 'paused', text: 'Paused', keep: (topic) => topic.paused || topic.paused_channels > 0 },
  {
    id: 'unread',
    text: 'No consumers',
    keep: (topic) => topic.client_count === 0 && topic.node_count > 0,
  },
  { id: 'inactive', text: 'No producers', keep: (topic) => topic.node_count === 0 },
];

function columnsFor(totals: Overview['totals'] | undefined): Column<OverviewTopic>[] {
  return [
    {
      id: 'topic',
      title: 'Topic',
      text: true,
      value: (topic) => topic.topic_name,
      cell: (topic) => <Name topic={topic} />,
    },
    {
      id: 'in',
      title: 'In/s',
      hint: 'Messages published per second',
      value: (topic) => topic.rate_in,
      cell: (topic) => <Rate value={topic.rate_in} />,
      total: <Rate value={totals?.rate_in} />,
    },
    {
      id: 'spark',
      title: '',
      unsorted: true,
      text: true,
      value: () => null,
      cell: (topic) => <Spark values={topic.spark} />,
    },
    {
      id: 'out',
      title: 'Out/s',
      hint: 'Messages finished per second, by all channels',
      value: (topic) => topic.rate_out,
      cell: (topic) => <Rate value={topic.rate_out} />,
      total: <Rate value={totals?.rate_out} />,
    },
    {
      id: 'depth',
      title: 'Depth',
      hint: 'Messages that wait in the topic, because it has no channel or is paused',
      value: (topic) => topic.depth,
      cell: (topic) => <Count value={topic.depth} />,
      total: <Count value={totals?.depth} />,
    },
    splitColumn((topic) => topic, totals ?? null),
    {
      id: 'channel_depth',
      title: 'In channels',
      hint: 'Messages that wait in all its channels',
      value: (topic) => topic.channel_depth,
      cell: (topic) => <Count value={topic.channel_depth} />,
      total: <Count value={totals?.channel_depth} />,
    },
    ...counted('in_flight_count', 'In flight', totals),
    ...counted('deferred_count', 'Deferred', totals),
    ...counted('requeue_count', 'Requeued', totals),
    ...counted('timeout_count', 'Timed out', totals),
    ...counted('message_count', 'Messages', totals),
    ...counted('channel_count', 'Channels', totals),
    ...counted('client_count', 'Clients', totals),
    { id: 'nodes', title: 'Nodes', value: (topic) => topic.node_count },
  ];
}

function counted(
  field: keyof Overview['totals'],
  title: string,
  totals: Overview['totals'] | undefined,
): Column<OverviewTopic>[] {
  const total = totals?.[field];
  return [
    {
      id: field,
      title,
      value: (topic) => topic[field],
      cell: (topic) => <Count value={topic[field]} />,
      total: <Count value={total} />,
    },
  ];
}

function Name({ topic }: { topic: OverviewTopic }) {
  return (
    <span class="named">
      <TopicLink topic={topic.topic_name} />
      {topic.paused ? <Paused /> : null}
      {topic.paused_channels > 0 && !topic.paused ? (
        <Badge tone="warning">{plural(topic.paused_channels, 'channel')} paused</Badge>
      ) : null}
      {topic.node_count === 0 ? (
        <Badge title="Known to nsqlookupd, but on no node">No producers</Badge>
      ) : null}
      {isEphemeral(topic.topic_name) ? <Ephemeral /> : null}
    </span>
  );
}

export function TopicsPage() {
  const { data, error, at } = usePolled('overview', () => get<Overview>(api.overview));
  const [query, setQuery] = useParam('q', '');
  const [chosen, choose] = useParam('show', 'all');
  const topics = data ? (data.topics ?? []) : null;
  const needle = query.trim().toLowerCase();
  const named = useMemo(
    () => topics?.filter((topic) => topic.topic_name.toLowerCase().includes(needle)) ?? null,
    [topics, needle],
  );
  const filter = FILTERS.find(({ id }) => id === chosen);
  const rows = useMemo(() => named?.filter(filter?.keep ?? (() => true)) ?? null, [named, filter]);
  const columns = useMemo(() => columnsFor(data?.totals), [data?.totals]);
  return (
    <Page name="Topics">
      <LoadError error={error} at={at} />
      <Failures failed={data ? failuresOf(data) : []} of="The numbers" />
      <Totals data={data} />
      <HistoryCharts of={{}} lines={['throughput', 'backlog']} />
      <div class="filters">
        <Search value={query} onInput={setQuery} label="Find a topic" />
        <Choices
          label="Which topics"
          value={chosen}
          onChoose={choose}
          choices={FILTERS.map(({ id, text, keep }) => ({
            id,
            text,
            amount: named?.filter(keep).length,
          }))}
        />
      </div>
      <DataTable
        label="Topics"
        columns={columns}
        rows={rows}
        keyOf={(topic) => topic.topic_name}
        sortParam="sort"
        sortFirst="topic"
        totals={needle === '' && chosen === 'all'}
        rowClass={(topic) => (topic.node_count === 0 ? 'quiet' : '')}
        empty={<Nothing known={topics?.length ?? 0} />}
      />
    </Page>
  );
}

function Nothing({ known }: { known: number }) {
  if (known > 0) {
    return <Empty icon="search" title={`None of the ${plural(known, 'topic')} matches.`} />;
  }
  return (
    <Empty title="There are no topics yet.">
      <p>A topic comes into being with the first message that is published to it:</p>
      <pre>curl -d 'hello' 'http://NODE:4151/pub?topic=greetings'</pre>
    </Empty>
  );
}

function Totals({ data }: { data: Overview | null }) {
  const totals = data?.totals;
  const nodes = data?.nodes ?? 0;
  const failed = data?.nodes_failed ?? 0;
  return (
    <Tiles>
      <Tile label="In" value={rate(totals?.rate_in)} detail="messages/s" />
      <Tile label="Out" value={rate(totals?.rate_out)} detail="messages/s" />
      <Tile
        label="Waiting"
        value={brief(totals && totals.depth + totals.channel_depth)}
        detail={totals ? `${brief(totals.channel_depth)} of them in channels` : ''}
      />
      <Tile
        label="In flight"
        value={brief(totals?.in_flight_count)}
        detail={totals ? `${brief(totals.deferred_count)} deferred` : ''}
      />
      <Tile label="Clients" value={brief(totals?.client_count)} detail="consumers" />
      <Tile
        label="Nodes"
        value={data ? count(nodes) : '–'}
        detail={failed > 0 ? `${count(failed)} not answering` : data ? 'all answering' : ''}
        tone={failed > 0 ? 'critical' : undefined}
      />
    </Tiles>
  );
}
