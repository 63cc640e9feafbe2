// What deserves a look: findings first, then every node and lookupd.

import { api, failuresOf, get, plainly } from '../lib/api';
import { bytes, count, duration, percent, plural } from '../lib/format';
import { usePolled } from '../lib/live';
import { pathOf } from '../lib/router';
import type { Finding, Health, HealthLookupd, HealthNode } from '../lib/types';
import { Badge, type Tone } from '../ui/badge';
import { Icon, type IconName } from '../ui/icons';
import { Link, NodeLink } from '../ui/link';
import { Empty, LoadError } from '../ui/notice';
import { Page, Section } from '../ui/page';
import { type Column, DataTable } from '../ui/table';

const SLOW_MS = 5000;

export function HealthPage() {
  const { data, error, at } = usePolled('health', () => get<Health>(api.health), SLOW_MS);
  const findings = data ? (data.findings ?? []) : null;
  return (
    <Page name="Health" marks={<Verdict findings={findings} />}>
      <LoadError error={error} at={at} />
      <Findings findings={findings} />
      <Section title="Nodes">
        <DataTable
          label="Nodes"
          columns={NODES}
          rows={data ? (data.nodes ?? []) : null}
          keyOf={(node) => node.address}
          sortParam="nodes"
          sortFirst="node"
          note={(node) => (node.ok ? null : `Does not answer: ${plainly(node.error)}`)}
          rowClass={(node) => (node.ok ? '' : 'failed')}
          empty={<Empty title="No node is known." />}
        />
      </Section>
      {data && !data.lookupds?.length ? null : (
        <Section title="Lookupds">
          <DataTable
            label="Lookupds"
            columns={LOOKUPDS}
            rows={data ? (data.lookupds ?? []) : null}
            keyOf={(lookupd) => lookupd.address}
            sortParam="lookupds"
            sortFirst="lookupd"
            note={(lookupd) => (lookupd.ok ? null : `Does not answer: ${plainly(lookupd.error)}`)}
            rowClass={(lookupd) => (lookupd.ok ? '' : 'failed')}
            whole
            empty={null}
          />
        </Section>
      )}
      {data && failuresOf(data).length > 0 && data.nodes === null ? (
        <p class="aside">{data.message}</p>
      ) : null}
    </Page>
  );
}

const RANKS = ['critical', 'warning', 'info'] as const;

const LOOKS: Record<Finding['severity'], { icon: IconName; tone: Tone; one: string }> = {
  critical: { icon: 'error', tone: 'critical', one: 'critical' },
  warning: { icon: 'warning', tone: 'warning', one: 'warning' },
  info: { icon: 'info', tone: 'plain', one: 'note' },
};

function Verdict({ findings }: { findings: Finding[] | null }) {
  if (!findings) return null;
  const worst = RANKS.filter((rank) => findings.some((finding) => finding.severity === rank));
  if (worst.length === 0) return <Badge tone="ok">All well</Badge>;
  return (
    <span class="badges">
      {worst.map((rank) => {
        const amount = findings.filter((finding) => finding.severity === rank).length;
        const { tone, one } = LOOKS[rank];
        return (
          <Badge key={rank} tone={tone}>
            {rank === 'critical' ? `${count(amount)} critical` : plural(amount, one)}
          </Badge>
        );
      })}
    </span>
  );
}

/** Findings of one kind stand together, so that a hundred of them do not hide the others. */
function Findings({ findings }: { findings: Finding[] | null }) {
  if (!findings) {
    return (
      <div class="panel">
        <Empty title="Asking every node and lookupd…" />
      </div>
    );
  }
  if (findings.length === 0) {
    return (
      <div class="panel">
        <Empty icon="check" title="Nothing deserves a look.">
          <p>All servers answer and agree, and somebody reads every channel.</p>
        </Empty>
      </div>
    );
  }
  const ranked = RANKS.flatMap((rank) => findings.filter(({ severity }) => severity === rank));
  const kinds = Map.groupBy(ranked, (finding) => `${finding.severity} ${finding.kind}`);
  return (
    <ul class="panel list findings">
      {[...kinds].map(([kind, group]) => (
        <Group key={kind} group={group} />
      ))}
    </ul>
  );
}

const SHOWN_MAX = 5;

function Group({ group }: { group: Finding[] }) {
  const severity = group[0]?.severity ?? 'info';
  const rest = group.slice(SHOWN_MAX);
  const { icon } = LOOKS[severity];
  return (
    <li class={severity}>
      <Icon name={icon} />
      <span class="hidden">{severity}: </span>
      <div>
        {group.slice(0, SHOWN_MAX).map((finding) => (
          <Line key={finding.subject + finding.text} finding={finding} />
        ))}
        {rest.length > 0 ? (
          <details>
            <summary>{plural(rest.length, 'more like this', 'more like these')}</summary>
            {rest.map((finding) => (
              <Line key={finding.subject + finding.text} finding={finding} />
            ))}
          </details>
        ) : null}
      </div>
    </li>
  );
}

