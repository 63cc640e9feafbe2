// Actions: asked for, typed where they destroy something, and answered node by node.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError, type Outcome, hadNothing, plainly, refusals } from '../lib/api';
import { refreshAll } from '../lib/live';
import { Store } from '../lib/store';
import type { ActionResult } from '../lib/types';
import { Icon } from './icons';
import { Modal } from './modal';
import { say } from './toast';

export interface Ask {
  title: string;
  /** What it does, and what it does not. */
  body: ComponentChildren;
  verb: string;
  danger?: boolean;
  /** Has to be typed before it goes on. */
  typed?: string;
  run: () => Promise<Outcome>;
  /** Said when every upstream agreed. */
  done: string;
  /** Called when it was carried out, be it in part. */
  then?: () => void;
}

const asked = new Store<Ask | null>(null);

export function ask(what: Ask): void {
  asked.set(what);
}

export function Asked() {
  const what = asked.use();
  return what ? <Question key={what.title} what={what} /> : null;
}

interface Answer {
  summary: string;
  detail: string;
  results: ActionResult[];
  /** Something was done. */
  partly: boolean;
}

function Question({ what }: { what: Ask }) {
  const [typed, setTyped] = useState('');
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const close = () => {
    if (busy) return;
    asked.set(null);
    if (answer?.partly) what.then?.();
  };
  const run = async () => {
    setBusy(true);
    try {
      const outcome = await what.run();
      const refused = refusals(outcome);
      if (refused.length === 0) {
        asked.set(null);
        say(what.done);
        what.then?.();
      } else {
        const summary = summaryOf(outcome.results, refused);
        const { message: detail, results } = outcome;
        setAnswer({ summary, detail, results, partly: refused.length < results.length });
      }
    } catch (error) {
      const known =
        error instanceof ApiError ? error : new ApiError(0, 'It failed.', String(error));
      const { summary, detail, results } = known;
      setAnswer({ summary, detail, results, partly: results.some((result) => result.ok) });
    }
    setBusy(false);
    // Where it leads elsewhere, what is shown here may be gone.
    if (!what.then) refreshAll();
  };
  const blocked = busy || (what.typed !== undefined && typed !== what.typed);
  return (
    <Modal title={what.title} onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!blocked) void run();
        }}
      >
        {answer ? <Said answer={answer} /> : <div class="prose">{what.body}</div>}
        {what.typed !== undefined && !answer ? (
          <label class="field">
            <span>
              Type <code>{what.typed}</code> to go on
            </span>
            <input
              autofocus
              autocomplete="off"
              spellcheck={false}
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          </label>
        ) : null}
        <footer>
          <button type="button" onClick={close} disabled={busy}>
            {answer ? 'Close' : 'Cancel'}
          </button>
          <button
            type="submit"
            class={what.danger ? 'danger' : 'primary'}
            disabled={blocked}
            autofocus={what.typed === undefined}
          >
            {busy ? 'Working…' : answer ? 'Try again' : what.verb}
          </button>
        </footer>
      </form>
    </Modal>
  );
}

function summaryOf(results: ActionResult[], refused: ActionResult[]): string {
  if (results.length === 0) return 'Not everything went well.';
  if (refused.length === results.length) return 'None of the servers concerned did it.';
  return `${results.length - refused.length} of ${results.length} servers did it, the others did not.`;
}

function Said({ answer }: { answer: Answer }) {
  return (
    <div class="prose" role="alert">
      <p class="what">{answer.summary}</p>
      <Results results={answer.results} />
      {answer.results.length === 0 && answer.detail ? <pre>{answer.detail}</pre> : null}
    </div>
  );
}

/** What each server said. */
export function Results({ results }: { results: ActionResult[] }) {
  if (results.length === 0) return null;
  return (
    <ul class="results">
      {results.map((result) => (
        <Result key={result.kind + result.address} result={result} />
      ))}
    </ul>
  );
}

function Result({ result }: { result: ActionResult }) {
  const { kind, address, ok, error } = result;
  const isFine = ok || hadNothing(result);
  return (
    <li class={isFine ? 'ok' : 'critical'}>
      <Icon name={isFine ? 'check' : 'error'} />
      <span>
        {address} <span class="aside">{kind}</span>
      </span>
      <span class="aside" title={error}>
        {ok ? 'done' : isFine ? 'has nothing of this name' : plainly(error)}
      </span>
    </li>
  );
}
