// Looking at messages without taking them, where a node offers it.

import { useState } from 'preact/hooks';
import { ApiError, api, failuresOf, get } from '../lib/api';
import { config } from '../lib/config';
import { bytes, plural } from '../lib/format';
import type { Peek, PeekedMessage } from '../lib/types';
import { Badge } from './badge';
import { Icon } from './icons';
import { NodeLink } from './link';
import { Empty, Failures, LoadError } from './notice';
import { Section } from './page';

const STATES = [
  ['ready', 'Waiting'],
  ['inflight', 'In flight'],
  ['deferred', 'Deferred'],
] as const;

const LIMIT = 20;

interface Looked {
  peek: Peek | null;
  error: ApiError | null;
}

export function PeekSection({ topic, channel }: { topic: string; channel: string }) {
  const [state, setState] = useState<string>('ready');
  const [busy, setBusy] = useState(false);
  const [looked, setLooked] = useState<Looked | null>(null);
  if (!config.IS_ADMIN || !config.PEEK) return null;
  const look = async () => {
    setBusy(true);
    const query = new URLSearchParams({ topic, channel, state, limit: String(LIMIT) });
    try {
      setLooked({ peek: await get<Peek>(`${api.peek}?${query}`), error: null });
    } catch (error) {
      const known = error instanceof ApiError ? error : new ApiError(0, String(error), '');
      setLooked({ peek: null, error: known });
    }
    setBusy(false);
  };
  return (
    <Section
      title="Messages"
      aside={
        <form
          class="inline"
          onSubmit={(event) => {
            event.preventDefault();
            void look();
          }}
        >
          <label>
            <span class="hidden">Which messages</span>
            <select value={state} onChange={(event) => setState(event.currentTarget.value)}>
              {STATES.map(([id, text]) => (
                <option key={id} value={id}>
                  {text}
                </option>
              ))}
            </select>
          </label>
          <button type="submit" disabled={busy}>
            <Icon name="eye" />
            {looked ? 'Look again' : 'Look at messages'}
          </button>
        </form>
      }
    >
      <div class="panel">
        {looked ? (
          <Found {...looked} />
        ) : (
          <Empty icon="eye" title="Look at the first messages without taking them.">
            <p>Nothing is delivered, counted or changed by looking.</p>
          </Empty>
        )}
      </div>
    </Section>
  );
}

function Found({ peek, error }: Looked) {
  if (error || !peek) return <LoadError error={error} at={0} />;
  const messages = peek.messages ?? [];
  if (!peek.supported) {
    return (
      <Empty icon="eye" title="None of the nodes can show its messages.">
        <p>
          It takes nodes that answer at <code>/channel/messages</code>. The original nsqd has no way
          to look without taking.
        </p>
      </Empty>
    );
  }
  return (
    <>
      <Failures failed={failuresOf(peek)} of="The messages" />
      {messages.length === 0 ? (
        <Empty icon="eye" title="There is no such message at the moment." />
      ) : (
        <ol class="messages">
          {messages.map((message) => (
            <li key={`${message.node} ${message.id}`}>
              <Message message={message} />
            </li>
          ))}
        </ol>
      )}
    </>
  );
}

const NS_PER_MS = 1e6;

function Message({ message }: { message: PeekedMessage }) {
  const at = message.timestamp_ns === null ? null : new Date(message.timestamp_ns / NS_PER_MS);
  const { text, kind } = shownAs(message.body_base64, message.truncated);
  return (
    <article class="message">
      <header>
        <code>{message.id}</code>
        {at ? <time dateTime={at.toISOString()}>{at.toLocaleString('sv-SE')}</time> : null}
        <Badge>{message.state}</Badge>
        {message.attempts === null ? null : <span>{plural(message.attempts, 'attempt')}</span>}
        <span>
          {bytes(message.size)}
          {kind === 'hex' ? ', in hexadecimal' : ''}
          {message.truncated ? ', cut off here' : ''}
        </span>
        <NodeLink node={message.node} />
      </header>
      <pre>{text}</pre>
    </article>
  );
}

/** JSON is set out, text stays as it is, and anything else is shown byte by byte. */
function shownAs(body_base64: string, truncated: boolean): { text: string; kind: 'text' | 'hex' } {
  const raw = Uint8Array.from(atob(body_base64), (character) => character.charCodeAt(0));
  let text: string;
  try {
    // A body that is cut off may end within a character.
    text = new TextDecoder('utf-8', { fatal: !truncated }).decode(raw);
  } catch {
    return { text: hexOf(raw), kind: 'hex' };
  }
  if (/[\u0000-\u0008\u000e-\u001f]/.test(text)) return { text: hexOf(raw), kind: 'hex' };
  try {
    const value: unknown = JSON.parse(text);
    return {
      text: typeof value === 'object' ? JSON.stringify(value, null, 2) : text,
      kind: 'text',
    };
  } catch {
    return { text, kind: 'text' };
  }
}

const LINE_BYTES = 16;

function hexOf(raw: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < raw.length; at += LINE_BYTES) {
    const line = [...raw.slice(at, at + LINE_BYTES)];
    const digits = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const letters = line.map((byte) =>
      byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.',
    );
    lines.push(`${digits.padEnd(LINE_BYTES * 3)} ${letters.join('')}`);
  }
  return lines.join('\n');
}
