// Publishing a message by hand.

import { useState } from 'preact/hooks';
import { ApiError, act, api, get } from '../lib/api';
import { refreshAll, usePolled } from '../lib/live';
import { addressOf } from '../lib/noderows';
import { Store } from '../lib/store';
import type { ActionResult, Node } from '../lib/types';
import { Results } from './confirm';
import { Modal } from './modal';

const shown = new Store<string | null>(null);

export function publishTo(topic: string): void {
  shown.set(topic);
}

export function Publishing() {
  const topic = shown.use();
  return topic === null ? null : <Publish topic={topic} onClose={() => shown.set(null)} />;
}

interface Said {
  text: string;
  results: ActionResult[];
  ok: boolean;
}

function Publish({ topic, onClose }: { topic: string; onClose: () => void }) {
  const [body, setBody] = useState('');
  const [defer, setDefer] = useState('');
  const [node, setNode] = useState('');
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<Said | null>(null);
  const { data } = usePolled('nodes', () => get<{ nodes: Node[] | null }>(api.nodes), 60_000);
  const publish = async () => {
    setBusy(true);
    const seconds = Number(defer);
    try {
      const { results } = await act('POST', api.publish, {
        topic,
        body,
        ...(seconds > 0 ? { defer_ms: Math.round(seconds * 1000) } : {}),
        ...(node ? { node } : {}),
      });
      const taken = results.find((result) => result.ok);
      const text = taken ? `Published to ${taken.address}.` : 'Published.';
      setSaid({ text, results: results.filter((result) => !result.ok), ok: true });
    } catch (error) {
      const known = error instanceof ApiError ? error : null;
      const text = known?.summary ?? String(error);
      setSaid({ text, results: known?.results ?? [], ok: false });
    }
    setBusy(false);
    refreshAll();
  };
  return (
    <Modal title={`Publish to ${topic}`} onClose={onClose} wide>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (body && !busy) void publish();
        }}
      >
        <label class="field">
          <span>Message</span>
          <textarea
            autofocus
            rows={8}
            spellcheck={false}
            value={body}
            onInput={(event) => setBody(event.currentTarget.value)}
          />
          <span class="aside">{bytesIn(body)} as UTF-8, sent as one message</span>
        </label>
        <div class="fields">
          <label class="field">
            <span>Node</span>
            <select value={node} onChange={(event) => setNode(event.currentTarget.value)}>
              <option value="">Any that has the topic</option>
              {(data?.nodes ?? []).map(addressOf).map((address) => (
                <option key={address} value={address}>
                  {address}
                </option>
              ))}
            </select>
          </label>
          <label class="field">
            <span>Hold back for, in seconds</span>
            <input
              type="number"
              min="0"
              step="any"
              placeholder="0"
              value={defer}
              onInput={(event) => setDefer(event.currentTarget.value)}
            />
          </label>
        </div>
        {said ? (
          <div class={`said ${said.ok ? 'ok' : 'critical'}`} role="status">
            <p>{said.text}</p>
            <Results results={said.results} />
          </div>
        ) : null}
        <footer>
          <button type="button" onClick={onClose}>
            Close
          </button>
          <button type="submit" class="primary" disabled={!body || busy}>
            {busy ? 'Working…' : said?.ok ? 'Publish again' : 'Publish'}
          </button>
        </footer>
      </form>
    </Modal>
  );
}

function bytesIn(text: string): string {
  const length = new TextEncoder().encode(text).length;
  return length === 1 ? '1 byte' : `${length.toLocaleString('en-US')} bytes`;
}
