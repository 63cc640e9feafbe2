// A word about what was done, which goes by itself.

import { Store } from '../lib/store';
import { Icon } from './icons';

interface Toast {
  id: number;
  text: string;
}

const SHOWN_MS = 5000;
const toasts = new Store<Toast[]>([]);
let last = 0;

export function say(text: string): void {
  last += 1;
  const toast = { id: last, text };
  toasts.set([...toasts.get().slice(-2), toast]);
  setTimeout(() => toasts.set(toasts.get().filter((kept) => kept !== toast)), SHOWN_MS);
}

export function Toasts() {
  const shown = toasts.use();
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <p key={toast.id}>
          <Icon name="check" />
          {toast.text}
        </p>
      ))}
    </div>
  );
}
