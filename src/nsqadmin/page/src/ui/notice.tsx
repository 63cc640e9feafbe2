// What went wrong, where it is seen and in words; the server's own text is one click away.

import type { ComponentChildren } from 'preact';
import { type ApiError, plainly } from '../lib/api';
import { clock, plural } from '../lib/format';
import { refreshAll } from '../lib/live';
import { pathOf } from '../lib/router';
import type { Failure } from '../lib/types';
import { Icon, type IconName } from './icons';
import { Link } from './link';

type Kind = 'info' | 'warning' | 'critical';

const ICONS: Record<Kind, IconName> = { info: 'info', warning: 'warning', critical: 'error' };

interface Props {
  kind: Kind;
  title: string;
  children?: ComponentChildren;
}

export function Notice({ kind, title, children }: Props) {
  return (
    <section class={`notice ${kind}`} role={kind === 'info' ? undefined : 'alert'}>
      <Icon name={ICONS[kind]} />
      <div>
        <p class="what">{title}</p>
        {children}
      </div>
    </section>
  );
}

/** The upstreams that are missing from the numbers of a page. */
export function Failures({ failed, of }: { failed: Failure[]; of: string }) {
  if (failed.length === 0) return null;
  const nodes = failed.filter((failure) => failure.kind === 'nsqd').length;
  const lookupds = failed.length - nodes;
  const who = [
    nodes ? plural(nodes, 'node') : '',
    lookupds ? plural(lookupds, 'nsqlookupd', 'nsqlookupds') : '',
  ];
  const isOne = failed.length === 1;
  const verb = isOne ? 'does' : 'do';
  const rest = isOne ? 'it knows. It is asked' : 'they know. They are asked';
  return (
    <Notice kind="warning" title={`${who.filter(Boolean).join(' and ')} ${verb} not answer.`}>
      <p>
        {of} leave out what only {rest} again all the time.
      </p>
      <ul class="failures">
        {failed.map((failure) => (
          <li key={failure.kind + failure.address}>
            {failure.kind === 'nsqd' && failure.address ? (
              <Link href={pathOf.node(failure.address)}>{failure.address}</Link>
            ) : (
              <span>{failure.address}</span>
            )}
            <span class="aside" title={failure.error}>
              {plainly(failure.error)}
            </span>
          </li>
        ))}
      </ul>
    </Notice>
  );
}

/** Shown in place of what never came, or above what came before. */
export function LoadError({ error, at }: { error: ApiError | null; at: number }) {
  if (!error) return null;
  return (
    <Notice kind="critical" title={error.summary}>
      {at > 0 ? <p>The numbers below are of {clock(at)}.</p> : null}
      {error.failed.length > 0 ? (
        <ul class="failures">
          {error.failed.map((failure) => (
            <li key={failure.kind + failure.address}>
              <span>{failure.address}</span>{' '}
              <span class="aside" title={failure.error}>
                {plainly(failure.error)}
              </span>
            </li>
          ))}
        </ul>
      ) : null}
      <button type="button" onClick={refreshAll}>
        Try again
      </button>
      {error.detail && error.detail !== error.summary ? (
        <details>
          <summary>What the server said</summary>
          <pre>{error.detail}</pre>
        </details>
      ) : null}
    </Notice>
  );
}

interface EmptyProps {
  icon?: IconName;
  title: string;
  children?: ComponentChildren;
}

export function Empty({ icon = 'empty', title, children }: EmptyProps) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <p class="what">{title}</p>
      {children ? <div class="how">{children}</div> : null}
    </div>
  );
}
