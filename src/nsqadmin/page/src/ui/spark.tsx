// A line as small as a word.

import type { Series } from '../lib/types';

const WIDTH = 88;
const HEIGHT = 22;

/** The stretches between gaps, as points in the drawing. */
function stretches(values: Series): [number, number][][] {
  const max = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = WIDTH / Math.max(values.length - 1, 1);
  const found: [number, number][][] = [];
  let current: [number, number][] = [];
  values.forEach((value, index) => {
    if (value === null) {
      current = [];
      return;
    }
    if (current.length === 0) found.push(current);
    current.push([index * step, HEIGHT - 1.5 - (value / max) * (HEIGHT - 3)]);
  });
  return found.filter((stretch) => stretch.length > 1);
}

const point = ([x, y]: [number, number]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
const line = (stretch: [number, number][]) => `M${stretch.map(point).join('L')}`;

function area(stretch: [number, number][]): string {
  const [first, last] = [stretch[0], stretch[stretch.length - 1]];
  if (!first || !last) return '';
  return `${line(stretch)}L${last[0].toFixed(1)} ${HEIGHT}L${first[0].toFixed(1)} ${HEIGHT}Z`;
}

/** It repeats what a number beside it says, so screen readers pass over it. */
export function Spark({ values, tone }: { values: Series; tone?: 'depth' }) {
  const isIdle = !values.some((value) => value !== null && value > 0);
  const drawn = isIdle ? [] : stretches(values);
  return (
    <svg
      class={`spark ${tone ?? ''}`}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      width={WIDTH}
      height={HEIGHT}
      aria-hidden="true"
    >
      {drawn.length === 0 ? (
        <path class="none" d={`M0 ${HEIGHT - 1.5}L${WIDTH} ${HEIGHT - 1.5}`} />
      ) : (
        <>
          <path class="area" d={drawn.map(area).join('')} />
          <path class="line" d={drawn.map(line).join('')} />
        </>
      )}
    </svg>
  );
}
