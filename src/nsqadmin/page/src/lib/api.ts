// Requests to the server, and errors in words that say what to do.

import { serverPath } from './config';
import type { ActionResult, Envelope, Failure } from './types';

const TIMEOUT_MS = 20_000;

/** A request that came to nothing: `summary` for people, `detail` as the server put it. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly summary: string,
    readonly detail: string,
    readonly failed: Failure[] = [],
    readonly results: ActionResult[] = [],
  ) {
    super(summary);
  }
}

interface Answer extends Envelope {
  results?: ActionResult[] | null;
}

async function send(method: string, path: string, body?: unknown): Promise<Answer> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(TIMEOUT_MS) };
  init.credentials = 'same-origin';
  // Only pages of this server can set this header: it keeps other sites from sending actions.
  const headers: Record<string, string> = { 'X-Nsqadmin': 'page' };
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  }
  init.headers = headers;
  let response: Response;
  let text: string;
  try {
    response = await fetch(serverPath(path), init);
    text = await response.text();
  } catch (error) {
    throw unreachable(error);
  }
  return read(response.status, text);
}

function unreachable(error: unknown): ApiError {
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    const summary = `nsqadmin did not answer within ${TIMEOUT_MS / 1000} seconds.`;
    return new ApiError(0, summary, String(error));
  }
  const summary = 'nsqadmin itself cannot be reached. Is it running, and is the network up?';
  return new ApiError(0, summary, String(error));
}

function read(status: number, text: string): Answer {
  let answer: Answer;
  try {
    answer = JSON.parse(text) as Answer;
  } catch {
    throw new ApiError(status, summaryOf(status, text), text.slice(0, 500));
  }
  if (status < 400) return answer;
  const message = answer.message ?? '';
  const [failed, results] = [answer.failed ?? [], answer.results ?? []];
  throw new ApiError(status, summaryOf(status, message), message, failed, results);
}

function summaryOf(status: number, message: string): string {
  if (status === 403) {
    return 'Your user may look but not change anything: ask whoever set --admin-user.';
  }
  if (message.includes('TOPIC_NOT_FOUND')) return 'No node of this cluster knows this topic.';
  if (message.includes('CHANNEL_NOT_FOUND')) return 'This topic has no channel of this name.';
  if (message.startsWith('NODE_NOT_FOUND')) return 'No node with this address is registered.';
  if (message.startsWith('INVALID_TOPIC')) return `${RULE} This is no name of a topic.`;
  if (message.startsWith('INVALID_CHANNEL')) return `${RULE} This is no name of a channel.`;
  if (message.startsWith('UPSTREAM_ERROR')) return 'None of the nodes concerned answered.';
  if (status === 404) return 'There is nothing at this address.';
  return `The server answered ${status}.`;
}

const RULE = 'Names have 1 to 64 of the characters a–z, A–Z, 0–9, "." , "_" and "-".';

export async function get<T>(path: string): Promise<T & Envelope> {
  return (await send('GET', path)) as T & Envelope;
}

/** Carries an action out; it is resolved when no upstream at all refused it, or only some. */
export async function act(method: 'POST' | 'DELETE', path: string, body?: unknown) {
  const answer = await send(method, path, body);
  const { message = '', results, failed } = answer;
  return { message, results: [...(results ?? []), ...(failed ?? []).map(unasked)] };
}

export type Outcome = Awaited<ReturnType<typeof act>>;

/** Who could not even be asked where the action has to go. */
const unasked = (failure: Failure): ActionResult => ({ ...failure, ok: false, status: 0 });

const NOT_FOUND = 404;

/** A server that has nothing of this name had nothing to do, and nothing went wrong. */
export const hadNothing = (result: ActionResult) => !result.ok && result.status === NOT_FOUND;

/** Who should have done it and did not. */
export function refusals({ message, results }: Outcome): ActionResult[] {
  const refused = results.filter((result) => !result.ok && !hadNothing(result));
  if (refused.length > 0 || results.length > 0 || message === '') return refused;
  return [{ kind: 'nsqd', address: '', ok: false, error: message }];
}

const escape = encodeURIComponent;

/** The addresses of the API. */
export const api = {
  topics: '/api/topics',
  topic: (topic: string) => `/api/topics/${escape(topic)}`,
  channel: (topic: string, channel: string) => `/api/topics/${escape(topic)}/${escape(channel)}`,
  inactive: '/api/topics?inactive=true',
  nodes: '/api/nodes',
  node: (node: string) => `/api/nodes/${escape(node)}`,
  counter: '/api/counter',
  overview: '/api/overview',
  health: '/api/health',
  publish: '/api/publish',
  peek: '/api/peek',
  history: (of: { topic?: string; channel?: string; node?: string }) =>
    `/api/history?${new URLSearchParams(of)}`,
};

/** What a server says of another one, without what its reader sees or does not need. */
export function plainly(error: string): string {
  const text = error
    .replace(/^(Get|Post|Put|Delete) "[^"]*": /, '')
    .replace(/^dial tcp [^ ]+ /, '')
    .replace(/^connect: /, '');
  if (/deadline exceeded|Client\.Timeout|i\/o timeout/.test(text)) return 'it took too long';
  return text.replace(/^got response (\d+ [A-Za-z ]+?)( ".*)?$/s, 'it answered $1');
}

const DIAL = /(?:Get|Post|Put) "https?:\/\/([^/"]+)[^"]*": (.*)/;

/** Who did not answer. A server that does not list them says so in the text of its warning. */
export function failuresOf(answer: Envelope): Failure[] {
  if (answer.failed) return answer.failed;
  const text = (answer.message ?? '').replace(/^(WARNING|UPSTREAM_ERROR): /, '');
  const found: Failure[] = [];
  for (const line of text.split(/\n|; /).filter(Boolean)) {
    const match = DIAL.exec(line);
    const [address, error] = [match?.[1] ?? '', match?.[2] ?? line];
    found.push({ kind: 'nsqd', address, error });
  }
  return found;
}
