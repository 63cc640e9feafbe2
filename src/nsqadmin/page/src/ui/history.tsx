// Charts of the last minutes, from what the server kept of its polls.

import { useMemo } from 'preact/hooks';
import { api, get } from '../lib/api';
import { config } from '../lib/config';
import { brief, rate } from '../lib/format';
import { usePolled } from '../lib/live';
import type { History, Series, SeriesName } from '../lib/types';
import { Chart, type Line } from './chart';

type Kind = 'throughput' | 'backlog' | 'channel' | 'trouble' | 'clients';

interface Drawing {
  title: string;
  unit?: string;
  lines: { series: SeriesName; label: string; tone: Line['tone'] }[];
}

const DRAWINGS: Record<Kind, Drawing> = {
  throughput: {
    title: 'Throughput',
    unit: '/s',
    lines: [
      { series: 'rate_in', label: 'in', tone: 'accent' },
      { series: 'rate_out', label: 'out', tone: 'second' },
    ],
  },
  backlog: {
    title: 'Waiting',
    lines: [
      { series: 'channel_depth', label: 'in channels', tone: 'second' },
      { series: 'depth', label: 'in topics', tone: 'third' },
    ],
  },
  channel: {
    title: 'Waiting',
    lines: [
      { series: 'depth', label: 'depth', tone: 'second' },
      { series: 'in_flight_count', label: 'in flight', tone: 'accent' },
      { series: 'deferred_count', label: 'deferred', tone: 'third' },
    ],
  },
  trouble: {
    title: 'Coming back',
    unit: '/s',
    lines: [
      { series: 'requeue_rate', label: 'requeued', tone: 'warning' },
      { series: 'timeout_rate', label: 'timed out', tone: 'critical' },
    ],
  },
  clients: {
    title: 'Clients',
    lines: [{ series: 'client_count', label: 'connected', tone: 'accent' }],
  },
};

interface Props {
  of: { topic?: string; channel?: string; node?: string };
  lines: Kind[];
}

/** A server that does not poll has nothing to draw. */
export function HistoryCharts(props: Props) {
  return config.POLL_INTERVAL_MS > 0 ? <Drawn {...props} /> : null;
}

function Drawn({ of, lines }: Props) {
  const path = api.history(of);
  const { data } = usePolled(path, () => get<History>(path));
  const minutes = Math.max(1, Math.round(config.HISTORY_S / 60));
  // Charts are drawn when there is something new, not whenever the page around them changes.
  const charts = useMemo(() => lines.map((kind) => drawn(kind, data)), [data, lines.join()]);
  return (
    <section class="charts" aria-label={`The last ${minutes} minutes`}>
      {charts.map((chart) => (
        <Chart key={chart.title} {...chart} />
      ))}
    </section>
  );
}

const blank = (length: number): Series => Array.from({ length }, () => null);

function drawn(kind: Kind, history: History | null) {
  const { title, unit, lines } = DRAWINGS[kind];
  const at_ms = history?.at ?? [];
  const series = lines.map(({ series, ...look }) => ({
    ...look,
    values: history?.series[series] ?? blank(at_ms.length),
  }));
  return { title, at_ms, lines: series, show: unit ? rate : brief, unit: unit ?? '' };
}
