package tidelock.peers.hbase;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.Metric;
import org.apache.flink.metrics.MetricConfig;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;
import org.apache.flink.metrics.reporter.Scheduled;

/**
 * Writes how many checkpoints were seen and how many bytes they had in all to the file that the property {@code tidelock.account}
 * names. It looks every few milliseconds, so that it misses some of those that follow one another within that time.
 */
public final class CheckpointAccount implements MetricReporter, Scheduled {
    private final Path file = Path.of(System.getProperty("tidelock.account"));
    private volatile Gauge<Long> newest;
    private volatile Gauge<Long> size;
    private long last;
    private long count;
    private long bytes;

    @Override
    public void open(MetricConfig config) {}

    @Override
    public void close() {}

    @Override
    @SuppressWarnings("unchecked")
    public void notifyOfAddedMetric(Metric metric, String name, MetricGroup group) {
        switch (name) {
            case "lastCompletedCheckpointId" -> newest = (Gauge<Long>) metric;
            case "lastCheckpointSize" -> size = (Gauge<Long>) metric;
            default -> {}
        }
    }

    @Override
    public void notifyOfRemovedMetric(Metric metric, String name, MetricGroup group) {}

    @Override
    public void report() {
        if (newest == null || size == null || newest.getValue() <= last) {
            return;
        }
        last = newest.getValue();
        count += 1;
        bytes += size.getValue();
        try {
            Files.writeString(file, count + " " + bytes);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Flink finds it by its class's name and, as a plugin of the class path, by META-INF/services. */
    public static final class Factory implements MetricReporterFactory {
        @Override
        public MetricReporter createMetricReporter(Properties properties) {
            return new CheckpointAccount();
        }
    }
}
