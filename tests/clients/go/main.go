// Drives a broker through go-nsq, the original's own Go client; see ../README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

var (
	nsqdFlag        = flag.String("nsqd", "127.0.0.1:4150", "TCP address of the broker")
	lookupdFlag     = flag.String("lookupd", "", "HTTP addresses of nsqlookupds, to consume from where they say")
	topicFlag       = flag.String("topic", "", "topic, or the stem of the topics' names")
	topicsFlag      = flag.Int("topics", 1, "spread over this many topics, numbered from 0")
	channelFlag     = flag.String("channel", "", "channel")
	messagesFlag    = flag.Int("messages", 1000, "messages to publish and to expect")
	modeFlag        = flag.String("mode", "both", "produce, consume or both")
	requeueFlag     = flag.Int("requeue-every", 0, "requeue every so manieth message once")
	connectionsFlag = flag.Int("connections", 1, "producers, and consumers of each topic")
	layersFlag      = flag.String("layers", "", "tls, snappy, deflate, tls+snappy or tls+deflate")
	deadlineFlag    = flag.Int("deadline-s", 60, "give up after this many seconds")
)

// Report is the line that a run prints at its end.
type Report struct {
	Published int     `json:"published"`
	Received  int     `json:"received"`
	Distinct  int     `json:"distinct"`
	Corrupt   int     `json:"corrupt"`
	Requeued  int     `json:"requeued"`
	Early     int     `json:"early"`
	Seconds   float64 `json:"seconds"`
}

func main() {
	flag.Parse()
	producing := *modeFlag == "produce" || *modeFlag == "both"
	consuming := *modeFlag == "consume" || *modeFlag == "both"
	if !producing && !consuming || *topicFlag == "" || consuming && *channelFlag == "" {
		fmt.Fprintln(os.Stderr, "usage: --topic T --channel C --mode produce|consume|both, see --help")
		os.Exit(2)
	}
	started := time.Now()
	plan := newPlan(*topicFlag, *topicsFlag, *messagesFlag, *requeueFlag)
	tally := newTally(plan)
	var published atomic.Int64

	produced := make(chan error, 1)
	consumed := make(chan error, 1)
	run(producing, produced, func() error {
		return produce(plan, *nsqdFlag, *connectionsFlag, &published)
	})
	run(consuming, consumed, func() error {
		return consume(tally, *nsqdFlag, *lookupdFlag, *channelFlag, *connectionsFlag)
	})
	deadline := time.After(time.Duration(*deadlineFlag) * time.Second)
	ok := await("produce", produced, deadline) && await("consume", consumed, deadline)

	tally.Lock()
	defer tally.Unlock()
	ok = ok && (!producing || published.Load() == int64(plan.messages))
	ok = ok && (!consuming || tally.right())
	report, _ := json.Marshal(Report{
		int(published.Load()), tally.received, tally.distinct, tally.corrupt, tally.requeued,
		tally.early, time.Since(started).Seconds(),
	})
	fmt.Println(string(report))
	if !ok {
		os.Exit(1)
	}
}

func run(wanted bool, done chan<- error, work func() error) {
	if !wanted {
		done <- nil
		return
	}
	go func() { done <- work() }()
}

func await(what string, done <-chan error, deadline <-chan time.Time) bool {
	select {
	case err := <-done:
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		}
		return err == nil
	case <-deadline:
		fmt.Fprintf(os.Stderr, "%s: not done within %d seconds\n", what, *deadlineFlag)
		return false
	}
}
