// Asking again and again: what a page shows is polled while it is looked at and not paused.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api';

/** How often a page asks. */
export const INTERVAL_MS = 3000;
/** So many times as long as an answer took passes before it is asked for again. */
const SPARING = 3;
/** The second time comes soon, since rates need two. */
const SECOND_MS = 1000;

let paused = false;
const listeners = new Set<() => void>();

export function isPaused(): boolean {
  return paused;
}

export function setPaused(value: boolean): void {
  paused = value;
  for (const listener of listeners) listener();
}

/** Asks everything that is on the page at once. */
export function refreshAll(): void {
  for (const listener of refreshers) listener();
}

const refreshers = new Set<() => void>();

export function usePaused(): boolean {
  const [value, setValue] = useState(paused);
  useEffect(() => {
    const listener = () => setValue(paused);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return value;
}

/** What is known of something that is polled: old data stays while errors last. */
export interface Polled<T> {
  data: T | null;
  error: ApiError | null;
  /** When `data` came. */
  at: number;
  refresh: () => void;
}

interface State<T> {
  key: string;
  data: T | null;
  error: ApiError | null;
  at: number;
}

/** Polls `load` under `key`; another key is another thing, of which nothing is known yet. */
export function usePolled<T>(
  key: string,
  load: () => Promise<T>,
  interval_ms = INTERVAL_MS,
): Polled<T> {
  const empty: State<T> = { key, data: null, error: null, at: 0 };
  const [state, setState] = useState(empty);
  const again = useRef(() => {});
  useEffect(() => {
    const poll = startPolling(load, interval_ms, (result) => {
      setState((old) => {
        const base = old.key === key ? old : empty;
        return 'data' in result
          ? { key, data: result.data, error: null, at: Date.now() }
          : { ...base, error: result.error };
      });
    });
    again.current = poll.now;
    return poll.stop;
  }, [key, interval_ms]);
  const shown = state.key === key ? state : empty;
  return { ...shown, refresh: () => again.current() };
}

type Result<T> = { data: T } | { error: ApiError };

function startPolling<T>(
  load: () => Promise<T>,
  interval_ms: number,
  report: (result: Result<T>) => void,
) {
  let timer = 0;
  let running = false;
  let stopped = false;
  let isFirst = true;
  const run = async () => {
    clearTimeout(timer);
    if (running || stopped) return;
    running = true;
    const start = performance.now();
    let result: Result<T>;
    try {
      result = { data: await load() };
    } catch (error) {
      const known = error instanceof ApiError;
      result = { error: known ? error : new ApiError(0, 'The page failed.', String(error)) };
    }
    running = false;
    if (stopped) return;
    report(result);
    // What takes the cluster long is asked for less often.
    const wait_ms = isFirst ? Math.min(SECOND_MS, interval_ms) : interval_ms;
    isFirst = false;
    schedule(Math.max(wait_ms, (performance.now() - start) * SPARING));
  };
  const schedule = (after_ms: number) => {
    clearTimeout(timer);
    if (!paused && !document.hidden && !stopped) timer = setTimeout(run, after_ms);
  };
  const wake = () => {
    if (paused || document.hidden) clearTimeout(timer);
    else void run();
  };
  const now = () => void run();
  listeners.add(wake);
  refreshers.add(now);
  document.addEventListener('visibilitychange', wake);
  void run();
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    listeners.delete(wake);
    refreshers.delete(now);
    document.removeEventListener('visibilitychange', wake);
  };
  return { now, stop };
}
