import java.net.URI;
import java.nio.charset.StandardCharsets;

import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * An application of KCL that prints what it processes, a line for each record:
 *
 *   began SHARD CHECKPOINT/SUB
 *   record SHARD NUMBER/SUB DATA
 *   checkpoint SHARD NUMBER/SUB
 *   ended SHARD
 *
 * A record whose data begins with "stop" is the last one that it processes of its shard, also in the middle of an aggregate.
 *
 * Usage: java -cp 'libs/*' Kcl.java KINESIS DYNAMODB APPLICATION STREAM
 */
public final class Kcl {
    public static void main(String[] arguments) {
        String application = arguments[2];
        String stream = arguments[3];
        var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
        Region region = Region.EU_CENTRAL_1;
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
                .credentialsProvider(credentials)
                .region(region)
                .endpointOverride(URI.create(arguments[0]))
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(200))
                .build();
        DynamoDbAsyncClient dynamodb = DynamoDbAsyncClient.builder()
                .credentialsProvider(credentials)
                .region(region)
                .endpointOverride(URI.create(arguments[1]))
                .build();
        // Nobody listens there, and nothing is sent: the metrics are switched off.
        CloudWatchAsyncClient cloudwatch = CloudWatchAsyncClient.builder()
                .credentialsProvider(credentials)
                .region(region)
                .endpointOverride(URI.create("http://127.0.0.1:9"))
                .build();

        // What has no lease would begin with what comes: a record of before it would be missed, and the test would see that.
        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.LATEST);
        var configs = new ConfigsBuilder(
                new SingleStreamTracker(stream, start), application, kinesis, dynamodb, cloudwatch, "worker-1", Processor::new);
        // Everything that waits waits a second, and not ten.
        var coordinator = configs.coordinatorConfig().parentShardPollIntervalMillis(1000);
        var leases = configs.leaseManagementConfig()
                .failoverTimeMillis(3000)
                .shardSyncIntervalMillis(3000)
                .leasesRecoveryAuditorExecutionFrequencyMillis(5000)
                .leasesRecoveryAuditorInconsistencyConfidenceThreshold(1);
        leases.workerUtilizationAwareAssignmentConfig().disableWorkerMetrics(true);
        var retrieval = configs.retrievalConfig();
        retrieval.retrievalSpecificConfig(new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(250));
        var metrics = configs.metricsConfig().metricsLevel(MetricsLevel.NONE).metricsFactory(new NullMetricsFactory());
        new Scheduler(configs.checkpointConfig(), coordinator, leases, configs.lifecycleConfig(), metrics,
                configs.processorConfig(), retrieval).run();
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static final class Processor implements ShardRecordProcessor {
        private String shard;
        private boolean stopped;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            var checkpoint = input.extendedSequenceNumber();
            say("began " + shard + " " + checkpoint.sequenceNumber() + "/" + checkpoint.subSequenceNumber());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            for (var record : input.records()) {
                if (stopped) {
                    return;
                }
                String data = StandardCharsets.UTF_8.decode(record.data().asReadOnlyBuffer()).toString();
                String place = record.sequenceNumber() + "/" + record.subSequenceNumber();
                say("record " + shard + " " + place + " " + data);
                stopped = data.startsWith("stop");
                try {
                    input.checkpointer().checkpoint(record.sequenceNumber(), record.subSequenceNumber());
                } catch (Exception error) {
                    throw new IllegalStateException("no checkpoint of " + place, error);
                }
                say("checkpoint " + shard + " " + place);
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            say("lost " + shard);
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            try {
                input.checkpointer().checkpoint();
            } catch (Exception error) {
                throw new IllegalStateException("no checkpoint of the end of " + shard, error);
            }
            say("ended " + shard);
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            // What was processed is in the table already.
        }
    }
}
