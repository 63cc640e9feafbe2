// Whether a table is wider than its place, and has to scroll sideways within it.

import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';

export function useOverflow(place: RefObject<HTMLElement | null>): boolean {
  const [overflows, setOverflows] = useState(false);
  useEffect(() => {
    const outer = place.current;
    const inner = outer?.firstElementChild as HTMLElement | null | undefined;
    if (!outer || !inner) return;
    const update = () => setOverflows(inner.offsetWidth > outer.clientWidth);
    const observer = new ResizeObserver(update);
    observer.observe(outer);
    observer.observe(inner);
    update();
    return () => observer.disconnect();
  }, []);
  return overflows;
}
