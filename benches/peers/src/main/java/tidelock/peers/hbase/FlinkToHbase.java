package tidelock.peers.hbase;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.connector.hbase.sink.HBaseMutationConverter;
import org.apache.flink.connector.hbase.sink.HBaseSinkFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.hadoop.hbase.client.Mutation;
import tidelock.peers.Arguments;
import tidelock.peers.FlinkCopy;

/** Copies a topic into a table of HBase with Flink's sink: at least once, and a row that comes again is the same one. */
public final class FlinkToHbase {
    /** As the connector's tables have it by default. With 0 for the second a checkpoint would not wait for what is buffered. */
    static final long FLUSH_BYTES = 2 << 20;

    static final long FLUSH_ROWS = 1000;

    /** A row waits no longer for others: who wants rows soon chooses the least. */
    static final long FLUSH_MS = Long.getLong(FlinkCopy.SETTING + "sink.flush-ms", 1);

    private FlinkToHbase() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = Arguments.of(words);
        StreamExecutionEnvironment job = FlinkCopy.environment(arguments);
        job.fromSource(FlinkCopy.source(arguments), WatermarkStrategy.noWatermarks(), "source")
                .addSink(
                        new HBaseSinkFunction<>(
                                arguments.to(),
                                Rows.server(arguments.database()),
                                new AsRow(),
                                FLUSH_BYTES,
                                FLUSH_ROWS,
                                FLUSH_MS));
        job.execute(arguments.name());
    }

    private static final class AsRow implements HBaseMutationConverter<byte[]> {
        private static final long serialVersionUID = 1;

        @Override
        public void open() {}

        @Override
        public Mutation convertToMutation(byte[] value) {
            return Rows.of(value);
        }
    }
}
