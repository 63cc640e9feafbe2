// Rates per second from counters that are read again and again.

import { useRef } from 'preact/hooks';

interface Reading {
  value: number;
  at: number;
  rate: number | null;
}

/** A counter that fell was reset: its node started anew, so there is no rate to tell. */
function next(old: Reading | undefined, value: number, at: number): Reading {
  if (!old || at <= old.at) return old ?? { value, at, rate: null };
  const rate = value >= old.value ? ((value - old.value) * 1000) / (at - old.at) : null;
  return { value, at, rate };
}

/** Readings are kept while their keys are read; `at` tells one poll from the next. */
export class Rates {
  private readings = new Map<string, Reading>();
  private at = 0;

  update(at: number, counters: Iterable<[string, number]>): void {
    if (at === this.at || at === 0) return;
    this.at = at;
    const kept = new Map<string, Reading>();
    for (const [key, value] of counters) kept.set(key, next(this.readings.get(key), value, at));
    this.readings = kept;
  }

  of(key: string): number | null {
    return this.readings.get(key)?.rate ?? null;
  }
}

/** Rates of counters, over the polls of one page. */
export function useRates(at: number, counters: () => Iterable<[string, number]>): Rates {
  const rates = useRef<Rates | null>(null);
  rates.current ??= new Rates();
  rates.current.update(at, counters());
  return rates.current;
}
