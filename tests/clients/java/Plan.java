import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32;

/** The message plan that all clients share; see ../README.md. */
record Plan(String topic, int topics, int messages, int requeue, byte[] pool) {
    static final int BLOCK_SIZE = 50;
    private static final int POOL_SIZE = 17 << 16;
    private static final int BODY_SIZE_MAX = 1 << 20;
    private static final int BODY_SIZE_LARGE = 102_400;

    Plan(String topic, int topics, int messages, int requeue) {
        this(topic, topics, messages, requeue, makePool());
    }

    private static byte[] makePool() {
        byte[] pool = new byte[POOL_SIZE];
        int x = 0x9E3779B9;
        for (int i = 0; i < POOL_SIZE; i++) {
            x ^= x << 13;
            x ^= x >>> 17;
            x ^= x << 5;
            pool[i] = (byte) (x >>> 24);
        }
        return pool;
    }

    private static int scatter(int i) {
        return (i * (int) 2654435761L) >>> 12;
    }

    private static int bodySize(int i) {
        if (i == 3) {
            return BODY_SIZE_MAX;
        }
        if (i % 100 == 3) {
            return BODY_SIZE_LARGE - scatter(i) % 80_000;
        }
        if (i % 10 == 5) {
            return 1024 + scatter(i) % 15_360;
        }
        return 16 + scatter(i) % 1000;
    }

    /** Single messages go out with PUB, whole blocks with MPUB. */
    static boolean multi(int i) {
        return i / BLOCK_SIZE % 2 == 1;
    }

    /** The last message of each block of single ones goes out with DPUB. */
    static boolean deferred(int i) {
        return !multi(i) && i % BLOCK_SIZE == BLOCK_SIZE - 1;
    }

    String topicName(int number) {
        return topics == 1 ? topic : topic + number;
    }

    byte[] body(int i) {
        if (i % 10 == 7) {
            byte[] number = ByteBuffer.allocate(4).putInt(i / 10).array();
            int first = 0;
            while (first < 3 && number[first] == 0) {
                first++;
            }
            return Arrays.copyOfRange(number, first, 4);
        }
        int size = bodySize(i);
        ByteBuffer body = ByteBuffer.allocate(size);
        body.putInt(i).putInt(size).put(pool, scatter(i) % 16_384, size - 12);
        return body.putInt(checksum(body.array(), size - 4)).array();
    }

    private static int checksum(byte[] bytes, int length) {
        CRC32 sum = new CRC32();
        sum.update(bytes, 0, length);
        return (int) sum.getValue();
    }

    /** Which message a body belongs to, or -1 where no message of this topic has it. */
    int index(byte[] body, int topicNumber) {
        long i = -1;
        if (body.length >= 1 && body.length <= 4) {
            long number = 0;
            for (byte b : body) {
                number = number << 8 | b & 0xFF;
            }
            i = number * 10 + 7;
        } else if (body.length >= 16) {
            int end = body.length - 4;
            ByteBuffer bytes = ByteBuffer.wrap(body);
            if (bytes.getInt(end) != checksum(body, end)) {
                return -1;
            }
            i = bytes.getInt(0);
        }
        boolean known = i >= 0 && i < messages && i % topics == topicNumber;
        return known && Arrays.equals(body, body((int) i)) ? (int) i : -1;
    }

    boolean toRequeue(int i) {
        return requeue > 0 && i % requeue == 0;
    }

    int requeues() {
        return requeue == 0 ? 0 : (messages + requeue - 1) / requeue;
    }
}
