package main

import (
	"io"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

const (
	requeueDelay = 50 * time.Millisecond
	// Clocks and timers may round, but not by more than this.
	earlySlack = 5 * time.Millisecond
	// How long to wait for what must not come once everything is there.
	linger = 300 * time.Millisecond
	// How often nsqlookupds are asked.
	poll = 500 * time.Millisecond
)

// Tally is what the consumers of one run have seen, together.
type Tally struct {
	sync.Mutex
	plan     *Plan
	finished []bool
	received int
	distinct int
	corrupt  int
	requeued int
	early    int
	done     chan struct{}
}

func newTally(p *Plan) *Tally {
	return &Tally{plan: p, finished: make([]bool, p.messages), done: make(chan struct{})}
}

func (t *Tally) handle(topicNumber int, m *nsq.Message) {
	m.DisableAutoResponse()
	age := time.Since(time.Unix(0, m.Timestamp))
	i := t.plan.index(m.Body, topicNumber)

	t.Lock()
	defer t.Unlock()
	t.received++
	if i < 0 {
		t.corrupt++
		m.Finish()
		return
	}
	if m.Attempts == 1 && deferred(i) && age < deferral-earlySlack {
		t.early++
	}
	if m.Attempts == 1 && t.plan.toRequeue(i) {
		delay := requeueDelay
		if i/t.plan.requeue%2 == 0 {
			delay = 0
		}
		t.requeued++
		m.RequeueWithoutBackoff(delay)
		return
	}
	m.Finish()
	if !t.finished[i] {
		t.finished[i] = true
		t.distinct++
		if t.distinct == t.plan.messages {
			close(t.done)
		}
	}
}

func (t *Tally) right() bool {
	return t.distinct == t.plan.messages && t.received == t.plan.messages+t.plan.requeues() &&
		t.requeued == t.plan.requeues() && t.corrupt == 0 && t.early == 0
}

func consume(t *Tally, nsqd, lookupds, channel string, connections int) error {
	var consumers []*nsq.Consumer
	for number := 0; number < t.plan.topics; number++ {
		for k := 0; k < connections; k++ {
			config := newConfig()
			config.MaxInFlight = 200
			config.MaxAttempts = 0
			config.LookupdPollInterval = poll
			consumer, err := nsq.NewConsumer(t.plan.topicName(number), channel, config)
			if err != nil {
				return err
			}
			consumer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelError)
			consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
				t.handle(number, m)
				return nil
			}))
			if err := connect(consumer, nsqd, lookupds); err != nil {
				return err
			}
			consumers = append(consumers, consumer)
		}
	}
	<-t.done
	time.Sleep(linger)
	for _, consumer := range consumers {
		consumer.Stop()
	}
	for _, consumer := range consumers {
		<-consumer.StopChan
	}
	return nil
}

func connect(consumer *nsq.Consumer, nsqd, lookupds string) error {
	if lookupds == "" {
		return consumer.ConnectToNSQD(nsqd)
	}
	return consumer.ConnectToNSQLookupds(strings.Split(lookupds, ","))
}
