// Short words on a quiet ground.

import type { ComponentChildren } from 'preact';

export type Tone = 'plain' | 'accent' | 'ok' | 'warning' | 'critical';

interface Props {
  children: ComponentChildren;
  tone?: Tone;
  title?: string;
}

export function Badge({ children, tone = 'plain', title }: Props) {
  return (
    <span class={`badge ${tone}`} title={title}>
      {children}
    </span>
  );
}

export function Paused() {
  return (
    <Badge tone="warning" title="Messages wait here until it is unpaused">
      Paused
    </Badge>
  );
}

/** Names that end so live in memory and vanish with their last client. */
export function isEphemeral(name: string): boolean {
  return name.endsWith('#ephemeral');
}

export function Ephemeral() {
  return <Badge title="Kept in memory only, and gone with its last client">Ephemeral</Badge>;
}
