// All nodes: where they are, what they run, who knows them, and their topics.

import { useMemo, useState } from 'preact/hooks';
import { api, failuresOf, get, plainly } from '../lib/api';
import { config } from '../lib/config';
import { count, plural } from '../lib/format';
import { usePolled } from '../lib/live';
import { addressOf } from '../lib/noderows';
import { pathOf, useParam } from '../lib/router';
import type { Failure, Node } from '../lib/types';
import { Badge } from '../ui/badge';
import { Search } from '../ui/filter';
import { Link } from '../ui/link';
import { Empty, Failures, LoadError } from '../ui/notice';
import { Page } from '../ui/page';
import { type Column, DataTable } from '../ui/table';

/** A node, or the address of one that gave no answer. */
interface Row {
  address: string;
  node: Node | null;
  error: string;
}

const isLookupMode = config.NSQLOOKUPD.length > 0;

function rowsOf(nodes: Node[], failed: Failure[]): Row[] {
  const rows: Row[] = nodes.map((node) => ({ address: addressOf(node), node, error: '' }));
  for (const failure of failed) {
    if (failure.kind !== 'nsqd') continue;
    const known = rows.find((row) => row.address === failure.address);
    if (known) known.error = failure.error;
    else rows.push({ address: failure.address, node: null, error: failure.error });
  }
  return rows;
}

const text = (id: string, title: string, value: (node: Node) => string): Column<Row> => ({
  id,
  title,
  text: true,
  value: (row) => (row.node ? value(row.node) : null),
});

const port = (id: 'tcp_port' | 'http_port', title: string): Column<Row> => ({
  id,
  title,
  value: (row) => row.node?.[id] ?? null,
  // A port is a name, not an amount.
  cell: (row) => String(row.node?.[id] ?? ''),
});

const COLUMNS: Column<Row>[] = [
  {
    id: 'node',
    title: 'Node',
    text: true,
    value: (row) => row.address,
    cell: (row) => (
      <span class="named">
        <Link class="name" href={pathOf.node(row.address)} title={row.address}>
          {row.address}
        </Link>
        {row.error ? <Badge tone="critical">No answer</Badge> : null}
      </span>
    ),
  },
  text('hostname', 'Host name', (node) => node.hostname),
  port('tcp_port', 'TCP port'),
  port('http_port', 'HTTP port'),
  {
    id: 'version',
    title: 'Version',
    text: true,
    value: (row) => row.node?.version ?? '',
    cell: (row) => (
      <span class="named">
        {row.node?.version}
        {row.node?.out_of_date ? (
          <Badge tone="warning" title="Another node runs a newer version">
            Out of date
          </Badge>
        ) : null}
      </span>
    ),
  },
  text('region', 'Region', (node) => node.topology_region ?? ''),
  text('zone', 'Zone', (node) => node.topology_zone ?? ''),
  ...(isLookupMode ? [lookupColumn()] : []),
  {
    id: 'topics',
    title: 'Topics',
    text: true,
    value: (row) => row.node?.topics?.length ?? 0,
    cell: (row) => <Topics node={row.node} />,
  },
];

function lookupColumn(): Column<Row> {
  return {
    id: 'lookupds',
    title: 'Lookupd connections',
    text: true,
    value: (row) => row.node?.remote_addresses?.length ?? 0,
    cell: (row) => <Connections node={row.node} />,
  };
}

/** To how many lookupds it is connected, and on demand from where. */
function Connections({ node }: { node: Node | null }) {
  const [open, setOpen] = useState(false);
  const known = node?.remote_addresses ?? [];
  const all = config.NSQLOOKUPD.length;
  const missing = node?.missing_lookupds ?? [];
  return (
    <div class="wrap">
      <button type="button" class="link" aria-expanded={open} onClick={() => setOpen(!open)}>
        {known.length} of {all}
      </button>
      {missing.length > 0 ? (
        <>
          {' '}
          <Badge tone="warning" title={missing.join(', ')}>
            {missing.length} missing
          </Badge>
        </>
      ) : null}
      {open ? (
        <ul class="lines">
          {known.map((pair) => (
            <li key={pair}>{pair.replace('/', ' ← ')}</li>
          ))}
          {missing.map((address) => (
            <li key={address} class="aside">
              {address} does not list it
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}

const SHOWN_MAX = 6;

function Topics({ node }: { node: Node | null }) {
  const [open, setOpen] = useState(false);
  const topics = node?.topics ?? [];
  const shown = open ? topics : topics.slice(0, SHOWN_MAX);
  return (
    <div class="wrap labels">
      <b>{count(topics.length)}</b>
      {shown.map(({ topic, tombstoned }) => (
        <Link
          key={topic}
          class={`label ${tombstoned ? 'tombstoned' : ''}`}
          href={pathOf.topic(topic)}
          title={tombstoned ? `${topic}: tombstoned, consumers are not sent here` : topic}
        >
          {topic}
          {tombstoned ? <span class="hidden"> (tombstoned)</span> : null}
        </Link>
      ))}
      {topics.length > SHOWN_MAX ? (
        <button type="button" class="link" onClick={() => setOpen(!open)}>
          {open ? 'fewer' : `${count(topics.length - SHOWN_MAX)} more`}
        </button>
      ) : null}
    </div>
  );
}

const textOf = (row: Row) => {
  const { hostname, version, topology_region, topology_zone, topics } = row.node ?? {};
  const names = topics?.map((entry) => entry.topic) ?? [];
  return [row.address, hostname, version, topology_region, topology_zone, ...names]
    .join(' ')
    .toLowerCase();
};

export function NodesPage() {
  const { data, error, at } = usePolled('nodes', () => get<{ nodes: Node[] | null }>(api.nodes));
  const [query, setQuery] = useParam('q', '');
  const failed = data ? failuresOf(data) : (error?.failed ?? []);
  const all = useMemo(() => (data ? rowsOf(data.nodes ?? [], failed) : null), [data]);
  const needle = query.trim().toLowerCase();
  const rows = useMemo(
    () => all?.filter((row) => textOf(row).includes(needle)) ?? null,
    [all, needle],
  );
  return (
    <Page name="Nodes" marks={all ? <Badge>{count(all.length)}</Badge> : null}>
      <LoadError error={error} at={at} />
      <Failures failed={failed} of="The rows" />
      <div class="filters first">
        <Search value={query} onInput={setQuery} label="Find a node" />
      </div>
      <DataTable
        label="Nodes"
        columns={COLUMNS}
        rows={rows}
        keyOf={(row) => row.address}
        sortParam="sort"
        sortFirst="node"
        note={(row) => (row.node ? null : `Does not answer: ${plainly(row.error)}`)}
        rowClass={(row) => (row.error ? 'failed' : '')}
        whole
        empty={<Nothing known={all?.length ?? 0} />}
      />
    </Page>
  );
}

function Nothing({ known }: { known: number }) {
  if (known > 0)
    return <Empty icon="search" title={`None of the ${plural(known, 'node')} matches.`} />;
  return (
    <Empty title="No node is registered.">
      <p>
        {isLookupMode
          ? 'A node appears here when it is started with --lookupd-tcp-address and has connected.'
          : 'None of the addresses given with --nsqd-http-address is of a running node.'}
      </p>
    </Empty>
  );
}
