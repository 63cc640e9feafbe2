// Addresses of pages, which are the original's, and the state that lives in them.

import { useEffect, useState } from 'preact/hooks';
import { serverPath, withoutBase } from './config';

export type Route =
  | { page: 'topics' }
  | { page: 'topic'; topic: string }
  | { page: 'channel'; topic: string; channel: string }
  | { page: 'nodes' }
  | { page: 'node'; node: string }
  | { page: 'counter' }
  | { page: 'lookup' }
  | { page: 'health' }
  | { page: 'missing'; path: string };

/** A segment that is no valid escape stays as it is: it names nothing that exists. */
function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export function parseRoute(path: string): Route {
  const parts = withoutBase(path).split('/').filter(Boolean).map(decode);
  const [first, second, third] = parts;
  if (first === undefined) return { page: 'topics' };
  if (parts.length === 1) {
    switch (first) {
      case 'topics':
      case 'nodes':
      case 'counter':
      case 'lookup':
      case 'health':
        return { page: first };
    }
  }
  if (first === 'topics' && second !== undefined && parts.length <= 3) {
    if (third === undefined) return { page: 'topic', topic: second };
    return { page: 'channel', topic: second, channel: third };
  }
  if (first === 'nodes' && second !== undefined && parts.length === 2) {
    return { page: 'node', node: second };
  }
  return { page: 'missing', path };
}

const escape = encodeURIComponent;

export const pathOf = {
  // Below a base path the server knows no trailing slash.
  topics: () => serverPath('') || '/',
  topic: (topic: string) => serverPath(`/topics/${escape(topic)}`),
  channel: (topic: string, channel: string) =>
    serverPath(`/topics/${escape(topic)}/${escape(channel)}`),
  nodes: () => serverPath('/nodes'),
  // The address keeps its colon, as in the original's links.
  node: (node: string) => serverPath(`/nodes/${escape(node).replaceAll('%3A', ':')}`),
  counter: () => serverPath('/counter'),
  lookup: () => serverPath('/lookup'),
  health: () => serverPath('/health'),
};

const listeners = new Set<() => void>();

function changed(): void {
  for (const listener of listeners) listener();
}

/** Goes to another page of ours. */
export function navigate(href: string): void {
  if (href === location.pathname + location.search) return;
  history.pushState(null, '', href);
  changed();
  scrollTo(0, 0);
}

export function startRouter(): void {
  addEventListener('popstate', changed);
  document.addEventListener('click', (event) => {
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    const link = (event.target as Element | null)?.closest?.('a[data-route]');
    const href = link?.getAttribute('href');
    if (!href || !plain || event.altKey || event.defaultPrevented) return;
    event.preventDefault();
    navigate(href);
  });
}

function useLocation<T>(read: () => T): T {
  const [value, setValue] = useState(read);
  useEffect(() => {
    const listener = () => setValue(read);
    listeners.add(listener);
    listener();
    return () => void listeners.delete(listener);
  }, []);
  return value;
}

/** The path that is shown. */
export function usePath(): string {
  return useLocation(() => location.pathname);
}

/** One parameter of the address; what equals `fallback` is not written into it. */
export function useParam(name: string, fallback: string): [string, (value: string) => void] {
  const read = () => new URLSearchParams(location.search).get(name) ?? fallback;
  const value = useLocation(read);
  const set = (next: string) => {
    const params = new URLSearchParams(location.search);
    if (next === fallback) params.delete(name);
    else params.set(name, next);
    const search = params.toString();
    history.replaceState(null, '', location.pathname + (search ? `?${search}` : ''));
    changed();
  };
  return [value, set];
}
