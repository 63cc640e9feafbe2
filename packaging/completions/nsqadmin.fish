complete -c nsqadmin -l version -d 'Print the version and exit [default: false]' -r
complete -c nsqadmin -l config -d 'Path of a configuration file (TOML)' -r
complete -c nsqadmin -l print-config -d 'Print every setting and where it comes from, and exit [default: false]' -r
complete -c nsqadmin -l check -d 'Run the checks of a start, print the plan and exit [default: false]' -r
complete -c nsqadmin -l log-level -d 'Least level logged: debug, info, warn, error, fatal [default: info]' -r
complete -c nsqadmin -l log-prefix -d 'What every line of the log begins with [default: [nsqadmin] ]' -r
complete -c nsqadmin -l log-format -d 'What a line of the log is: text as NSQ\'s, or json [default: text]' -r
complete -c nsqadmin -l verbose -d 'it has no effect, use --log-level [default: false]' -r
complete -c nsqadmin -l http-address -d 'Where browsers connect: <host>:<port> [default: 0.0.0.0:4171]' -r
complete -c nsqadmin -l base-path -d 'What the path of every URL begins with [default: /]' -r
complete -c nsqadmin -l dev-static-dir -d 'Serve /static from this directory (for development)' -r
complete -c nsqadmin -l lookupd-http-address -d 'A nsqlookupd\'s HTTP address, <host>:<port>; may be repeated' -r
complete -c nsqadmin -l nsqd-http-address -d 'A nsqd\'s HTTP address, <host>:<port>, where there is no nsqlookupd; may be repeated' -r
complete -c nsqadmin -l http-client-connect-timeout -d 'Time to connect to a node [default: 2s]' -r
complete -c nsqadmin -l http-client-request-timeout -d 'Time for a whole request to a node [default: 5s]' -r
complete -c nsqadmin -l http-client-tls-insecure-skip-verify -d 'Take any certificate of a node [default: false]' -r
complete -c nsqadmin -l http-client-tls-root-ca-file -d 'Path of the authorities\' certificates' -r
complete -c nsqadmin -l http-client-tls-cert -d 'Path of the certificate shown to nodes' -r
complete -c nsqadmin -l http-client-tls-key -d 'Path of its key' -r
complete -c nsqadmin -l admin-user -d 'A user that may change things; may be repeated. Without it everybody may' -r
complete -c nsqadmin -l acl-http-header -d 'The header in which a proxy names the user [default: X-Forwarded-User]' -r
complete -c nsqadmin -l acl-trusted-cidr -d 'A network whose word is taken for that header; may be repeated. Without it any' -r
complete -c nsqadmin -l allowed-host -d 'A host name under which the pages may be called, against rebinding of names; may be repeated. Without it any' -r
complete -c nsqadmin -l allow-config-from-cidr -d 'The network from which /config may be used; empty for any [default: 127.0.0.1/8]' -r
complete -c nsqadmin -l allow-publish -d 'Whether admins may publish messages [default: true]' -r
complete -c nsqadmin -l allow-peek -d 'Whether admins may look at messages [default: true]' -r
complete -c nsqadmin -l notification-http-endpoint -d 'A URL to which every action is sent with POST' -r
complete -c nsqadmin -l poll-interval -d 'Time between two looks at all nodes, for rates and charts; 0s for none [default: 5s]' -r
complete -c nsqadmin -l history-time -d 'How far back charts reach [default: 15m]' -r
complete -c nsqadmin -l history-memory -d 'Memory for the history of polls [default: 64MB]' -r
complete -c nsqadmin -l graphite-url -d 'The URL of a Graphite that draws charts' -r
complete -c nsqadmin -l proxy-graphite -d 'Have browsers reach Graphite through this program [default: false]' -r
complete -c nsqadmin -l statsd-counter-format -d 'What statsd makes of the key of a counter; empty for the key alone [default: stats.counters.%s.count]' -r
complete -c nsqadmin -l statsd-gauge-format -d 'What statsd makes of the key of a gauge; empty for the key alone [default: stats.gauges.%s]' -r
complete -c nsqadmin -l statsd-prefix -d '--statsd-prefix of the nodes [default: nsq.%s]' -r
complete -c nsqadmin -l statsd-interval -d '--statsd-interval of the nodes [default: 1m]' -r
complete -c nsqadmin -s h -l help -d 'Print help'
