// One channel: its nodes, its clients, and what waits in it.

import { useMemo } from 'preact/hooks';
import { api, failuresOf, get } from '../lib/api';
import { brief, count, plural, rate } from '../lib/format';
import { usePolled } from '../lib/live';
import { type NodeRow, useNodeRows } from '../lib/noderows';
import { type Rates, useRates } from '../lib/rates';
import { pathOf, useParam } from '../lib/router';
import type { Channel, Client } from '../lib/types';
import { Actions } from '../ui/actions';
import { Badge, Ephemeral, Paused, isEphemeral } from '../ui/badge';
import { ClientsTable } from '../ui/clients';
import {
  Delivery,
  columnsOf,
  latencyColumns,
  nodeNote,
  rateColumn,
  splitColumn,
} from '../ui/columns';
import { Search } from '../ui/filter';
import { Graphite } from '../ui/graphite';
import { HistoryCharts } from '../ui/history';
import { Link, NodeLink } from '../ui/link';
import { Empty, Failures, LoadError } from '../ui/notice';
import { Page, Section, Tile, Tiles } from '../ui/page';
import { PeekSection } from '../ui/peek';
import { type Column, DataTable } from '../ui/table';
import { doneOf, totalName, useExpected } from './topic';

function* readings(channel: Channel | null): Iterable<[string, number]> {
  if (!channel) return;
  yield ['in', channel.message_count];
  yield ['out', doneOf(channel)];
  for (const node of channel.nodes ?? []) {
    yield [`in ${node.node}`, node.message_count];
    yield [`out ${node.node}`, doneOf(node)];
  }
}

export function ChannelPage({ topic, channel }: { topic: string; channel: string }) {
  const path = api.channel(topic, channel);
  const { data, error, at } = usePolled(path, () => get<Channel>(path));
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
      name={channel}
      crumbs={[
        { href: pathOf.topics(), text: 'Topics' },
        { href: pathOf.topic(topic), text: topic },
      ]}
      marks={
        <>
          {data?.paused ? <Paused /> : null}
          {data?.client_count === 0 ? <Badge tone="warning">No consumers</Badge> : null}
          {isEphemeral(channel) ? <Ephemeral /> : null}
        </>
      }
      actions={
        data ? (
          <Actions topic={topic} channel={channel} paused={data.paused} depth={data.depth} />
        ) : null
      }
    >
      <LoadError error={error} at={at} />
      <Failures failed={failed.filter(({ kind }) => kind === 'nsqlookupd')} of="The numbers" />
      {error && !data ? null : (
        <>
          <Summary channel={data} rates={rates} />
          <HistoryCharts of={{ topic, channel }} lines={['throughput', 'channel', 'trouble']} />
          <Clients clients={data ? (data.clients ?? []) : null} at={at} />
          <Nodes sum={data} rows={nodes} rates={rates} />
          <PeekSection topic={topic} channel={channel} />
          <Graphite
            of={{ kind: 'channel', topic, channel }}
            latency={data?.e2e_processing_latency}
          />
        </>
      )}
    </Page>
  );
}

function Summary({ channel, rates }: { channel: Channel | null; rates: Rates }) {
  const isUnread = channel !== null && channel.client_count === 0 && channel.depth > 0;
  return (
    <Tiles>
      <Tile
        label="Depth"
        value={brief(channel?.depth)}
        detail={
          channel
            ? `${brief(channel.memory_depth)} memory + ${brief(channel.backend_depth)} disk`
            : ''
        }
      />
      <Tile label="In" value={rate(rates.of('in'))} detail="messages/s" />
      <Tile label="Out" value={rate(rates.of('out'))} detail="messages/s" />
      <Tile
        label="In flight"
        value={brief(channel?.in_flight_count)}
        detail={channel ? `${brief(channel.deferred_count)} deferred` : ''}
      />
      <Tile
        label="Came back"
        value={channel ? brief(channel.requeue_count + channel.timeout_count) : '–'}
        detail={
          channel
            ? `${brief(channel.requeue_count)} requeued, ${brief(channel.timeout_count)} timed out`
            : ''
        }
      />
      <Tile
        label="Clients"
        value={brief(channel?.client_count)}
        detail={isUnread ? 'nobody reads it' : 'connected'}
        tone={isUnread ? 'warning' : undefined}
      />
    </Tiles>
  );
}

