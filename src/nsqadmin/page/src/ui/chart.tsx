// Charts over time, drawn by uPlot in the colours of the theme.

import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { brief } from '../lib/format';
import { useTheme } from '../lib/theme';
import type { Series } from '../lib/types';

export interface Line {
  label: string;
  values: Series;
  tone: 'accent' | 'second' | 'third' | 'warning' | 'critical';
}

interface Props {
  title: string;
  at_ms: number[];
  lines: Line[];
  /** How a value reads, in the legend and on the axis. */
  show?: (value: number | null | undefined) => string;
  unit?: string;
  height_px?: number;
}

const colour = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function options(props: Props, width: number, onHover: (index: number | null) => void) {
  const { lines, height_px = 168 } = props;
  const axis = {
    stroke: colour('muted'),
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
    font: `11px ${colour('sans')}`,
  };
  const times = (_: uPlot, splits: number[]) => splits.map(timeLabel);
  return {
    width,
    height: height_px,
    legend: { show: false },
    padding: [8, 18, 0, 0] as uPlot.Padding,
    cursor: { points: { size: 6 }, drag: { x: false, y: false }, y: false },
    scales: { y: { range: (_: uPlot, _min: number, max: number): uPlot.Range.MinMax => top(max) } },
    axes: [
      { ...axis, size: 24, space: 72, values: times },
      {
        ...axis,
        size: 48,
        space: 36,
        values: (_: uPlot, splits: number[]) => splits.map((value) => brief(value)),
      },
    ],
    series: [
      {},
      ...lines.map((line, index) => ({
        label: line.label,
        stroke: colour(line.tone),
        width: 1.5,
        fill: index === 0 ? colour(`${line.tone}-fill`) : '',
        points: { show: false },
        spanGaps: false,
      })),
    ],
    hooks: { setCursor: [(plot: uPlot) => onHover(plot.cursor.idx ?? null)] },
  };
}

/** From nothing to a little above the largest value; an idle chart still has a scale. */
function top(max: number | null): [number, number] {
  return [0, max === null || max <= 0 ? 1 : max * 1.1];
}

function timeLabel(at_s: number): string {
  const time = new Date(at_s * 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const text = `${two(time.getHours())}:${two(time.getMinutes())}`;
  return time.getSeconds() === 0 ? text : `${text}:${two(time.getSeconds())}`;
}

function dataOf(props: Props): uPlot.AlignedData {
  return [props.at_ms.map((at) => at / 1000), ...props.lines.map((line) => line.values)];
}

export function Chart(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hover, setHover] = useState<number | null>(null);
  const { theme } = useTheme();
  const shape = props.lines.map((line) => line.label + line.tone).join();
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot(options(props, element.clientWidth, setHover), dataOf(props), element);
    plot.current = made;
    const observer = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: props.height_px ?? 168 }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [theme, shape]);
  useEffect(() => plot.current?.setData(dataOf(props)), [props.at_ms, props.lines]);
  return (
    <figure class="chart">
      <Legend {...props} index={hover} />
      <div ref={host} class="plot" role="img" aria-label={`${props.title} over time`} />
    </figure>
  );
}

/** The values under the pointer, or the last ones. */
function Legend({
  title,
  lines,
  at_ms,
  show = brief,
  unit,
  index,
}: Props & { index: number | null }) {
  const at = index ?? at_ms.length - 1;
  const time = index === null ? undefined : at_ms[index];
  return (
    <figcaption>
      <h3>{title}</h3>
      <span class="when">{time === undefined ? '' : timeLabel(Math.round(time / 1000))}</span>
      <ul>
        {lines.map((line) => (
          <li key={line.label} class={line.tone}>
            <span class="key" aria-hidden="true" />
            {line.label} <b>{show(line.values[at])}</b>
            {typeof line.values[at] === 'number' ? unit : ''}
          </li>
        ))}
      </ul>
    </figcaption>
  );
}
