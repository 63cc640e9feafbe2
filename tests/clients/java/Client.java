import com.sproutsocial.nsq.Config;
import com.sproutsocial.nsq.Publisher;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** Drives a broker through nsq-j; see ../README.md. */
public final class Client {
    private final Map<String, String> options = new HashMap<>();
    private final AtomicInteger published = new AtomicInteger();
    private final Plan plan;

    private Client(String[] args) {
        for (int i = 0; i + 1 < args.length; i += 2) {
            options.put(args[i], args[i + 1]);
        }
        plan = new Plan(
                text("--topic", ""),
                number("--topics", 1),
                number("--messages", 1000),
                number("--requeue-every", 0));
    }

    private String text(String name, String fallback) {
        return options.getOrDefault(name, fallback);
    }

    private int number(String name, int fallback) {
        return Integer.parseInt(text(name, String.valueOf(fallback)));
    }

    /** Asks for the layers of the command line. */
    private Config config() {
        Config config = new Config();
        String layers = text("--layers", "");
        config.setDeflate(layers.contains("deflate"));
        config.setSnappy(layers.contains("snappy"));
        config.setTlsV1(layers.contains("tls"));
        if (config.getTlsV1()) {
            com.sproutsocial.nsq.Client.getDefaultClient()
                    .setSSLSocketFactory(anyCertificate());
        }
        return config;
    }

    /** The certificate is not looked at. */
    private static SSLSocketFactory anyCertificate() {
        X509TrustManager any = new X509TrustManager() {
            @Override
            public void checkClientTrusted(X509Certificate[] chain, String type) {}

            @Override
            public void checkServerTrusted(X509Certificate[] chain, String type) {}

            @Override
            public X509Certificate[] getAcceptedIssuers() {
                return new X509Certificate[0];
            }
        };
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, new TrustManager[] {any}, null);
            return context.getSocketFactory();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Publishes every block whose turn it is on connection k. */
    private void produce(int k, int connections) {
        Publisher publisher = new Publisher(text("--nsqd", "127.0.0.1:4150"));
        publisher.setConfig(config());
        for (int start = 0; start < plan.messages(); start += Plan.BLOCK_SIZE) {
            if (start / Plan.BLOCK_SIZE / 2 % connections == k) {
                publishBlock(publisher, start);
            }
        }
    }

    private void publishBlock(Publisher publisher, int start) {
        int end = Math.min(start + Plan.BLOCK_SIZE, plan.messages());
        Map<Integer, List<byte[]>> batches = new TreeMap<>();
        for (int i = start; i < end; i++) {
            int number = i % plan.topics();
            String topic = plan.topicName(number);
            byte[] body = plan.body(i);
            if (Plan.multi(i)) {
                batches.computeIfAbsent(number, n -> new ArrayList<>()).add(body);
                continue;
            } else if (Plan.deferred(i)) {
                publisher.publishDeferred(topic, body, Tally.DEFERRAL_MS, TimeUnit.MILLISECONDS);
            } else {
                publisher.publish(topic, body);
            }
            published.incrementAndGet();
        }
        batches.forEach((number, bodies) -> {
            publisher.publish(plan.topicName(number), bodies);
            published.addAndGet(bodies.size());
        });
    }

    private boolean run() throws Exception {
        long started = System.nanoTime();
        String mode = text("--mode", "both");
        boolean producing = !mode.equals("consume");
        boolean consuming = !mode.equals("produce");
        int connections = number("--connections", 1);
        Tally tally = new Tally(plan);

        ExecutorService threads = Executors.newCachedThreadPool();
        List<CompletableFuture<Void>> work = new ArrayList<>();
        for (int k = 0; producing && k < connections; k++) {
            int share = k;
            work.add(CompletableFuture.runAsync(() -> produce(share, connections), threads));
        }
        if (consuming) {
            work.add(CompletableFuture.runAsync(() -> consume(tally, connections), threads));
        }
        boolean done = finish(work, number("--deadline-s", 60));

        System.out.println(tally.report(published.get(), (System.nanoTime() - started) / 1e9));
        return done
                && (!producing || published.get() == plan.messages())
                && (!consuming || tally.right());
    }

    private void consume(Tally tally, int connections) {
        try {
            String nsqd = text("--nsqd", "127.0.0.1:4150");
            tally.consume(nsqd, text("--channel", "c"), connections, config());
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static boolean finish(List<CompletableFuture<Void>> work, int deadlineSeconds)
            throws Exception {
        try {
            CompletableFuture.allOf(work.toArray(CompletableFuture[]::new))
                    .get(deadlineSeconds, TimeUnit.SECONDS);
            return true;
        } catch (TimeoutException e) {
            System.err.println("not done within " + deadlineSeconds + " seconds");
        } catch (java.util.concurrent.ExecutionException e) {
            System.err.println(e.getCause());
        }
        return false;
    }

    /** Exits with 0 only when everything was right. */
    public static void main(String[] args) throws Exception {
        List<String> modes = List.of("produce", "consume", "both");
        Client client = new Client(args);
        if (client.plan.topic().isEmpty() || !modes.contains(client.text("--mode", "both"))) {
            System.err.println("usage: --topic T --channel C --mode produce|consume|both");
            System.exit(2);
        }
        boolean right = client.run();
        System.exit(right ? 0 : 1);
    }
}
