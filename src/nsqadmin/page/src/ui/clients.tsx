// Who is connected, how fast, and in what way.

import { useMemo } from 'preact/hooks';
import { duration } from '../lib/format';
import { useRates } from '../lib/rates';
import type { Client, Producer } from '../lib/types';
import { Badge } from './badge';
import { Count, Rate, rateColumn } from './columns';
import { Icon } from './icons';
import { NodeLink } from './link';
import { Empty } from './notice';
import { type Column, DataTable } from './table';

/** One connection of one node. */
export const keyOf = (client: Client) => `${client.node} ${client.remote_address}`;

const portOf = (address: string) => address.slice(address.lastIndexOf(':') + 1);

/** Host and port, and the id where that says more than the host. */
function ClientName({ client }: { client: Client }) {
  const { client_id, hostname, remote_address } = client;
  const short = hostname.split('.')[0] ?? '';
  const says = ![hostname, short].some((name) => name.toLowerCase() === client_id.toLowerCase());
  return (
    <span class="named" title={`${client_id} from ${remote_address}`}>
      <span class="name">
        {hostname ? `${hostname}:${portOf(remote_address)}` : remote_address}
      </span>
      {says && client_id ? <span class="aside">{client_id}</span> : null}
    </span>
  );
}

/** The words of the original, and what they mean when the pointer rests on them. */
export function Attributes({ client }: { client: Client }) {
  const isLocal = (here?: string, there?: string) => Boolean(here) && here === there;
  const zone = isLocal(client.node_topology_zone, client.topology_zone);
  const region = isLocal(client.node_topology_region, client.topology_region);
  return (
    <span class="badges">
      {client.tls ? (
        <Badge tone="ok" title={tlsOf(client)}>
          <Icon name="lock" /> TLS
        </Badge>
      ) : null}
      {client.snappy ? <Badge>Snappy</Badge> : null}
      {client.deflate ? <Badge>Deflate</Badge> : null}
      {client.sample_rate > 0 ? (
        <Badge tone="accent" title="Gets only this share of the messages">
          Sampled {client.sample_rate}%
        </Badge>
      ) : null}
      {client.authed ? <Identity client={client} /> : null}
      {client.topology_region ? <Badge title="Region">{client.topology_region}</Badge> : null}
      {client.topology_zone ? <Badge title="Zone">{client.topology_zone}</Badge> : null}
      {zone ? (
        <Badge tone="ok">Zone-local</Badge>
      ) : region ? (
        <Badge tone="accent">Region-local</Badge>
      ) : null}
    </span>
  );
}

function tlsOf(client: Client): string {
  const mutual = client.tls_negotiated_protocol_is_mutual ? 'mutual' : '';
  const parts = [
    client.tls_version,
    client.tls_cipher_suite,
    client.tls_negotiated_protocol,
    mutual,
  ];
  return parts.filter(Boolean).join(' · ');
}

/** The address comes from the auth server; only those that browsers open are links. */
function Identity({ client }: { client: Client }) {
  const text = client.auth_identity || 'Authorized';
  const isWeb = /^https?:\/\//i.test(client.auth_identity_url);
  return (
    <Badge title="Who the auth server says it is">
      {isWeb ? (
        <a href={client.auth_identity_url} rel="noreferrer">
          {text}
        </a>
      ) : (
        text
      )}
    </Badge>
  );
}

const total = <T,>(rows: T[], value: (row: T) => number | null) =>
  rows.reduce((sum, row) => sum + (value(row) ?? 0), 0);

interface Props {
  clients: Client[] | null;
  at: number;
  /** Columns in front of what all tables of clients have. */
  before?: Column<Client>[];
  withNode: boolean;
  empty: string;
}

