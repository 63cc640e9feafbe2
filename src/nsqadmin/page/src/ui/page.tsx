// The frame of every page: its title, where it belongs, its actions, its tiles.

import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { Link } from './link';

interface Props {
  /** Of the browser's window. */
  name: string;
  heading?: ComponentChildren;
  crumbs?: { href: string; text: string }[];
  marks?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
}

export function Page({ name, heading, crumbs, marks, actions, children }: Props) {
  useEffect(() => {
    document.title = `${name} · nsqadmin`;
  }, [name]);
  return (
    <>
      <header class="page-head">
        {crumbs ? (
          <nav aria-label="Where this belongs" class="crumbs">
            {crumbs.map(({ href, text }) => (
              <Link key={href} href={href}>
                {text}
              </Link>
            ))}
          </nav>
        ) : null}
        <div class="title">
          <h1>{heading ?? name}</h1>
          {marks}
        </div>
        {actions ? <div class="actions">{actions}</div> : null}
      </header>
      {children}
    </>
  );
}

interface SectionProps {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}

export function Section({ title, aside, children }: SectionProps) {
  return (
    <section class="section">
      <div class="section-head">
        <h2>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

interface TileProps {
  label: string;
  value: ComponentChildren;
  detail?: ComponentChildren;
  tone?: 'warning' | 'critical' | undefined;
  title?: string;
}

export function Tile({ label, value, detail, tone, title }: TileProps) {
  return (
    <div class={`tile ${tone ?? ''}`} title={title}>
      <dt>{label}</dt>
      <dd>
        <span class="value">{value}</span>
        {detail ? <span class="detail">{detail}</span> : null}
      </dd>
    </div>
  );
}

export function Tiles({ children }: { children: ComponentChildren }) {
  return <dl class="tiles">{children}</dl>;
}
