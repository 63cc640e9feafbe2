// A value that several components look at.

import { useEffect, useState } from 'preact/hooks';

export class Store<T> {
  private listeners = new Set<() => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    this.value = value;
    for (const listener of this.listeners) listener();
  }

  use(): T {
    const [value, setValue] = useState(this.value);
    useEffect(() => {
      const listener = () => setValue(() => this.value);
      this.listeners.add(listener);
      listener();
      return () => void this.listeners.delete(listener);
    }, []);
    return value;
  }
}