/** Fields of a client in which a search looks. */
const textOf = (client: Client) =>
  [client.hostname, client.client_id, client.remote_address, client.node, client.user_agent]
    .join(' ')
    .toLowerCase();

export function useFound(clients: Client[] | null): {
  found: Client[] | null;
  query: string;
  setQuery: (query: string) => void;
} {
  const [query, setQuery] = useParam('q', '');
  const needle = query.trim().toLowerCase();
  const found = useMemo(
    () => clients?.filter((client) => textOf(client).includes(needle)) ?? null,
    [clients, needle],
  );
  return { found, query, setQuery };
}

function Clients({ clients, at }: { clients: Client[] | null; at: number }) {
  const { found, query, setQuery } = useFound(clients);
  const known = clients?.length ?? 0;
  return (
    <Section
      title="Clients"
      aside={known > 8 ? <Search value={query} onInput={setQuery} label="Find a client" /> : null}
    >
      <ClientsTable
        clients={found}
        at={at}
        withNode
        empty={
          known > 0
            ? `None of the ${plural(known, 'client')} matches.`
            : 'Nobody reads this channel. Its messages wait until somebody does.'
        }
      />
    </Section>
  );
}

interface NodesProps {
  sum: Channel | null;
  rows: NodeRow<Channel>[] | null;
  rates: Rates;
}

function Nodes({ sum, rows, rates }: NodesProps) {
  const columns = useMemo(() => nodeColumns(sum, rows ?? [], rates), [sum, rows]);
  return (
    <Section title="Nodes">
      <DataTable
        label="Nodes of this channel"
        columns={columns}
        rows={rows}
        keyOf={(row) => row.node}
        sortParam="nodes"
        sortFirst="node"
        totals
        note={(row) => nodeNote(row, (stats) => `a depth of ${count(stats.depth)}`)}
        rowClass={(row) => row.state}
        empty={
          <Empty title="No node has this channel.">
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
  sum: Channel | null,
  rows: NodeRow<Channel>[],
  rates: Rates,
): Column<NodeRow<Channel>>[] {
  const { number } = columnsOf<NodeRow<Channel>, Channel>((row) => row.stats, sum);
  const [queues, statistics] = ['Queues', 'Since the start'];
  const isDelivered = (sum?.delivery_msg_count ?? 0) > 0;
  const delivery: Column<NodeRow<Channel>> = {
    id: 'delivery',
    title: 'Delivery',
    hint: 'To clients in the same zone, in the same region, and elsewhere',
    group: statistics,
    value: (row) => row.stats?.zone_local_msg_count ?? 0,
    cell: (row) => <Delivery of={row.stats} />,
    total: <Delivery of={sum} />,
  };
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
      'Messages that it got per second',
      (row) => rates.of(`in ${row.node}`),
      rates.of('in'),
    ),
    rateColumn(
      'out',
      'Out/s',
      'Messages that it was done with per second',
      (row) => rates.of(`out ${row.node}`),
      rates.of('out'),
    ),
    number('depth', 'Depth', { group: queues }),
    splitColumn((row) => row.stats, sum, queues),
    number('in_flight_count', 'In flight', { group: queues }),
    number('deferred_count', 'Deferred', { group: queues }),
    number('requeue_count', 'Requeued', { group: statistics }),
    number('timeout_count', 'Timed out', { group: statistics }),
    number('message_count', 'Messages', { group: statistics }),
    number('client_count', 'Clients', { group: statistics }),
    ...(isDelivered ? [delivery] : []),
    ...latencyColumns(
      rows,
      (row) => row.stats?.e2e_processing_latency,
      sum?.e2e_processing_latency,
    ),
  ];
}
