package tidelock.peers;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExecutionOptions;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Copies a topic with Flink, exactly once: one slot, no copies between chained operators. */
public final class FlinkCopy {
    /** A system property with this prefix is a setting of Flink, and wins over what is chosen here. */
    public static final String SETTING = "flink.";

    private FlinkCopy() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = Arguments.of(words);
        run(arguments, sink(arguments));
    }

    /** Copies the topic into a sink, until it is killed. */
    public static void run(Arguments arguments, Sink<byte[]> sink) throws Exception {
        StreamExecutionEnvironment job = environment(arguments);
        job.fromSource(source(arguments), WatermarkStrategy.noWatermarks(), "source").sinkTo(sink);
        job.execute(arguments.name());
    }

    public static StreamExecutionEnvironment environment(Arguments arguments) {
        return environment(arguments, new Configuration());
    }

    /** Keyed state in RocksDB, with checkpoints of what changed, and with memory for it as a machine of this size would get. */
    public static Configuration rocks(Arguments arguments) {
        Configuration settings = new Configuration();
        settings.set(StateBackendOptions.STATE_BACKEND, "rocksdb");
        settings.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        settings.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(1024));
        settings.setString("state.backend.rocksdb.localdir", arguments.folder() + "-rocksdb");
        return settings;
    }

    public static StreamExecutionEnvironment environment(Arguments arguments, Configuration settings) {
        settings.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        settings.set(
                CheckpointingOptions.CHECKPOINTS_DIRECTORY, Path.of(arguments.folder()).toUri().toString());
        settings.set(CheckpointingOptions.MIN_PAUSE_BETWEEN_CHECKPOINTS, Duration.ZERO);
        settings.set(PipelineOptions.OBJECT_REUSE, true);
        settings.set(ExecutionOptions.BUFFER_TIMEOUT, Duration.ofMillis(1));
        System.getProperties().stringPropertyNames().stream()
                .filter(name -> name.startsWith(SETTING))
                .forEach(name -> settings.setString(name.substring(SETTING.length()), System.getProperty(name)));

        StreamExecutionEnvironment job = StreamExecutionEnvironment.createLocalEnvironment(1, settings);
        job.enableCheckpointing(arguments.intervalMs(), CheckpointingMode.EXACTLY_ONCE);
        return job;
    }

    public static KafkaSource<byte[]> source(Arguments arguments) {
        return KafkaSource.<byte[]>builder()
                .setBootstrapServers(arguments.brokers())
                .setTopics(arguments.from())
                .setGroupId(arguments.name())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setDeserializer(KafkaRecordDeserializationSchema.valueOnly(ByteArrayDeserializer.class))
                .build();
    }

    private static KafkaSink<byte[]> sink(Arguments arguments) {
        Properties producer = new Properties();
        producer.put(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, 600_000);
        producer.put(ProducerConfig.LINGER_MS_CONFIG, 5);
        producer.put(ProducerConfig.BATCH_SIZE_CONFIG, 128 << 10);
        return KafkaSink.<byte[]>builder()
                .setBootstrapServers(arguments.brokers())
                .setKafkaProducerConfig(producer)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(arguments.name())
                .setRecordSerializer(
                        KafkaRecordSerializationSchema.builder()
                                .setTopic(arguments.to())
                                .setValueSerializationSchema(new AsIs())
                                .build())
                .build();
    }

    /** No lambda: Flink reads the type that it takes from its class. */
    private static final class AsIs implements SerializationSchema<byte[]> {
        private static final long serialVersionUID = 1;

        @Override
        public byte[] serialize(byte[] value) {
            return value;
        }
    }
}
