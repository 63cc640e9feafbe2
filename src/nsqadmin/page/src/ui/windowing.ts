// Which rows of a long table are near what is visible; only those are in the document.

import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';

/** As high as `--row` in the style, in pixels. */
export const ROW_PX = 36;
/** Tables up to this length are simply there. */
export const WHOLE_MAX = 120;
const MARGIN_ROWS = 12;

export interface Span {
  from: number;
  to: number;
}

function visible(body: HTMLElement | null, rows: number): Span {
  if (rows <= WHOLE_MAX) return { from: 0, to: rows };
  const top = body ? body.getBoundingClientRect().top : 0;
  const first = Math.floor(-top / ROW_PX) - MARGIN_ROWS;
  const last = Math.ceil((innerHeight - top) / ROW_PX) + MARGIN_ROWS;
  const from = Math.min(Math.max(first, 0), rows);
  return { from, to: Math.min(Math.max(last, from), rows) };
}

/** The rows to render, as the page is scrolled. */
export function useWindowing(
  body: RefObject<HTMLElement | null>,
  rows: number,
  whole: boolean,
): Span {
  const [span, setSpan] = useState<Span>(() => visible(null, rows));
  useEffect(() => {
    let frame = 0;
    const update = () => {
      frame = 0;
      const next = visible(body.current, rows);
      setSpan((old) => (old.from === next.from && old.to === next.to ? old : next));
    };
    const soon = () => {
      frame ||= requestAnimationFrame(update);
    };
    update();
    addEventListener('scroll', soon, { passive: true });
    addEventListener('resize', soon);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', soon);
      removeEventListener('resize', soon);
    };
  }, [rows]);
  if (whole || rows <= WHOLE_MAX) return { from: 0, to: rows };
  return { from: Math.min(span.from, rows), to: Math.min(span.to, rows) };
}
