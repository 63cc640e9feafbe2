// What is around every page: the way to the others, and how this one behaves.

import type { ComponentChildren } from 'preact';
import { config } from '../lib/config';
import { KEYS, help } from '../lib/keys';
import { setPaused, usePaused } from '../lib/live';
import { type Route, pathOf } from '../lib/router';
import { cycleTheme, useTheme } from '../lib/theme';
import { Icon, Logo } from './icons';
import { Link } from './link';
import { Modal } from './modal';

interface Entry {
  text: string;
  href: string;
  pages: Route['page'][];
}

const ENTRIES: Entry[] = [
  { text: 'Topics', href: pathOf.topics(), pages: ['topics', 'topic', 'channel'] },
  { text: 'Nodes', href: pathOf.nodes(), pages: ['nodes', 'node'] },
  { text: 'Lookup', href: pathOf.lookup(), pages: ['lookup'] },
  { text: 'Counter', href: pathOf.counter(), pages: ['counter'] },
  { text: 'Health', href: pathOf.health(), pages: ['health'] },
];

export function Shell({ page, children }: { page: Route['page']; children: ComponentChildren }) {
  return (
    <>
      <a class="skip" href="#content">
        To the content
      </a>
      <header class="bar">
        <Link class="home" href={pathOf.topics()}>
          <Logo />
          <span>nsqadmin</span>
        </Link>
        <nav aria-label="Pages">
          {ENTRIES.map(({ text, href, pages }) => (
            <Link key={href} href={href} current={pages.includes(page)}>
              {text}
            </Link>
          ))}
        </nav>
        <div class="tools">
          <LiveButton />
          <ThemeButton />
          <button type="button" class="plain keys" title="Keys (?)" onClick={() => help.set(true)}>
            <Icon name="keyboard" />
            <span class="hidden">Keys</span>
          </button>
          <span class="version" title={`Speaks nsqadmin ${config.VERSION}`}>
            v{config.SHOAL_VERSION || config.VERSION}
          </span>
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
      <Keys />
    </>
  );
}

function LiveButton() {
  const paused = usePaused();
  return (
    <button
      type="button"
      class={`live ${paused ? 'paused' : ''}`}
      title={paused ? 'Go on reading the numbers (p)' : 'Keep the numbers as they are (p)'}
      aria-pressed={paused}
      onClick={() => setPaused(!paused)}
    >
      {paused ? <Icon name="pause" /> : <span class="dot" aria-hidden="true" />}
      {paused ? 'Paused' : 'Live'}
    </button>
  );
}

const THEMES = {
  system: { icon: 'system', text: 'Colours as the system has them' },
  light: { icon: 'sun', text: 'Light colours' },
  dark: { icon: 'moon', text: 'Dark colours' },
} as const;

function ThemeButton() {
  const { icon, text } = THEMES[useTheme().choice];
  return (
    <button type="button" class="plain" title={`${text} (d)`} onClick={cycleTheme}>
      <Icon name={icon} />
      <span class="hidden">{text}</span>
    </button>
  );
}

function Keys() {
  if (!help.use()) return null;
  return (
    <Modal title="Keys" onClose={() => help.set(false)}>
      <dl class="keys-list">
        {KEYS.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
