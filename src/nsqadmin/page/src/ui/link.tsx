// Links within the page.

import type { ComponentChildren } from 'preact';
import { pathOf } from '../lib/router';

interface Props {
  href: string;
  children: ComponentChildren;
  class?: string;
  title?: string;
  current?: boolean;
}

export function Link({ href, children, current, ...rest }: Props) {
  return (
    <a href={href} data-route {...rest} aria-current={current ? 'page' : undefined}>
      {children}
    </a>
  );
}

export function TopicLink({ topic }: { topic: string }) {
  return (
    <Link class="name" href={pathOf.topic(topic)} title={topic}>
      {topic}
    </Link>
  );
}

export function ChannelLink({ topic, channel }: { topic: string; channel: string }) {
  return (
    <Link class="name" href={pathOf.channel(topic, channel)} title={channel}>
      {channel}
    </Link>
  );
}

/** The address of a node, and its host name where that says more. */
export function NodeLink({ node, hostname }: { node: string; hostname?: string }) {
  const port = node.slice(node.lastIndexOf(':') + 1);
  const host = node.slice(0, node.lastIndexOf(':'));
  return (
    <span class="node">
      <Link class="name" href={pathOf.node(node)} title={node}>
        {node}
      </Link>
      {hostname && hostname !== host ? (
        <span class="aside" title={`${hostname}:${port}`}>
          {hostname}
        </span>
      ) : null}
    </span>
  );
}
