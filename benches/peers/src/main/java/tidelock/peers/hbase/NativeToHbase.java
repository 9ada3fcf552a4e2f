package tidelock.peers.hbase;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Table;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import tidelock.peers.Arguments;

/** The bare loop with HBase's own client: poll, put what came, commit the offsets at the interval. Nothing recovers it. */
public final class NativeToHbase {
    /** As many as the others send in one call. */
    private static final int ROWS_MAX = 1000;

    private NativeToHbase() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = Arguments.of(words);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings(arguments));
                Connection server = ConnectionFactory.createConnection(Rows.server(arguments.database()));
                Table table = server.getTable(TableName.valueOf(arguments.to()))) {
            consumer.subscribe(List.of(arguments.from()));
            long interval = Duration.ofMillis(arguments.intervalMs()).toNanos();
            long due = System.nanoTime() + interval;
            List<Put> rows = new ArrayList<>();
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(1))) {
                    rows.add(Rows.of(record.value()));
                }
                if (!rows.isEmpty()) {
                    table.put(rows);
                    rows.clear();
                }
                if (System.nanoTime() - due >= 0) {
                    consumer.commitAsync();
                    due = System.nanoTime() + interval;
                }
            }
        }
    }

    private static Properties settings(Arguments arguments) {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.brokers());
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, arguments.name());
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, ROWS_MAX);
        settings.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        settings.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        return settings;
    }
}
