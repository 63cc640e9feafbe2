import com.sproutsocial.nsq.Config;
import com.sproutsocial.nsq.DirectSubscriber;
import com.sproutsocial.nsq.Message;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/** The consumers of one run, and what they have seen together. */
final class Tally {
    static final int DEFERRAL_MS = 100;
    private static final int REQUEUE_DELAY_MS = 50;

    /** Clocks and timers may round, but not by more than this. */
    private static final int EARLY_SLACK_MS = 5;

    /** How long to wait for what must not come once everything is there. */
    private static final int LINGER_MS = 300;

    /** How long the library may keep an answer to itself; its default is two seconds. */
    private static final int FLUSH_MS = 20;

    private final Plan plan;
    private final CountDownLatch done = new CountDownLatch(1);
    private final BitSet finished = new BitSet();
    private int received;
    private int corrupt;
    private int requeued;
    private int early;

    Tally(Plan plan) {
        this.plan = plan;
    }

    /** Returns once every message came and was answered. */
    void consume(String nsqd, String channel, int connections, Config config)
            throws InterruptedException {
        List<DirectSubscriber> subscribers = new ArrayList<>();
        for (int k = 0; k < connections; k++) {
            DirectSubscriber subscriber = new DirectSubscriber(60, nsqd);
            subscriber.setConfig(config);
            subscriber.setDefaultMaxInFlight(200);
            subscriber.setMaxFlushDelayMillis(FLUSH_MS);
            subscribers.add(subscriber);
            for (int number = 0; number < plan.topics(); number++) {
                int topicNumber = number;
                subscriber.subscribe(
                        plan.topicName(number), channel, (Message m) -> handle(topicNumber, m));
            }
        }
        done.await();
        Thread.sleep(LINGER_MS);
        subscribers.forEach(DirectSubscriber::stop);
    }

    private synchronized void handle(int topicNumber, Message message) {
        double ageMs = System.currentTimeMillis() - message.getTimestamp() / 1e6;
        int i = plan.index(message.getData(), topicNumber);
        received++;
        if (i < 0) {
            corrupt++;
            message.finish();
            return;
        }
        boolean first = message.getAttempts() == 1;
        if (first && Plan.deferred(i) && ageMs < DEFERRAL_MS - EARLY_SLACK_MS) {
            early++;
        }
        if (first && plan.toRequeue(i)) {
            requeued++;
            message.requeue(i / plan.requeue() % 2 == 0 ? 0 : REQUEUE_DELAY_MS);
            return;
        }
        message.finish();
        finished.set(i);
        if (finished.cardinality() == plan.messages()) {
            done.countDown();
        }
    }

    synchronized boolean right() {
        return finished.cardinality() == plan.messages()
                && received == plan.messages() + plan.requeues()
                && requeued == plan.requeues()
                && corrupt == 0
                && early == 0;
    }

    synchronized String report(int published, double seconds) {
        return String.format(
                java.util.Locale.ROOT,
                "{\"published\":%d,\"received\":%d,\"distinct\":%d,\"corrupt\":%d,"
                        + "\"requeued\":%d,\"early\":%d,\"seconds\":%.3f}",
                published, received, finished.cardinality(), corrupt, requeued, early, seconds);
    }
}
