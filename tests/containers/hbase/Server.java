package tidelock;

import java.io.File;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HConstants;
import org.apache.hadoop.hbase.LocalHBaseCluster;
import org.apache.hadoop.hbase.master.HMaster;
import org.apache.hadoop.hbase.regionserver.HRegionServer;
import org.apache.hadoop.hbase.zookeeper.MiniZooKeeperCluster;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;

/**
 * All of HBase but its gateways in one process: ZooKeeper, a master, a region server, and the operator. The operator listens when the
 * others serve.
 */
public final class Server {
    private Server() {}

    public static void main(String[] args) throws Exception {
        Configuration conf = Settings.read();
        DefaultMetricsSystem.setMiniClusterMode(true);
        startZooKeeper(conf);
        LocalHBaseCluster cluster =
                new LocalHBaseCluster(conf, 1, 1, HMaster.class, HRegionServer.class);
        cluster.startup();
        Operator.listen(conf, cluster);
        // Half a server is of no use to a test.
        cluster.getMasters().get(0).join();
        System.err.println("the master ended");
        System.exit(1);
    }

    private static void startZooKeeper(Configuration conf) throws Exception {
        int port = conf.getInt(HConstants.ZOOKEEPER_CLIENT_PORT, 0);
        MiniZooKeeperCluster zooKeeper = new MiniZooKeeperCluster(conf);
        zooKeeper.setDefaultClientPort(port);
        zooKeeper.setTickTime(conf.getInt(HConstants.ZOOKEEPER_TICK_TIME, 0));
        int taken = zooKeeper.startup(new File(conf.get(HConstants.ZOOKEEPER_DATA_DIR)));
        if (taken != port) {
            throw new IOException("port " + port + " is taken; ZooKeeper would be at " + taken);
        }
    }
}
