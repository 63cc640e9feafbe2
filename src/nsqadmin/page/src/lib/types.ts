// What the server answers. The first half is the original's /api/*, the second half ours.

export interface Percentile {
  quantile: number;
  min: number;
  max: number;
  average: number;
  count: number;
}

export interface Latency {
  count: number;
  percentiles: Percentile[] | null;
}

interface Queue {
  node: string;
  hostname: string;
  topic_name: string;
  depth: number;
  memory_depth: number;
  backend_depth: number;
  message_count: number;
  delivery_msg_count?: number;
  zone_local_msg_count?: number;
  region_local_msg_count?: number;
  global_msg_count?: number;
  paused: boolean;
  e2e_processing_latency: Latency | null;
}

export interface Topic extends Queue {
  /** Published since the start; 0 where the node does not say. */
  message_bytes?: number;
  nodes: Topic[] | null;
  channels: Channel[] | null;
}

export interface Channel extends Queue {
  channel_name: string;
  in_flight_count: number;
  deferred_count: number;
  requeue_count: number;
  timeout_count: number;
  client_count: number;
  nodes: Channel[] | null;
  clients: Client[] | null;
}

export interface Client {
  node: string;
  remote_address: string;
  version: string;
  client_id: string;
  hostname: string;
  user_agent: string;
  connect_ts: number;
  connected: number;
  in_flight_count: number;
  ready_count: number;
  finish_count: number;
  requeue_count: number;
  message_count: number;
  sample_rate: number;
  deflate: boolean;
  snappy: boolean;
  authed: boolean;
  auth_identity: string;
  auth_identity_url: string;
  node_topology_region?: string;
  node_topology_zone?: string;
  topology_region?: string;
  topology_zone?: string;
  tls: boolean;
  tls_cipher_suite: string;
  tls_version: string;
  tls_negotiated_protocol: string;
  tls_negotiated_protocol_is_mutual: boolean;
}

export interface NodeTopic {
  topic: string;
  tombstoned: boolean;
}

export interface Node {
  /** The lookupds that do not list it. */
  missing_lookupds?: string[] | null;
  remote_addresses: string[] | null;
  remote_address: string;
  hostname: string;
  broadcast_address: string;
  tcp_port: number;
  http_port: number;
  version: string;
  topology_zone?: string;
  topology_region?: string;
  topics: NodeTopic[] | null;
  out_of_date: boolean;
}

/** A connection that publishes. */
export interface Producer extends Client {
  pub_counts: { topic: string; count: number }[] | null;
}

export interface NodeInfo {
  version: string;
  hostname: string;
  broadcast_address: string;
  tcp_port: number;
  http_port: number;
  start_time: number | null;
  topology_zone: string;
  topology_region: string;
}

export interface NodeDetail {
  info?: NodeInfo | null;
  health?: string;
  producers?: Producer[] | null;
  memory?: Record<string, number> | null;
  node: string;
  topics: Topic[] | null;
  total_messages: number;
  total_clients: number;
}

/** An upstream that did not answer, or refused. */
export interface Failure {
  kind: 'nsqd' | 'nsqlookupd';
  address: string;
  error: string;
}

/** What every answer may carry besides its own fields. */
export interface Envelope {
  message?: string;
  failed?: Failure[] | null;
}

/** What one upstream said to an action. */
export interface ActionResult {
  kind: 'nsqd' | 'nsqlookupd';
  address: string;
  ok: boolean;
  error: string;
  /** Of its answer; 0 when there was none. */
  status?: number;
}

/** The numbers of a topic over all nodes, and how they move. */
export interface OverviewRow {
  depth: number;
  channel_depth: number;
  memory_depth: number;
  backend_depth: number;
  in_flight_count: number;
  deferred_count: number;
  requeue_count: number;
  timeout_count: number;
  message_count: number;
  channel_count: number;
  client_count: number;
  rate_in: number | null;
  rate_out: number | null;
}

export interface OverviewTopic extends OverviewRow {
  topic_name: string;
  paused: boolean;
  paused_channels: number;
  node_count: number;
  /** The last rates, oldest first; null where there was no sample. */
  spark: (number | null)[];
  depth_spark: (number | null)[];
}

export interface Overview extends Envelope {
  at: number;
  interval_ms: number;
  nodes: number;
  nodes_failed: number;
  totals: OverviewRow;
  topics: OverviewTopic[] | null;
}

export type SeriesName =
  | 'depth'
  | 'channel_depth'
  | 'in_flight_count'
  | 'deferred_count'
  | 'client_count'
  | 'rate_in'
  | 'rate_out'
  | 'requeue_rate'
  | 'timeout_rate';

export type Series = (number | null)[];

export interface History extends Envelope {
  interval_ms: number;
  at: number[];
  series: Partial<Record<SeriesName, Series>>;
  known: boolean;
}

export interface HealthNode {
  address: string;
  hostname: string;
  version: string;
  ok: boolean;
  error: string;
  health: string;
  start_time: number | null;
  uptime_s: number | null;
  data_path_free_bytes: number | null;
  data_path_size_bytes: number | null;
  rtt_ms: number;
  clock_skew_ms: number | null;
}

export interface HealthLookupd {
  address: string;
  ok: boolean;
  error: string;
  version: string;
  topics: number;
  producers: number;
  missing: string[] | null;
  missing_topics: string[] | null;
}

export interface Finding {
  severity: 'critical' | 'warning' | 'info';
  kind: string;
  subject: string;
  text: string;
  topic: string | null;
  channel: string | null;
  node: string | null;
}

export interface Health extends Envelope {
  nodes: HealthNode[] | null;
  lookupds: HealthLookupd[] | null;
  findings: Finding[] | null;
}

export interface PeekedMessage {
  node: string;
  id: string;
  timestamp_ns: number | null;
  attempts: number | null;
  state: string;
  body_base64: string;
  size: number;
  truncated: boolean;
}

export interface Peek extends Envelope {
  messages: PeekedMessage[] | null;
  supported: boolean;
}
