package tidelock.peers;

import com.mysql.cj.jdbc.MysqlXADataSource;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import javax.sql.XADataSource;
import org.apache.flink.connector.jdbc.JdbcExactlyOnceOptions;
import org.apache.flink.connector.jdbc.JdbcExecutionOptions;
import org.apache.flink.connector.jdbc.core.datastream.sink.JdbcSink;
import org.postgresql.xa.PGXADataSource;

/** Copies a topic into a table with Flink's JDBC sink, exactly once (XA). */
public final class FlinkToTable {
    private FlinkToTable() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = Arguments.of(words);
        FlinkCopy.run(arguments, sink(arguments));
    }

    private static JdbcSink<byte[]> sink(Arguments arguments) {
        String url = arguments.database();
        boolean isMysql = url.startsWith("mysql:");
        // A retry within a transaction would write twice: the connector demands none. Batches as its default has them.
        JdbcExecutionOptions execution =
                JdbcExecutionOptions.builder().withMaxRetries(0).withBatchSize(5000).withBatchIntervalMs(0).build();
        // Both of MySQL and PostgreSQL allow one transaction for a connection only, so its manual wants a connection for each.
        JdbcExactlyOnceOptions exactlyOnce =
                JdbcExactlyOnceOptions.builder().withTransactionPerConnection(true).build();
        return JdbcSink.<byte[]>builder()
                .withExecutionOptions(execution)
                .withQueryStatement(
                        "INSERT INTO " + arguments.to() + " (number, due, filler) VALUES (?, ?, ?)",
                        (statement, value) -> {
                            ByteBuffer bytes = ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN);
                            statement.setLong(1, bytes.getLong());
                            statement.setLong(2, bytes.getLong());
                            statement.setString(
                                    3, new String(value, 16, value.length - 16, StandardCharsets.UTF_8));
                        })
                .buildExactlyOnce(exactlyOnce, () -> isMysql ? mysql(url) : postgres(url));
    }

    private static XADataSource postgres(String url) {
        URI place = URI.create(url);
        String[] user = place.getUserInfo().split(":");
        PGXADataSource source = new PGXADataSource();
        source.setServerNames(new String[] {place.getHost()});
        source.setPortNumbers(new int[] {place.getPort()});
        source.setDatabaseName(place.getPath().substring(1));
        source.setUser(user[0]);
        source.setPassword(user[1]);
        // Many rows in a statement: several times as fast.
        source.setReWriteBatchedInserts(true);
        return source;
    }

    private static XADataSource mysql(String url) {
        URI place = URI.create(url);
        String[] user = place.getUserInfo().split(":");
        MysqlXADataSource source = new MysqlXADataSource();
        source.setUrl(
                "jdbc:mysql://" + place.getAuthority().substring(place.getRawUserInfo().length() + 1) + place.getPath()
                        + "?rewriteBatchedStatements=true&sslMode=DISABLED&allowPublicKeyRetrieval=true");
        source.setUser(user[0]);
        source.setPassword(user[1]);
        try {
            // Else a commit is sent on another connection, which MySQL refuses.
            source.setPinGlobalTxToPhysicalConnection(true);
        } catch (java.sql.SQLException error) {
            throw new IllegalStateException(error);
        }
        return source;
    }
}
