complete -c nsq_tail -l version -d 'Print the version and exit [default: false]' -r
complete -c nsq_tail -l topic -d 'A topic; may be repeated' -r
complete -c nsq_tail -l channel -d 'The channel on each topic [default: a random one that vanishes afterwards]' -r
complete -c nsq_tail -l n -d 'Stop after this many messages of a topic; 0 for never [default: 0]' -r
complete -c nsq_tail -l print-topic -d 'Print the topic in front of each message [default: false]' -r
complete -c nsq_tail -l nsqd-tcp-address -d 'A nsqd\'s TCP address; may be repeated' -r
complete -c nsq_tail -l lookupd-http-address -d 'A nsqlookupd\'s HTTP address; may be repeated' -r
complete -c nsq_tail -l max-in-flight -d 'Messages that may be on their way at once [default: 200]' -r
complete -c nsq_tail -l consumer-opt -d 'An option of the client library, as <name>,<value>; may be repeated' -r
complete -c nsq_tail -s h -l help -d 'Print help'
