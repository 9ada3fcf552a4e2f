package tidelock.peers.dynamodb;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.connector.aws.config.AWSConfigConstants;
import org.apache.flink.connector.base.sink.writer.ElementConverter;
import org.apache.flink.connector.dynamodb.sink.DynamoDbSink;
import org.apache.flink.connector.dynamodb.sink.DynamoDbWriteRequest;
import org.apache.flink.connector.dynamodb.sink.DynamoDbWriteRequestType;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import tidelock.peers.Arguments;
import tidelock.peers.FlinkCopy;

/** Copies a topic into a table of DynamoDB with Flink's sink: at least once, and an item that comes again is the same one. */
public final class FlinkToDynamo {
    /** DynamoDB takes so many in a request. */
    private static final int BATCH_ITEMS = 25;

    /** As many as the others have under way. */
    private static final int REQUESTS = 64;

    /** An item waits no longer for others: who wants items soon chooses the least. The connector's own default is five seconds. */
    private static final long FLUSH_MS = Long.getLong(FlinkCopy.SETTING + "sink.flush-ms", 1);

    private FlinkToDynamo() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = Arguments.of(words);
        FlinkCopy.run(arguments, sink(arguments));
    }

    /** Credentials are in the environment. */
    private static DynamoDbSink<byte[]> sink(Arguments arguments) {
        Properties client = new Properties();
        client.setProperty(AWSConfigConstants.AWS_REGION, System.getenv("AWS_REGION"));
        client.setProperty(
                AWSConfigConstants.AWS_ENDPOINT,
                "http://" + URI.create(arguments.database()).getAuthority());
        return DynamoDbSink.<byte[]>builder()
                .setTableName(arguments.to())
                .setDynamoDbProperties(client)
                .setElementConverter(new AsItem())
                .setMaxBatchSize(BATCH_ITEMS)
                .setMaxInFlightRequests(REQUESTS)
                .setMaxTimeInBufferMS(FLUSH_MS)
                .build();
    }

    private static final class AsItem implements ElementConverter<byte[], DynamoDbWriteRequest> {
        private static final long serialVersionUID = 1;

        @Override
        public DynamoDbWriteRequest apply(byte[] value, SinkWriter.Context context) {
            ByteBuffer bytes = ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN);
            String number = Long.toUnsignedString(bytes.getLong());
            String due = Long.toUnsignedString(bytes.getLong());
            String filler = new String(value, 16, value.length - 16, StandardCharsets.UTF_8);
            return DynamoDbWriteRequest.builder()
                    .setType(DynamoDbWriteRequestType.PUT)
                    .setItem(
                            Map.of(
                                    "part", AttributeValue.fromS("all"),
                                    "number", AttributeValue.fromN(number),
                                    "due", AttributeValue.fromN(due),
                                    "filler", AttributeValue.fromS(filler)))
                    .build();
        }
    }
}
