package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// newConfig asks for the layers that the command line names. The certificate is not looked at.
func newConfig() *nsq.Config {
	config := nsq.NewConfig()
	config.TlsV1 = strings.Contains(*layersFlag, "tls")
	config.TlsConfig = &tls.Config{InsecureSkipVerify: true}
	config.Snappy = strings.Contains(*layersFlag, "snappy")
	config.Deflate = strings.Contains(*layersFlag, "deflate")
	return config
}

const deferral = 100 * time.Millisecond

func produce(p *Plan, nsqd string, connections int, published *atomic.Int64) error {
	failed := make(chan error, connections)
	var running sync.WaitGroup
	for k := 0; k < connections; k++ {
		producer, err := nsq.NewProducer(nsqd, newConfig())
		if err != nil {
			return err
		}
		producer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelError)
		running.Add(1)
		go func() {
			defer running.Done()
			defer producer.Stop()
			for start := 0; start < p.messages; start += blockSize {
				if start/blockSize/2%connections != k {
					continue
				}
				if err := publishBlock(p, producer, start, published); err != nil {
					failed <- fmt.Errorf("publishing the block at %d: %w", start, err)
					return
				}
			}
		}()
	}
	running.Wait()
	close(failed)
	return <-failed
}

func publishBlock(p *Plan, producer *nsq.Producer, start int, published *atomic.Int64) error {
	end := min(start+blockSize, p.messages)
	if multi(start) {
		return publishMulti(p, producer, start, end, published)
	}
	// All commands of the block are on their way before the first answer is awaited.
	answers := make(chan *nsq.ProducerTransaction, blockSize)
	for i := start; i < end; i++ {
		topic := p.topicName(i % p.topics)
		var err error
		if deferred(i) {
			err = producer.DeferredPublishAsync(topic, deferral, p.body(i), answers)
		} else {
			err = producer.PublishAsync(topic, p.body(i), answers)
		}
		if err != nil {
			return err
		}
	}
	for i := start; i < end; i++ {
		answer := <-answers
		if answer.Error != nil {
			return answer.Error
		}
		published.Add(1)
	}
	return nil
}

func publishMulti(
	p *Plan, producer *nsq.Producer, start, end int, published *atomic.Int64,
) error {
	batches := make([][][]byte, p.topics)
	for i := start; i < end; i++ {
		batches[i%p.topics] = append(batches[i%p.topics], p.body(i))
	}
	for number, bodies := range batches {
		if len(bodies) == 0 {
			continue
		}
		if err := producer.MultiPublish(p.topicName(number), bodies); err != nil {
			return err
		}
		published.Add(int64(len(bodies)))
	}
	return nil
}
