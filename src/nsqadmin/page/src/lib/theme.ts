// Light or dark: as the system has it, until somebody chooses.

import { useEffect, useState } from 'preact/hooks';

export type Choice = 'system' | 'light' | 'dark';

const KEY = 'nsqadmin.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

/** Storage may be forbidden; then the choice lasts as long as the page. */
function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

let choice: Choice = 'system';

function apply(): void {
  const theme = choice === 'system' ? (dark.matches ? 'dark' : 'light') : choice;
  document.documentElement.dataset['theme'] = theme;
  for (const listener of listeners) listener();
}

export function startTheme(): void {
  const kept = stored();
  if (kept === 'light' || kept === 'dark') choice = kept;
  dark.addEventListener('change', apply);
  apply();
}

/** System, light, dark, and around again. */
export function cycleTheme(): void {
  choice = choice === 'system' ? 'light' : choice === 'light' ? 'dark' : 'system';
  try {
    if (choice === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // It lasts as long as the page.
  }
  apply();
}

/** The choice, and what it comes to. */
export function useTheme(): { choice: Choice; theme: string } {
  const read = () => ({ choice, theme: document.documentElement.dataset['theme'] ?? 'light' });
  const [value, setValue] = useState(read);
  useEffect(() => {
    const listener = () => setValue(read());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return value;
}
