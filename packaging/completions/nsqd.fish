complete -c nsqd -l version -d 'Print the version and exit [default: false]' -r
complete -c nsqd -l config -d 'Path of a configuration file (TOML)' -r
complete -c nsqd -l print-config -d 'Print every setting and where it comes from, and exit [default: false]' -r
complete -c nsqd -l check -d 'Run the checks of a start, print the plan and exit [default: false]' -r
complete -c nsqd -l log-level -d 'Least level logged: debug, info, warn, error, fatal [default: info]' -r
complete -c nsqd -l log-prefix -d 'What every line of the log begins with [default: [nsqd] ]' -r
complete -c nsqd -l log-format -d 'What a line of the log is: text as NSQ\'s, or json [default: text]' -r
complete -c nsqd -l verbose -d 'it has no effect, use --log-level [default: false]' -r
complete -c nsqd -l node-id -d 'Part of message ids that no other nsqd has, 0 to 1023 [default: from the host name]' -r
complete -c nsqd -l worker-id -d 'it has no effect, use --node-id [default: false]' -r
complete -c nsqd -l tcp-address -d 'Where TCP clients connect: <host>:<port>, or the path of a unix socket [default: 0.0.0.0:4150]' -r
complete -c nsqd -l http-address -d 'Where HTTP clients connect: <host>:<port>, or the path of a unix socket; "" for nowhere [default: 0.0.0.0:4151]' -r
complete -c nsqd -l https-address -d 'Where HTTPS clients connect when there is a certificate: <host>:<port>; "" for nowhere [default: 0.0.0.0:4152]' -r
complete -c nsqd -l broadcast-address -d 'Address that lookup servers give to clients [default: the host name]' -r
complete -c nsqd -l broadcast-tcp-port -d 'TCP port that lookup servers give to clients; 0 for the one that is listened on [default: 0]' -r
complete -c nsqd -l broadcast-http-port -d 'HTTP port that lookup servers give to clients; 0 for the one that is listened on [default: 0]' -r
complete -c nsqd -l lookupd-tcp-address -d 'A nsqlookupd\'s TCP address; may be repeated' -r
complete -c nsqd -l lookupd-tls -d 'Encrypt the connections with nsqlookupds [default: false]' -r
complete -c nsqd -l lookupd-tls-root-ca-file -d 'Path of the authorities of nsqlookupds\' certificates (PEM); those of the machine if empty' -r
complete -c nsqd -l lookupd-tls-cert -d 'Path of the certificate shown to nsqlookupds (PEM)' -r
complete -c nsqd -l lookupd-tls-key -d 'Path of that certificate\'s key (PEM)' -r
complete -c nsqd -l lookupd-tls-insecure-skip-verify -d 'Take any certificate of a nsqlookupd [default: false]' -r
complete -c nsqd -l with-lookupd -d 'Run a nsqlookupd in this process, and register there [default: false]' -r
complete -c nsqd -l with-lookupd-tcp-address -d 'Where other nsqds connect to that nsqlookupd: <host>:<port> [default: 0.0.0.0:4160]' -r
complete -c nsqd -l with-lookupd-http-address -d 'Where HTTP clients connect to that nsqlookupd: <host>:<port> [default: 0.0.0.0:4161]' -r
complete -c nsqd -l with-admin -d 'Run nsqadmin\'s pages in this process [default: false]' -r
complete -c nsqd -l with-admin-http-address -d 'Where browsers connect to these pages: <host>:<port> [default: 0.0.0.0:4171]' -r
complete -c nsqd -l topology-region -d 'Region of this node, made of one or more zones' -r
complete -c nsqd -l topology-zone -d 'Zone of this node, which fails as a whole' -r
complete -c nsqd -l greeting-timeout -d 'How long a new connection may take to send the protocol\'s first four bytes [default: 5s]' -r
complete -c nsqd -l drain-timeout -d 'How long draining (SIGUSR1, PUT /config/drain) may take; 0s for as long as it takes [default: 0s]' -r
complete -c nsqd -l shards -d 'Threads that own topics; 0 for one per usable core [default: 0]' -r
complete -c nsqd -l acceptors -d 'Threads that accept connections; only 1 for now [default: 1]' -r
complete -c nsqd -l topic-shard -d '<topic>=<shard>: put a topic on this shard, counted from 0; may be repeated' -r
complete -c nsqd -l memory-limit -d 'Memory for messages of all shards, like 512MB or 4GB [default: half of what the machine or the cgroup has]' -r
complete -c nsqd -l data-path -d 'Directory for data; it must exist; "" for the current one' -r
complete -c nsqd -l durability -d 'What an OK promises: memory (queued), written (survives a crash), synced (a power cut) [default: written]' -r
complete -c nsqd -l topic-durability -d '<topic>=<durability>: another promise for this topic; may be repeated' -r
complete -c nsqd -l mem-queue-size -d 'Messages of a topic kept in memory when given; without it, --memory-limit decides. #ephemeral topics and channels keep so many in any case [default: 10000]' -r
complete -c nsqd -l max-bytes-per-file -d 'Size at which a data file is full [default: 104857600]' -r
complete -c nsqd -l journal-limit -d 'Disk space of the journals of all shards [default: 512MB]' -r
complete -c nsqd -l sync-every -d 'Messages after which the journal is synced to disk [default: 2500]' -r
complete -c nsqd -l sync-timeout -d 'Time after which the journal is synced to disk [default: 2s]' -r
complete -c nsqd -l queue-scan-worker-pool-max -d 'no effect: timeouts are exact, channels are not scanned [default: 4]' -r
complete -c nsqd -l queue-scan-selection-count -d 'no effect: timeouts are exact, channels are not scanned [default: 20]' -r
complete -c nsqd -l msg-timeout -d 'How long a client may keep a message by default [default: 1m]' -r
complete -c nsqd -l max-msg-timeout -d 'The longest msg-timeout a client may ask for [default: 15m]' -r
complete -c nsqd -l max-msg-size -d 'The largest message, in bytes [default: 1048576]' -r
complete -c nsqd -l max-req-timeout -d 'The longest a message may be put off by REQ [default: 1h]' -r
complete -c nsqd -l max-defer-time -d 'The longest a message may be put off by DPUB [default: max-req-timeout]' -r
complete -c nsqd -l max-body-size -d 'The largest body of a command, in bytes [default: 5242880]' -r
complete -c nsqd -l peek -d 'Show messages at /channel/messages; never where --auth-http-address guards them [default: true]' -r
complete -c nsqd -l http-body-memory -d 'Memory for bodies of /pub and /mpub that are being read, those under 16 KB not counted; further ones wait, and after 5 seconds they are refused one by one [default: 256MB]' -r
complete -c nsqd -l max-channel-consumers -d 'Consumers of one channel; 0 for any number [default: 0]' -r
complete -c nsqd -l topic-max-bytes -d 'Bytes of messages that a topic may hold; 0 for any [default: 0]' -r
complete -c nsqd -l topic-max-messages -d 'Messages that a topic may hold; 0 for any number [default: 0]' -r
complete -c nsqd -l topic-max-age -d 'Age of a topic\'s oldest message; 0 for any [default: 0]' -r
complete -c nsqd -l topic-on-full -d 'What happens then: reject (publishes are refused) or drop-oldest [default: reject]' -r
complete -c nsqd -l channel-max-bytes -d 'The same for each channel: bytes [default: 0]' -r
complete -c nsqd -l channel-max-messages -d 'The same for each channel: messages [default: 0]' -r
complete -c nsqd -l channel-max-age -d 'The same for each channel: age [default: 0]' -r
complete -c nsqd -l channel-on-full -d 'What happens then: reject (publishes are refused) or drop-oldest [default: reject]' -r
complete -c nsqd -l retention-bytes -d 'Bytes that each topic keeps of what all channels have finished; 0 for any, or none [default: 0]' -r
complete -c nsqd -l retention-age -d 'Time for which it keeps that; 0 for any, or none. To be replayed: /channel/seek [default: 0]' -r
complete -c nsqd -l min-free-disk -d 'Free space of the data path\'s disk below which publishes are refused [default: 0]' -r
complete -c nsqd -l max-heartbeat-interval -d 'The longest heartbeat interval [default: 1m]' -r
complete -c nsqd -l max-rdy-count -d 'The highest RDY count [default: 2500]' -r
complete -c nsqd -l max-output-buffer-size -d 'The largest output buffer, in bytes [default: 65536]' -r
complete -c nsqd -l max-output-buffer-timeout -d 'The longest wait before a flush [default: 30s]' -r
complete -c nsqd -l min-output-buffer-timeout -d 'The shortest wait before a flush [default: 25ms]' -r
complete -c nsqd -l output-buffer-timeout -d 'The wait before a flush by default [default: 250ms]' -r
complete -c nsqd -l deflate -d 'Let clients compress with deflate [default: true]' -r
complete -c nsqd -l max-deflate-level -d 'The highest deflate level, 1 to 9 [default: 6]' -r
complete -c nsqd -l snappy -d 'Let clients compress with snappy [default: true]' -r
complete -c nsqd -l compression-memory -d 'Memory for compressed connections (deflate takes 420 KB for each, snappy up to 80 KB); clients beyond that are told that it is off [default: 256MB]' -r
complete -c nsqd -l auth-http-address -d 'An auth server: <host>:<port> or a whole URL; may be repeated. Secrets may have 16 KB, answers 256 KB and 1024 patterns; 128 questions are asked at a time' -r
complete -c nsqd -l auth-http-request-method -d 'How auth servers are asked: get or post [default: get]' -r
complete -c nsqd -l http-require-auth -d 'Let only those publish by HTTP who send "Authorization: Bearer <secret>" with a secret that the auth servers grant that for [default: false]' -r
complete -c nsqd -l http-client-connect-timeout -d 'Time to connect to a server by HTTP [default: 2s]' -r
complete -c nsqd -l http-client-request-timeout -d 'Time for a request to a server [default: 5s]' -r
complete -c nsqd -l tls-cert -d 'Path of the certificate (PEM); read again at SIGHUP' -r
complete -c nsqd -l tls-key -d 'Path of its key (PEM)' -r
complete -c nsqd -l tls-client-auth-policy -d 'Certificates of clients: require, or require-verify' -r
complete -c nsqd -l tls-root-ca-file -d 'Path of the authorities\' certificates' -r
complete -c nsqd -l tls-required -d 'Refuse clients without TLS [default: false]' -r
complete -c nsqd -l tls-min-version -d 'The oldest TLS accepted: tls1.2, tls1.3; tls1.0 and tls1.1 mean tls1.2 [default: tls1.0]' -r
complete -c nsqd -l tls-handshakes -d 'TLS handshakes that a thread has under way; further ones wait for their turn [default: 1024]' -r
complete -c nsqd -l statsd-address -d 'UDP <host>:<port> of a statsd; empty for none' -r
complete -c nsqd -l statsd-interval -d 'Time between two reports [default: 1m]' -r
complete -c nsqd -l statsd-mem-stats -d 'Report memory as well [default: true]' -r
complete -c nsqd -l statsd-prefix -d 'What keys begin with; %s becomes the host [default: nsq.%s]' -r
complete -c nsqd -l statsd-udp-packet-size -d 'Size of a packet, in bytes [default: 508]' -r
complete -c nsqd -l statsd-exclude-ephemeral -d 'Leave out #ephemeral ones [default: false]' -r
complete -c nsqd -l e2e-processing-latency-percentile -d 'Percentiles of the processing time, above 0 and up to 1.0, like 1.0,0.99; may be repeated' -r
complete -c nsqd -l e2e-processing-latency-window-time -d 'Time that percentiles look back; a channel takes up to 70 KB for them [default: 10m]' -r
complete -c nsqd -l metrics-max-series -d 'Series that /metrics tells at most; topics beyond that are left out [default: 200000]' -r
complete -c nsqd -l metrics-legacy-names -d 'Tell counters under the names of NSQ\'s older dashboards, too [default: false]' -r
complete -c nsqd -l enable-experiment -d 'Switch an experiment on: topology-aware-consumption (consumers of this node\'s zone first, then those of its region); may be repeated' -r
complete -c nsqd -s h -l help -d 'Print help'
