// Pictures of Graphite, which reach back further than what the server keeps.

import { useState } from 'preact/hooks';
import { config } from '../lib/config';
import { INTERVALS, type Subject, pictures } from '../lib/graphite';
import { useParam } from '../lib/router';
import type { Latency } from '../lib/types';
import { Choices } from './filter';
import { Section } from './page';

const REDRAW_MS = 60_000;

export function Graphite({ of, latency }: { of: Subject; latency?: Latency | null | undefined }) {
  const [interval, setInterval] = useParam('t', '2h');
  if (!config.GRAPH_ENABLED) return null;
  const choices = INTERVALS.map((id) => ({ id, text: id }));
  // Another address each minute, so that the browser asks again.
  const minute = Math.floor(Date.now() / REDRAW_MS);
  return (
    <Section
      title="Graphite"
      aside={
        <Choices
          label="How far back"
          value={interval}
          onChoose={setInterval}
          choices={[...choices, { id: 'off', text: 'Off' }]}
        />
      }
    >
      {interval === 'off' ? null : (
        <div class="charts">
          {pictures(of, latency, interval).map(({ title, src }) => (
            <Picture key={title} title={title} src={`${src}&_uniq=${minute}`} />
          ))}
        </div>
      )}
    </Section>
  );
}

function Picture({ title, src }: { title: string; src: string }) {
  const [failed, setFailed] = useState('');
  return (
    <figure class="chart picture">
      <figcaption>
        <h3>{title}</h3>
      </figcaption>
      {failed === src ? (
        <p class="aside">Graphite did not draw this. Does {location.host} reach it?</p>
      ) : (
        <a href={src}>
          <img
            src={src}
            alt={`${title}, drawn by Graphite`}
            width="480"
            height="225"
            onError={() => setFailed(src)}
          />
        </a>
      )}
    </figure>
  );
}
