// What the server tells the page: it stands in a meta element, since no script may be inline.

/** The settings of the server, under the names that the original gives its globals. */
export interface Config {
  VERSION: string;
  GRAPHITE_URL: string;
  GRAPH_ENABLED: boolean;
  STATSD_COUNTER_FORMAT: string;
  STATSD_GAUGE_FORMAT: string;
  STATSD_INTERVAL: number;
  STATSD_PREFIX: string;
  NSQLOOKUPD: string[];
  IS_ADMIN: boolean;
  BASE_PATH: string;
  SHOAL_VERSION: string;
  /** How often the server reads the cluster; 0 when it keeps no history. */
  POLL_INTERVAL_MS: number;
  HISTORY_S: number;
  PEEK: boolean;
  PUBLISH: boolean;
  USER: string;
}

const DEFAULTS: Config = {
  VERSION: '',
  GRAPHITE_URL: '',
  GRAPH_ENABLED: false,
  STATSD_COUNTER_FORMAT: 'stats.counters.%s.count',
  STATSD_GAUGE_FORMAT: 'stats.gauges.%s',
  STATSD_INTERVAL: 60,
  STATSD_PREFIX: 'nsq.%s',
  NSQLOOKUPD: [],
  IS_ADMIN: false,
  BASE_PATH: '',
  SHOAL_VERSION: '',
  POLL_INTERVAL_MS: 0,
  HISTORY_S: 0,
  PEEK: false,
  PUBLISH: false,
  USER: '',
};

function read(): Config {
  const text = document.querySelector('meta[name=nsqadmin]')?.getAttribute('content') ?? '{}';
  return { ...DEFAULTS, ...(JSON.parse(text) as Partial<Config>) };
}

export const config = read();

const prefix = config.BASE_PATH.replace(/\/$/, '');

/** A path of the server, below the base path. */
export function serverPath(path: string): string {
  return prefix + path;
}

/** The part of a location behind the base path. */
export function withoutBase(path: string): string {
  return path.startsWith(prefix) ? path.slice(prefix.length) : path;
}
