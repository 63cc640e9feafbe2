// Columns that the tables of topics, channels and nodes share.

import type { ComponentChildren } from 'preact';
import { plainly } from '../lib/api';
import { clock, count, duration, percent, quantile, rate } from '../lib/format';
import type { NodeRow } from '../lib/noderows';
import type { Latency, Percentile } from '../lib/types';
import { Icon } from './icons';
import type { Column } from './table';

/** Zero is the usual case and should not catch the eye. */
export function Count({ value }: { value: number | null | undefined }) {
  return <span class={value === 0 ? 'zero' : ''}>{count(value)}</span>;
}

export function Rate({ value }: { value: number | null | undefined }) {
  return <span class={value === 0 ? 'zero' : ''}>{rate(value)}</span>;
}

/** What every kind of queue has. */
interface Queue {
  depth: number;
  memory_depth: number;
  backend_depth: number;
}

export function Split({ of }: { of: Queue | null | undefined }) {
  if (!of) return <>–</>;
  return (
    <span class={of.depth === 0 ? 'zero' : ''}>
      {count(of.memory_depth)} <span class="zero">+</span> {count(of.backend_depth)}
    </span>
  );
}

/** Makes columns for rows that carry their numbers one level down. */
export function columnsOf<R, T>(statsOf: (row: R) => T | null, sum: T | null) {
  const number = (
    id: keyof T & string,
    title: string,
    more: Partial<Column<R>> = {},
  ): Column<R> => {
    const value = (stats: T | null) => (stats ? (stats[id] as number | undefined) : null) ?? null;
    return {
      id,
      title,
      value: (row) => value(statsOf(row)),
      cell: (row) => <Count value={value(statsOf(row))} />,
      total: <Count value={value(sum)} />,
      ...more,
    };
  };
  return { number };
}

/** How a queue is divided between memory and disk. */
export function splitColumn<R>(
  queueOf: (row: R) => Queue | null,
  sum: Queue | null,
  group?: string,
): Column<R> {
  return {
    id: 'split',
    title: 'Memory + disk',
    hint: 'Of the depth: in memory, and on disk. Sorted by what is on disk',
    value: (row) => queueOf(row)?.backend_depth ?? null,
    cell: (row) => <Split of={queueOf(row)} />,
    total: <Split of={sum} />,
    ...(group ? { group } : {}),
  };
}

export function rateColumn<R>(
  id: string,
  title: string,
  hint: string,
  value: (row: R) => number | null,
  total: number | null,
  group?: string,
): Column<R> {
  return {
    id,
    title,
    hint,
    value,
    cell: (row) => <Rate value={value(row)} />,
    total: <Rate value={total} />,
    ...(group ? { group } : {}),
  };
}

function percentileOf(latency: Latency | null | undefined, wanted: number): Percentile | null {
  return latency?.percentiles?.find((entry) => entry.quantile === wanted) ?? null;
}

function Quantile({ of }: { of: Percentile | null }) {
  if (!of || of.count === 0) return <span class="zero">–</span>;
  const spread = `between ${duration(of.min)} and ${duration(of.max)}, of ${count(of.count)} samples`;
  return <span title={spread}>{duration(of.average)}</span>;
}

/** One column for each quantile that any row has. */
export function latencyColumns<R>(
  rows: R[],
  latencyOf: (row: R) => Latency | null | undefined,
  sum: Latency | null | undefined,
): Column<R>[] {
  const wanted = new Set<number>();
  for (const latency of [sum, ...rows.map(latencyOf)]) {
    for (const entry of latency?.percentiles ?? []) wanted.add(entry.quantile);
  }
  return [...wanted].map((value) => ({
    id: quantile(value),
    title: quantile(value),
    group: 'From publish to finish',
    hint: 'Averages over nodes, weighed by their samples: the true percentile lies in between',
    value: (row: R) => percentileOf(latencyOf(row), value)?.average ?? null,
    cell: (row: R) => <Quantile of={percentileOf(latencyOf(row), value)} />,
    total: <Quantile of={percentileOf(sum, value)} />,
  }));
}

/** In place of the numbers of a node that has none. */
export function nodeNote<T>(row: NodeRow<T>, last: (stats: T) => string): ComponentChildren {
  if (row.state === 'ok') return null;
  if (row.state === 'awaited') return <span class="awaited">Waiting for its answer…</span>;
  const why = plainly(row.error) || 'no reason known';
  const what = row.state === 'gone' ? 'Is no longer listed.' : `Does not answer: ${why}.`;
  const before = row.stats ? ` At ${clock(row.last_at)} it had ${last(row.stats)}.` : '';
  return (
    <>
      <Icon name="error" />
      <span title={row.error}>{what}</span>
      <span class="aside">{before}</span>
    </>
  );
}

interface Delivered {
  delivery_msg_count?: number;
  zone_local_msg_count?: number;
  region_local_msg_count?: number;
  global_msg_count?: number;
}

/** How far messages went: within the zone, within the region, or beyond. */
export function Delivery({ of }: { of: Delivered | null | undefined }) {
  const total = of?.delivery_msg_count ?? 0;
  if (!of || total === 0) return <span class="zero">–</span>;
  const parts: [string, string, number][] = [
    ['zone', 'same zone', of.zone_local_msg_count ?? 0],
    ['region', 'same region', of.region_local_msg_count ?? 0],
    ['global', 'elsewhere', of.global_msg_count ?? 0],
  ];
  const said = parts.map(([, text, amount]) => `${text} ${percent(amount, total)}`).join(', ');
  return (
    <span
      class="delivery"
      title={`${count(total)} delivered: ${said}`}
      role="img"
      aria-label={said}
    >
      {parts.map(([kind, , amount]) => (
        <span key={kind} class={kind} style={{ flexGrow: String(amount) }} />
      ))}
    </span>
  );
}
