// What the keyboard does outside of fields.

import { isPaused, refreshAll, setPaused } from './live';
import { navigate, pathOf } from './router';
import { Store } from './store';
import { cycleTheme } from './theme';

export const help = new Store(false);

const PAGES: Record<string, () => string> = {
  t: pathOf.topics,
  n: pathOf.nodes,
  l: pathOf.lookup,
  c: pathOf.counter,
  h: pathOf.health,
};

/** For the page that lists them. */
export const KEYS: [string[], string][] = [
  [['/'], 'Search in this page, or for a topic'],
  [['g', 't'], 'Topics'],
  [['g', 'n'], 'Nodes'],
  [['g', 'l'], 'Lookup'],
  [['g', 'c'], 'Counter'],
  [['g', 'h'], 'Health'],
  [['j'], 'Next row'],
  [['k'], 'Previous row'],
  [['Enter'], 'Open the row'],
  [['p'], 'Pause or resume'],
  [['r'], 'Read everything now'],
  [['d'], 'Light, dark, or as the system has it'],
  [['?'], 'This list'],
  [['Esc'], 'Leave a field or a dialog'],
];

const SECOND_KEY_MS = 1500;
let leader_at = 0;

function isField(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return element?.matches?.('input, textarea, select') ?? false;
}

/** The field that searches in this page; pages without one leave it to the topics. */
function search(): void {
  const field = document.querySelector<HTMLInputElement>('input[type=search]');
  if (!field) {
    navigate(pathOf.topics());
    setTimeout(search, 50);
    return;
  }
  field.focus();
  field.select();
}

function step(by: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLElement>('tbody tr > :first-child a.name')];
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next = links[at < 0 ? 0 : at + by];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

const ACTIONS: Record<string, () => void> = {
  '/': search,
  '?': () => help.set(true),
  j: () => step(1),
  k: () => step(-1),
  p: () => setPaused(!isPaused()),
  r: refreshAll,
  d: cycleTheme,
};

function pressed(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isField(event.target)) {
    if (event.key === 'Escape') (event.target as HTMLElement).blur();
    return;
  }
  if (document.querySelector('dialog[open]')) return;
  const second = Date.now() - leader_at < SECOND_KEY_MS;
  leader_at = 0;
  const page = second ? PAGES[event.key] : undefined;
  const action = page ? () => navigate(page()) : ACTIONS[event.key];
  if (action) {
    event.preventDefault();
    action();
  } else if (event.key === 'g') {
    leader_at = Date.now();
  }
}

export function startKeys(): void {
  document.addEventListener('keydown', pressed);
}
