complete -c nsqlookupd -l version -d 'Print the version and exit [default: false]' -r
complete -c nsqlookupd -l config -d 'Path of a configuration file (TOML)' -r
complete -c nsqlookupd -l print-config -d 'Print every setting and where it comes from, and exit [default: false]' -r
complete -c nsqlookupd -l check -d 'Run the checks of a start, print the plan and exit [default: false]' -r
complete -c nsqlookupd -l log-level -d 'Least level logged: debug, info, warn, error, fatal [default: info]' -r
complete -c nsqlookupd -l log-prefix -d 'What every line of the log begins with [default: [nsqlookupd] ]' -r
complete -c nsqlookupd -l log-format -d 'What a line of the log is: text as NSQ\'s, or json [default: text]' -r
complete -c nsqlookupd -l verbose -d 'it has no effect, use --log-level [default: false]' -r
complete -c nsqlookupd -l tcp-address -d 'Where nsqds connect: <host>:<port>; "" for any free port [default: 0.0.0.0:4160]' -r
complete -c nsqlookupd -l http-address -d 'Where HTTP clients connect: <host>:<port>; "" for any free port [default: 0.0.0.0:4161]' -r
complete -c nsqlookupd -l broadcast-address -d 'Address that nsqds ask for a topic\'s channels [default: the host name]' -r
complete -c nsqlookupd -l inactive-producer-timeout -d 'How long a nsqd may be without a ping before it is hidden [default: 5m0s]' -r
complete -c nsqlookupd -l tombstone-lifetime -d 'How long a tombstone hides a nsqd from a topic\'s consumers [default: 45s]' -r
complete -c nsqlookupd -l client-timeout -d 'How long a nsqd\'s connection may be silent before it is closed [default: 15m0s]' -r
complete -c nsqlookupd -l greeting-timeout -d 'How long a nsqd may take for its greeting and for each command that it has begun [default: 10s]' -r
complete -c nsqlookupd -l max-connections -d 'Connections of nsqds at a time [default: 10000]' -r
complete -c nsqlookupd -l max-http-connections -d 'Connections of HTTP clients at a time [default: 10000]' -r
complete -c nsqlookupd -l max-registrations -d 'Names of topics and channels, and nsqds under names, counted together [default: 2000000]' -r
complete -c nsqlookupd -l max-body-size -d 'The largest body of a nsqd\'s IDENTIFY, in bytes [default: 16384]' -r
complete -c nsqlookupd -l max-lookup-wait -d 'How long a /lookup may wait for a change [default: 1m0s]' -r
complete -c nsqlookupd -l http-idle-timeout -d 'How long an HTTP connection may be without a request before it is closed [default: 15m0s]' -r
complete -c nsqlookupd -l http-request-timeout -d 'How long an HTTP request may take to arrive, and how long a client may take no answer [default: 20s]' -r
complete -c nsqlookupd -l tls-cert -d 'Path of the certificate (PEM); with it nsqds may use TLS' -r
complete -c nsqlookupd -l tls-key -d 'Path of the certificate\'s key (PEM)' -r
complete -c nsqlookupd -l tls-client-auth-policy -d 'What nsqds have to show: require (any certificate), require-verify (a valid one)' -r
complete -c nsqlookupd -l tls-root-ca-file -d 'Path of the authorities of nsqds\' certificates (PEM)' -r
complete -c nsqlookupd -l tls-required -d 'Refuse nsqds without TLS; a policy implies it [default: false]' -r
complete -c nsqlookupd -l tls-min-version -d 'The oldest version of TLS: tls1.2, tls1.3 [default: tls1.2]' -r
complete -c nsqlookupd -s h -l help -d 'Print help'