export function ClientsTable({ clients, at, before = [], withNode, empty }: Props) {
  const rates = useRates(at, () => readings(clients ?? []));
  const columns = useMemo(() => {
    const rows = clients ?? [];
    const number = (id: keyof Client & string, title: string, hint: string): Column<Client> => ({
      id,
      title,
      hint,
      value: (client) => client[id] as number,
      cell: (client) => <Count value={client[id] as number} />,
      total: <Count value={total(rows, (client) => client[id] as number)} />,
    });
    const perSecond = (what: 'finish_count' | 'requeue_count', title: string, hint: string) => {
      const value = (client: Client) => rates.of(`${keyOf(client)} ${what}`);
      return rateColumn<Client>(`${what}_rate`, title, hint, value, total(rows, value));
    };
    return [
      {
        id: 'client',
        title: 'Client',
        text: true,
        value: (client) => `${client.hostname} ${client.remote_address}`,
        cell: (client) => <ClientName client={client} />,
      },
      ...before,
      ...(withNode ? [nodeColumn] : []),
      perSecond('finish_count', 'Finishes/s', 'Messages that it finished, per second'),
      number('in_flight_count', 'In flight', 'Messages that it has and did not answer'),
      number('ready_count', 'Ready', 'How many messages it takes at once'),
      number('finish_count', 'Finished', 'Since it connected'),
      number('requeue_count', 'Requeued', 'Since it connected'),
      number('message_count', 'Messages', 'Sent to it since it connected'),
      {
        id: 'connected',
        title: 'Connected',
        value: (client) => client.connected,
        cell: (client) => duration(client.connected),
      },
      {
        id: 'attributes',
        title: 'Attributes',
        text: true,
        unsorted: true,
        value: () => null,
        cell: (client) => <Attributes client={client} />,
      },
      userAgentColumn,
    ] satisfies Column<Client>[];
  }, [clients, at, before, withNode]);
  return (
    <DataTable
      label="Clients"
      columns={columns}
      rows={clients}
      keyOf={keyOf}
      sortParam="clients"
      sortFirst="client"
      totals
      empty={<Empty title={empty} />}
    />
  );
}

const nodeColumn: Column<Client> = {
  id: 'node',
  title: 'Node',
  text: true,
  value: (client) => client.node,
  cell: (client) => <NodeLink node={client.node} />,
};

const userAgentColumn: Column<Client> = {
  id: 'agent',
  title: 'User agent',
  text: true,
  value: (client) => client.user_agent,
  cell: (client) => (
    <span class="agent" title={`${client.user_agent} (${client.version})`}>
      {client.user_agent}
    </span>
  ),
};

function* readings(clients: Client[]): Iterable<[string, number]> {
  for (const client of clients) {
    yield [`${keyOf(client)} finish_count`, client.finish_count];
    yield [`${keyOf(client)} requeue_count`, client.requeue_count];
  }
}

const publishedBy = (producer: Producer) =>
  (producer.pub_counts ?? []).reduce((sum, entry) => sum + entry.count, 0);

/** Connections that publish, which the original does not show. */
export function ProducersTable({ producers, at }: { producers: Producer[]; at: number }) {
  const rates = useRates(at, () =>
    producers.map((producer) => [keyOf(producer), publishedBy(producer)] as [string, number]),
  );
  const columns: Column<Producer>[] = [
    {
      id: 'client',
      title: 'Producer',
      text: true,
      value: (producer) => `${producer.hostname} ${producer.remote_address}`,
      cell: (producer) => <ClientName client={producer} />,
    },
    {
      id: 'rate',
      title: 'Published/s',
      value: (producer) => rates.of(keyOf(producer)),
      cell: (producer) => <Rate value={rates.of(keyOf(producer))} />,
    },
    {
      id: 'published',
      title: 'Published',
      value: publishedBy,
      cell: (producer) => <Count value={publishedBy(producer)} />,
    },
    {
      id: 'topics',
      title: 'Topics',
      text: true,
      value: (producer) => producer.pub_counts?.[0]?.topic ?? '',
      cell: (producer) => producer.pub_counts?.map((entry) => entry.topic).join(', ') ?? '',
    },
    {
      id: 'connected',
      title: 'Connected',
      value: (producer) => producer.connected,
      cell: (producer) => duration(producer.connected),
    },
    {
      id: 'attributes',
      title: 'Attributes',
      text: true,
      unsorted: true,
      value: () => null,
      cell: (producer) => <Attributes client={producer} />,
    },
    {
      id: 'agent',
      title: 'User agent',
      text: true,
      value: (producer) => producer.user_agent,
    },
  ];
  return (
    <DataTable
      label="Producers"
      columns={columns}
      rows={producers}
      keyOf={keyOf}
      sortParam="producers"
      sortFirst="client"
      empty={null}
    />
  );
}
