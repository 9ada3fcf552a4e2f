package tidelock.peers.hbase;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.hbase.sink.HBaseMutationConverter;
import org.apache.flink.connector.hbase.sink.HBaseSinkFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.hadoop.hbase.client.Mutation;
import org.apache.hadoop.hbase.client.Put;
import tidelock.peers.Arguments;
import tidelock.peers.FlinkCopy;

/**
 * Events of a topic, enriched from a table of MySQL, summed by key and hour, and each written as a row of HBase with the sum that
 * it made. The state is a value of RocksDB, and not a window that fires for each event: that would keep a timer for each key as well.
 */
public final class FlinkPipeline {
    private static final byte[] FAMILY = {'f'};
    private static final byte[] DUE = bytes("due");
    private static final byte[] FILLER = bytes("filler");
    private static final byte[] ROUTE = bytes("route");
    private static final byte[] SUM = bytes("sum");

    private static final long HOUR = 3_600_000_000_000L;

    /** The numbers of the load go over the keys in a mixed order, each once in a round. */
    private static final long STEP = 2_654_435_761L;

    private static final long ROUTES = 1000;

    private FlinkPipeline() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = Arguments.of(words);
        long keys = arguments.keys();
        Configuration settings = FlinkCopy.rocks(arguments);
        settings.setString("metrics.reporter.account.factory.class", CheckpointAccount.Factory.class.getName());
        settings.setString("metrics.reporter.account.interval", "10 ms");
        StreamExecutionEnvironment job = FlinkCopy.environment(arguments, settings);
        DataStream<Tuple2<byte[], String>> enriched =
                job.fromSource(FlinkCopy.source(arguments), WatermarkStrategy.noWatermarks(), "source")
                        .map(new Enrich(arguments.lookup()));
        DataStream<Tuple3<byte[], String, Long>> summed =
                keys == 0
                        ? enriched.map(event -> Tuple3.of(event.f0, event.f1, 0L))
                                .returns(TypeInformation.of(new TypeHint<Tuple3<byte[], String, Long>>() {}))
                        : enriched.keyBy(event -> key(number(event.f0), keys), Types.LONG).process(new Add());
        summed.addSink(
                new HBaseSinkFunction<>(
                        arguments.to(),
                        Rows.server(arguments.database()),
                        new AsRow(),
                        FlinkToHbase.FLUSH_BYTES,
                        FlinkToHbase.FLUSH_ROWS,
                        FlinkToHbase.FLUSH_MS));
        job.execute(arguments.name());
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static long number(byte[] event) {
        return ByteBuffer.wrap(event).order(ByteOrder.LITTLE_ENDIAN).getLong();
    }

    private static long due(byte[] event) {
        return ByteBuffer.wrap(event).order(ByteOrder.LITTLE_ENDIAN).getLong(8);
    }

    /** An event whose number is negative comes before the load and only gives its key a state. */
    private static long key(long number, long keys) {
        return number < 0 ? number & Long.MAX_VALUE : Long.remainderUnsigned(number * STEP, keys);
    }

    /** Asks the database for what is not known since a minute, as the lookup that this is compared with does. */
    private static final class Enrich extends RichMapFunction<byte[], Tuple2<byte[], String>> {
        private static final long serialVersionUID = 1;
        private static final long KEPT_NANOS = 60_000_000_000L;

        private final String url;
        private transient Connection database;
        private transient PreparedStatement query;
        private transient Map<Long, Tuple2<String, Long>> known;

        Enrich(String url) {
            this.url = url;
        }

        @Override
        public void open(OpenContext context) throws Exception {
            URI place = URI.create(url);
            String[] user = place.getUserInfo().split(":");
            String host = place.getAuthority().substring(place.getRawUserInfo().length() + 1);
            String options = "?sslMode=DISABLED&allowPublicKeyRetrieval=true";
            database =
                    DriverManager.getConnection("jdbc:mysql://" + host + place.getPath() + options, user[0], user[1]);
            query = database.prepareStatement("SELECT name FROM routes WHERE id = ?");
            known = new HashMap<>();
        }

        @Override
        public Tuple2<byte[], String> map(byte[] event) throws Exception {
            long id = Long.remainderUnsigned(number(event), ROUTES);
            Tuple2<String, Long> name = known.get(id);
            if (name == null || System.nanoTime() - name.f1 > KEPT_NANOS) {
                name = Tuple2.of(ask(id), System.nanoTime());
                known.put(id, name);
            }
            return Tuple2.of(event, name.f0);
        }

        private String ask(long id) throws Exception {
            query.setLong(1, id);
            try (ResultSet rows = query.executeQuery()) {
                return rows.next() ? rows.getString(1) : "";
            }
        }

        @Override
        public void close() throws Exception {
            if (database != null) {
                database.close();
            }
        }
    }

    /** Adds an event to the hour, the count and the bytes of its key. */
    private static final class Add
            extends KeyedProcessFunction<Long, Tuple2<byte[], String>, Tuple3<byte[], String, Long>> {
        private static final long serialVersionUID = 1;

        private transient ValueState<Tuple3<Long, Long, Long>> sums;

        @Override
        public void open(OpenContext context) {
            TypeHint<Tuple3<Long, Long, Long>> hint = new TypeHint<>() {};
            sums = getRuntimeContext().getState(new ValueStateDescriptor<>("sum", TypeInformation.of(hint)));
        }

        @Override
        public void processElement(
                Tuple2<byte[], String> event, Context context, Collector<Tuple3<byte[], String, Long>> out)
                throws Exception {
            long hour = due(event.f0) / HOUR;
            Tuple3<Long, Long, Long> sum = sums.value();
            if (sum == null || sum.f0 != hour) {
                sum = Tuple3.of(hour, 0L, 0L);
            }
            sum.f1 += 1;
            sum.f2 += event.f0.length - 16;
            sums.update(sum);
            if (number(event.f0) >= 0) {
                out.collect(Tuple3.of(event.f0, event.f1, sum.f2));
            }
        }
    }

    private static final class AsRow implements HBaseMutationConverter<Tuple3<byte[], String, Long>> {
        private static final long serialVersionUID = 1;

        @Override
        public void open() {}

        @Override
        public Mutation convertToMutation(Tuple3<byte[], String, Long> row) {
            byte[] event = row.f0;
            byte[] due = java.util.Arrays.copyOfRange(event, 8, 16);
            byte[] filler = java.util.Arrays.copyOfRange(event, 16, event.length);
            byte[] sum = ByteBuffer.allocate(8).putLong(row.f2).array();
            return new Put(ByteBuffer.allocate(8).putLong(number(event)).array())
                    .addColumn(FAMILY, DUE, due)
                    .addColumn(FAMILY, FILLER, filler)
                    .addColumn(FAMILY, ROUTE, bytes(row.f1))
                    .addColumn(FAMILY, SUM, sum);
        }
    }
}
