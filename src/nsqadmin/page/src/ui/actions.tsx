// What may be done to topics and channels. Pausing is a word; what destroys has to be typed.

import { act, api } from '../lib/api';
import { config } from '../lib/config';
import { count } from '../lib/format';
import { navigate, pathOf } from '../lib/router';
import { ask } from './confirm';
import { Icon } from './icons';
import { publishTo } from './publish';

interface Props {
  topic: string;
  /** Without one it is about the topic itself. */
  channel?: string;
  paused: boolean;
  depth: number;
}

/** The words that differ. */
function wordsOf({ topic, channel }: Props) {
  const isTopic = channel === undefined;
  return {
    isTopic,
    name: channel ?? topic,
    kind: isTopic ? 'topic' : 'channel',
    Kind: isTopic ? 'Topic' : 'Channel',
    path: isTopic ? api.topic(topic) : api.channel(topic, channel),
  };
}

export function Actions(props: Props) {
  if (!config.IS_ADMIN) return null;
  const { isTopic } = wordsOf(props);
  return (
    <>
      {isTopic && config.PUBLISH ? (
        <button type="button" class="primary" onClick={() => publishTo(props.topic)}>
          <Icon name="send" />
          Publish…
        </button>
      ) : null}
      <button type="button" onClick={() => askToPause(props)}>
        <Icon name={props.paused ? 'play' : 'pause'} />
        {props.paused ? 'Unpause' : 'Pause'}
      </button>
      <button type="button" class="danger apart" onClick={() => askToEmpty(props)}>
        Empty…
      </button>
      <button type="button" class="danger" onClick={() => askToDelete(props)}>
        <Icon name="trash" />
        Delete…
      </button>
    </>
  );
}

function askToPause(props: Props): void {
  const { isTopic, name, kind, Kind, path } = wordsOf(props);
  const action = props.paused ? 'unpause' : 'pause';
  const effect = isTopic
    ? 'While it is paused, messages wait in the topic and no channel gets any.'
    : 'While it is paused, its clients get no messages. They stay connected.';
  const undone = isTopic ? 'Its channels get messages again.' : 'Its clients get messages again.';
  ask({
    title: `${props.paused ? 'Unpause' : 'Pause'} ${kind} ${name}?`,
    body: <p>{props.paused ? undone : effect}</p>,
    verb: props.paused ? 'Unpause' : 'Pause',
    run: () => act('POST', path, { action }),
    done: `${Kind} ${name} is ${props.paused ? 'no longer paused' : 'paused'}.`,
  });
}

function askToEmpty(props: Props): void {
  const { isTopic, name, kind, Kind, path } = wordsOf(props);
  ask({
    title: `Empty ${kind} ${name}?`,
    body: (
      <p>
        The <b>{count(props.depth)}</b> messages that wait in it are lost on every node.{' '}
        {isTopic ? 'What its channels have already got stays.' : 'Other channels keep theirs.'}
      </p>
    ),
    verb: 'Empty',
    danger: true,
    typed: name,
    run: () => act('POST', path, { action: 'empty' }),
    done: `${Kind} ${name} is empty.`,
  });
}

function askToDelete(props: Props): void {
  const { isTopic, name, kind, Kind, path } = wordsOf(props);
  ask({
    title: `Delete ${kind} ${name}?`,
    body: (
      <>
        <p>
          {isTopic
            ? 'The topic, all its channels and all their messages are lost on every node.'
            : 'The channel and its messages are lost on every node, and its clients disconnected.'}
        </p>
        <p>
          It comes back, empty, as soon as somebody {isTopic ? 'publishes to' : 'subscribes to'} it.
        </p>
      </>
    ),
    verb: 'Delete',
    danger: true,
    typed: name,
    run: () => act('DELETE', path),
    done: `${Kind} ${name} is deleted.`,
    then: () => navigate(isTopic ? pathOf.topics() : pathOf.topic(props.topic)),
  });
}

/** Takes a topic off one node. */
export function askToTombstone(topic: string, node: string): void {
  ask({
    title: `Take topic ${topic} off ${node}?`,
    body: (
      <>
        <p>
          The lookupds stop naming this node for the topic, so that clients leave it; then the topic
          and its messages are deleted there.
        </p>
        <p>Producers that publish to this node bring the topic back.</p>
      </>
    ),
    verb: 'Take it off',
    danger: true,
    typed: topic,
    run: () => act('DELETE', api.node(node), { topic }),
    done: `Topic ${topic} is off ${node}.`,
  });
}

export function Tombstone({ topic, node }: { topic: string; node: string }) {
  if (!config.IS_ADMIN) return null;
  const label = `Take topic ${topic} off ${node}`;
  return (
    <button
      type="button"
      class="plain small"
      title={label}
      aria-label={label}
      onClick={() => askToTombstone(topic, node)}
    >
      <Icon name="trash" />
    </button>
  );
}
