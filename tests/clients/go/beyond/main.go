// Drives a broker through go-nsq where it has more than NSQ; see ../../README.md.
package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

var (
	nsqdFlag     = flag.String("nsqd", "127.0.0.1:4150", "TCP address of the broker")
	topicFlag    = flag.String("topic", "", "topic")
	channelFlag  = flag.String("channel", "c", "channel")
	modeFlag     = flag.String("mode", "", "insist or judge")
	messagesFlag = flag.Int("messages", 10, "messages to publish, or deliveries to await")
	sizeFlag     = flag.Int("size", 20, "bytes of a body")
	attemptsFlag = flag.Uint("max-attempts", 0, "the library's own limit; 0 for none")
	requeueFlag  = flag.Int("requeue-ms", -1, "delay of what is given back; -1 for the library's own")
	deadlineFlag = flag.Int("deadline-s", 60, "give up after this many seconds")
)

const (
	// How long a refused publish waits before it is tried again.
	pause = 20 * time.Millisecond
	// How long to wait for what must not come once everything is there.
	linger = 300 * time.Millisecond
)

// Insisted is what a producer reports that publishes until it is told OK.
type Insisted struct {
	Published int            `json:"published"`
	Refused   int            `json:"refused"`
	Errors    map[string]int `json:"errors"`
}

// Delivery is one message as it came.
type Delivery struct {
	Body     string  `json:"body"`
	Attempts uint16  `json:"attempts"`
	AtMs     float64 `json:"at_ms"`
	AgeMs    float64 `json:"age_ms"`
}

// Judge gives back what begins with "poison", and finishes the rest.
type Judge struct {
	sync.Mutex
	started    time.Time
	Deliveries []Delivery `json:"deliveries"`
	GaveUp     []string   `json:"gave_up"`
	done       chan struct{}
}

func main() {
	flag.Parse()
	var work func() (any, error)
	switch *modeFlag {
	case "insist":
		work = insist
	case "judge":
		work = judge
	default:
		fmt.Fprintln(os.Stderr, "usage: --topic T --mode insist|judge, see --help")
		os.Exit(2)
	}
	deadline := time.AfterFunc(time.Duration(*deadlineFlag)*time.Second, func() {
		fmt.Fprintf(os.Stderr, "not done within %d seconds\n", *deadlineFlag)
		os.Exit(1)
	})
	report, err := work()
	deadline.Stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	line, _ := json.Marshal(report)
	fmt.Println(string(line))
}

func insist() (any, error) {
	producer, err := nsq.NewProducer(*nsqdFlag, nsq.NewConfig())
	if err != nil {
		return nil, err
	}
	producer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelError)
	defer producer.Stop()
	report := Insisted{Errors: make(map[string]int)}
	for i := 0; i < *messagesFlag; i++ {
		body := fmt.Sprintf("%06d", i)
		body += strings.Repeat(".", max(*sizeFlag-len(body), 0))
		for {
			err := producer.Publish(*topicFlag, []byte(body))
			if err == nil {
				break
			}
			var refusal nsq.ErrProtocol
			if errors.As(err, &refusal) {
				report.Refused++
			}
			report.Errors[err.Error()]++
			time.Sleep(pause)
		}
		report.Published++
	}
	return report, nil
}

func judge() (any, error) {
	config := nsq.NewConfig()
	config.MaxInFlight = 50
	config.MaxAttempts = uint16(*attemptsFlag)
	config.DefaultRequeueDelay = 50 * time.Millisecond
	config.BackoffMultiplier = 50 * time.Millisecond
	config.MaxBackoffDuration = 200 * time.Millisecond
	consumer, err := nsq.NewConsumer(*topicFlag, *channelFlag, config)
	if err != nil {
		return nil, err
	}
	consumer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelError)
	judge := &Judge{started: time.Now(), done: make(chan struct{}, 1)}
	judge.Deliveries, judge.GaveUp = []Delivery{}, []string{}
	consumer.AddHandler(judge)
	if err := consumer.ConnectToNSQD(*nsqdFlag); err != nil {
		return nil, err
	}
	<-judge.done
	time.Sleep(linger)
	consumer.Stop()
	<-consumer.StopChan
	judge.Lock()
	return judge, nil
}

// HandleMessage gives a message back as handlers do: with the library's backoff.
func (j *Judge) HandleMessage(m *nsq.Message) error {
	j.Lock()
	defer j.Unlock()
	now := time.Now()
	j.Deliveries = append(j.Deliveries, Delivery{
		hex.EncodeToString(m.Body), m.Attempts,
		now.Sub(j.started).Seconds() * 1e3,
		now.Sub(time.Unix(0, m.Timestamp)).Seconds() * 1e3,
	})
	j.count()
	if !strings.HasPrefix(string(m.Body), "poison") {
		return nil
	}
	m.DisableAutoResponse()
	delay := time.Duration(-1)
	if *requeueFlag >= 0 {
		delay = time.Duration(*requeueFlag) * time.Millisecond
	}
	m.Requeue(delay)
	return nil
}

// LogFailedMessage hears of what the library gives up by its own limit.
func (j *Judge) LogFailedMessage(m *nsq.Message) {
	j.Lock()
	defer j.Unlock()
	j.GaveUp = append(j.GaveUp, hex.EncodeToString(m.Body))
	j.count()
}

func (j *Judge) count() {
	if len(j.Deliveries)+len(j.GaveUp) == *messagesFlag {
		j.done <- struct{}{}
	}
}