function hrefOf({ topic, channel, node }: Finding): string | null {
  if (topic && channel) return pathOf.channel(topic, channel);
  if (topic) return pathOf.topic(topic);
  return node ? pathOf.node(node) : null;
}

function Line({ finding }: { finding: Finding }) {
  const href = hrefOf(finding);
  return (
    <p>
      {href ? (
        <Link class="name" href={href}>
          {finding.subject}
        </Link>
      ) : (
        <span class="name">{finding.subject}</span>
      )}
      <span>{finding.text}</span>
    </p>
  );
}

const NS_PER_S = 1e9;
const NS_PER_MS = 1e6;
const FREE_LOW = 0.1;

const NODES: Column<HealthNode>[] = [
  {
    id: 'node',
    title: 'Node',
    text: true,
    value: (node) => node.address,
    cell: (node) => <NodeLink node={node.address} hostname={node.hostname} />,
  },
  {
    id: 'state',
    title: 'State',
    text: true,
    hint: 'What it says of itself',
    value: (node) => node.health,
    cell: (node) =>
      node.health === 'OK' ? (
        <Badge tone="ok">OK</Badge>
      ) : (
        <Badge tone="critical">{node.health.replace(/^NOK - /, '') || 'Unknown'}</Badge>
      ),
  },
  { id: 'version', title: 'Version', text: true, value: (node) => node.version },
  {
    id: 'uptime',
    title: 'Up for',
    value: (node) => node.uptime_s,
    cell: (node) => (node.uptime_s === null ? '–' : duration(node.uptime_s * NS_PER_S)),
  },
  {
    id: 'disk',
    title: 'Free disk',
    hint: 'On the file system of its data path, where the node tells',
    value: (node) => node.data_path_free_bytes,
    cell: (node) => <Disk node={node} />,
  },
  {
    id: 'rtt',
    title: 'Answers in',
    value: (node) => node.rtt_ms,
    cell: (node) => duration(Math.round(node.rtt_ms * NS_PER_MS)),
  },
  {
    id: 'skew',
    title: 'Clock',
    hint: 'How far its clock is from that of nsqadmin; whole seconds',
    value: (node) => (node.clock_skew_ms === null ? null : Math.abs(node.clock_skew_ms)),
    cell: (node) => skewOf(node.clock_skew_ms),
  },
];

function skewOf(skew_ms: number | null): string {
  if (skew_ms === null) return '–';
  if (Math.abs(skew_ms) < 1000) return 'in time';
  return `${duration(Math.abs(skew_ms) * NS_PER_MS)} ${skew_ms > 0 ? 'ahead' : 'behind'}`;
}

function Disk({ node }: { node: HealthNode }) {
  const { data_path_free_bytes: free, data_path_size_bytes: size } = node;
  if (free === null || size === null) return <>–</>;
  const isLow = free / size < FREE_LOW;
  return (
    <span class={isLow ? 'low' : ''}>
      {bytes(free)} <span class="aside">{percent(free, size)}</span>
    </span>
  );
}

const LOOKUPDS: Column<HealthLookupd>[] = [
  {
    id: 'lookupd',
    title: 'Lookupd',
    text: true,
    value: (lookupd) => lookupd.address,
    cell: (lookupd) => <span class="name">{lookupd.address}</span>,
  },
  { id: 'version', title: 'Version', text: true, value: (lookupd) => lookupd.version },
  { id: 'producers', title: 'Nodes', value: (lookupd) => lookupd.producers },
  { id: 'topics', title: 'Topics', value: (lookupd) => lookupd.topics },
  {
    id: 'missing',
    title: 'Does not know',
    text: true,
    hint: 'What other lookupds know',
    value: (lookupd) => (lookupd.missing?.length ?? 0) + (lookupd.missing_topics?.length ?? 0),
    cell: (lookupd) => <Missing lookupd={lookupd} />,
  },
];

function Missing({ lookupd }: { lookupd: HealthLookupd }) {
  const nodes = lookupd.missing ?? [];
  const topics = lookupd.missing_topics ?? [];
  if (nodes.length + topics.length === 0) return <Badge tone="ok">Agrees with the others</Badge>;
  return (
    <div class="wrap labels">
      {nodes.map((node) => (
        <Link key={node} class="label" href={pathOf.node(node)}>
          {node}
        </Link>
      ))}
      {topics.map((topic) => (
        <Link key={topic} class="label" href={pathOf.topic(topic)}>
          {topic}
        </Link>
      ))}
    </div>
  );
}
