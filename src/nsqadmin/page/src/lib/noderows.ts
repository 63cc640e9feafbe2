// Which nodes a table has rows for: those that answered, those awaited, and those that failed.

import { useRef } from 'preact/hooks';
import type { Failure, Node } from './types';

/** A node's part of something, or why there is none. */
export interface NodeRow<T> {
  node: string;
  hostname: string;
  /** What it said now, or before it failed. */
  stats: T | null;
  state: 'ok' | 'awaited' | 'failed' | 'gone';
  error: string;
  /** When `stats` came, unless that is now. */
  last_at: number;
}

/** The address that nodes go by in statistics and links. */
export function addressOf(node: Node): string {
  const host = node.broadcast_address;
  return `${host.includes(':') ? `[${host}]` : host}:${node.http_port}`;
}

interface Known<T> {
  stats: T;
  at: number;
}

interface Input<T> {
  /** Null as long as nothing came. */
  answered: T[] | null;
  failed: Failure[];
  /** The nodes that should have an answer. */
  expected: Node[];
  at: number;
}

type Part = { node: string; hostname: string };

/** Rows in a steady order, with what is remembered of nodes that stopped answering. */
export function useNodeRows<T extends Part>(input: Input<T>): NodeRow<T>[] | null {
  const memory = useRef(new Map<string, Known<T>>());
  const { answered, failed, expected, at } = input;
  for (const stats of answered ?? []) memory.current.set(stats.node, { stats, at });
  if (answered === null && expected.length === 0) return null;
  const rows = new Map<string, NodeRow<T>>();
  for (const { node, hostname, ...rest } of answered ?? []) {
    const stats = { node, hostname, ...rest } as T;
    rows.set(node, { node, hostname, stats, state: 'ok', error: '', last_at: 0 });
  }
  for (const failure of failed) {
    if (failure.kind !== 'nsqd' || rows.has(failure.address)) continue;
    rows.set(failure.address, missing(failure.address, 'failed', failure.error));
  }
  for (const node of answered === null ? expected : []) {
    const address = addressOf(node);
    if (!rows.has(address)) rows.set(address, missing(address, 'awaited', '', node.hostname));
  }
  // Who was here and is neither listed nor failing has left while somebody looked.
  for (const address of answered === null ? [] : memory.current.keys()) {
    if (!rows.has(address)) rows.set(address, missing(address, 'gone', ''));
  }
  for (const row of rows.values()) {
    const known = memory.current.get(row.node);
    if (row.stats || !known) continue;
    row.stats = known.stats;
    row.hostname = known.stats.hostname;
    row.last_at = known.at;
  }
  const order = (a: NodeRow<T>, b: NodeRow<T>) =>
    a.hostname.localeCompare(b.hostname) || a.node.localeCompare(b.node);
  return [...rows.values()].sort(order);
}

function missing<T>(
  node: string,
  state: 'awaited' | 'failed' | 'gone',
  error: string,
  hostname = '',
): NodeRow<T> {
  return { node, hostname, stats: null, state, error, last_at: 0 };
}
