// What the lookupds know and no node has, and making topics and channels ahead of time.

import { useState } from 'preact/hooks';
import { ApiError, act, api, failuresOf, get, refusals } from '../lib/api';
import { config } from '../lib/config';
import { plural } from '../lib/format';
import { refreshAll, usePolled } from '../lib/live';
import type { ActionResult, Failure } from '../lib/types';
import { Badge } from '../ui/badge';
import { Results, ask } from '../ui/confirm';
import { Icon } from '../ui/icons';
import { ChannelLink, TopicLink } from '../ui/link';
import { Empty, Failures, LoadError } from '../ui/notice';
import { Page, Section } from '../ui/page';
import { say } from '../ui/toast';

type Inactive = Record<string, string[] | null>;

export function LookupPage() {
  const isLookupMode = config.NSQLOOKUPD.length > 0;
  return (
    <Page name="Lookup">
      {isLookupMode ? <Lookup /> : <NoLookup />}
      {config.IS_ADMIN ? <Create /> : null}
    </Page>
  );
}

function NoLookup() {
  return (
    <div class="panel">
      <Empty title="nsqadmin was not given any nsqlookupd.">
        <p>
          It asks the nodes of <code>--nsqd-http-address</code> directly. With{' '}
          <code>--lookupd-http-address</code> this page shows what lookupds know.
        </p>
      </Empty>
    </div>
  );
}

const SLOW_MS = 10_000;

function Lookup() {
  const load = () => get<{ topics: Inactive | null }>(api.inactive);
  const { data, error, at } = usePolled('inactive', load, SLOW_MS);
  const failed = data ? failuresOf(data) : (error?.failed ?? []);
  return (
    <>
      <LoadError error={error} at={at} />
      <Failures failed={failed} of="The lists" />
      <Section title="Lookupds">
        <Lookupds failed={failed} isKnown={data !== null || error !== null} />
      </Section>
      <Section
        title="Without producers"
        aside={<span class="aside">Known to lookupds, but on no node</span>}
      >
        <div class="panel">
          <Tree topics={data ? (data.topics ?? {}) : null} />
        </div>
      </Section>
    </>
  );
}

function Lookupds({ failed, isKnown }: { failed: Failure[]; isKnown: boolean }) {
  return (
    <ul class="panel list">
      {config.NSQLOOKUPD.map((address) => {
        const failure = failed.find((entry) => entry.address === address);
        return (
          <li key={address}>
            <span class="name">{address}</span>
            {failure ? (
              <Badge tone="critical" title={failure.error}>
                No answer
              </Badge>
            ) : isKnown ? (
              <Badge tone="ok">Answers</Badge>
            ) : (
              <Badge>Waiting…</Badge>
            )}
          </li>
        );
      })}
    </ul>
  );
}

function Tree({ topics }: { topics: Inactive | null }) {
  if (!topics) return <Empty title="Waiting for the lookupds…" />;
  const names = Object.keys(topics).sort();
  if (names.length === 0) {
    return <Empty icon="check" title="Every topic that the lookupds know is on a node." />;
  }
  return (
    <ul class="tree list">
      {names.map((topic) => (
        <li key={topic}>
          <div>
            <TopicLink topic={topic} />
            <Remove topic={topic} />
          </div>
          <ul>
            {(topics[topic] ?? []).map((channel) => (
              <li key={channel}>
                <div>
                  <ChannelLink topic={topic} channel={channel} />
                  <Remove topic={topic} channel={channel} />
                </div>
              </li>
            ))}
          </ul>
        </li>
      ))}
    </ul>
  );
}

function Remove({ topic, channel }: { topic: string; channel?: string }) {
  if (!config.IS_ADMIN) return null;
  const [name, kind] = channel === undefined ? [topic, 'topic'] : [channel, 'channel'];
  const path = channel === undefined ? api.topic(topic) : api.channel(topic, channel);
  const remove = () =>
    ask({
      title: `Delete ${kind} ${name}?`,
      body: <p>No node has it, so there are no messages to lose: the lookupds forget its name.</p>,
      verb: 'Delete',
      danger: true,
      typed: name,
      run: () => act('DELETE', path),
      done: `The lookupds have forgotten ${kind} ${name}.`,
    });
  const label = `Delete ${kind} ${name}`;
  return (
    <button type="button" class="plain small" title={label} aria-label={label} onClick={remove}>
      <Icon name="trash" />
    </button>
  );
}

const NAME = '[.a-zA-Z0-9_\\-]+(#ephemeral)?';
const RULE = 'Up to 64 of a–z, A–Z, 0–9, ".", "_" and "-"';

interface Said {
  text: string;
  results: ActionResult[];
}

function Create() {
  const [topic, setTopic] = useState('');
  const [channel, setChannel] = useState('');
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<Said | null>(null);
  const create = async () => {
    setBusy(true);
    setSaid(null);
    try {
      const outcome = await act('POST', api.topics, { topic, ...(channel ? { channel } : {}) });
      const refused = refusals(outcome);
      const what = channel ? `Channel ${channel} of topic ${topic}` : `Topic ${topic}`;
      if (refused.length === 0) {
        say(`${what} is there.`);
        setTopic('');
        setChannel('');
      } else {
        const text = `${plural(refused.length, 'server')} did not do it.`;
        setSaid({ text, results: outcome.results });
      }
    } catch (error) {
      const known = error instanceof ApiError ? error : null;
      setSaid({ text: known?.summary ?? String(error), results: known?.results ?? [] });
    }
    setBusy(false);
    refreshAll();
  };
  return (
    <Section title="Create a topic or channel">
      <form
        class="panel padded create"
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void create();
        }}
      >
        <p class="aside">
          Topics and channels come into being when they are used. Made ahead of time, a channel
          misses none of the first messages.
        </p>
        <div class="fields">
          <label class="field">
            <span>Topic</span>
            <input
              required
              pattern={NAME}
              maxLength={64}
              title={RULE}
              autocomplete="off"
              spellcheck={false}
              value={topic}
              onInput={(event) => setTopic(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>
              Channel <span class="aside">if wanted</span>
            </span>
            <input
              pattern={NAME}
              maxLength={64}
              title={RULE}
              autocomplete="off"
              spellcheck={false}
              value={channel}
              onInput={(event) => setChannel(event.currentTarget.value)}
            />
          </label>
          <button type="submit" class="primary" disabled={busy}>
            <Icon name="plus" />
            Create
          </button>
        </div>
        {said ? (
          <div class="said critical" role="alert">
            <p>{said.text}</p>
            <Results results={said.results} />
          </div>
        ) : null}
      </form>
    </Section>
  );
}
