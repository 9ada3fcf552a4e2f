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
import org.apache.zookeeper.ZooKeeper;

/**
 * All of HBase but its gateways in one process: ZooKeeper, a master, a region server, and the operator. The operator listens when the
 * others serve.
 */
public final class Server {
    private static final String MASTER = "/hbase/master";
    private static final String REGION_SERVERS = "/hbase/rs";
    private static final int SESSION_MILLIS = 30_000;
    private static final int ANY_VERSION = -1;

    private Server() {}

    public static void main(String[] args) throws Exception {
        Configuration conf = Settings.read();
        DefaultMetricsSystem.setMiniClusterMode(true);
        forgetTheDead(startZooKeeper(conf));
        LocalHBaseCluster cluster =
                new LocalHBaseCluster(conf, 1, 1, HMaster.class, HRegionServer.class);
        cluster.startup();
        Operator.listen(conf, cluster);
        // Half a server is of no use to a test.
        cluster.getMasters().get(0).join();
        System.err.println("the master ended");
        System.exit(1);
    }

    private static int startZooKeeper(Configuration conf) throws Exception {
        int port = conf.getInt(HConstants.ZOOKEEPER_CLIENT_PORT, 0);
        MiniZooKeeperCluster zooKeeper = new MiniZooKeeperCluster(conf);
        zooKeeper.setDefaultClientPort(port);
        zooKeeper.setTickTime(conf.getInt(HConstants.ZOOKEEPER_TICK_TIME, 0));
        int taken = zooKeeper.startup(new File(conf.get(HConstants.ZOOKEEPER_DATA_DIR)));
        if (taken != port) {
            throw new IOException("port " + port + " is taken; ZooKeeper would be at " + taken);
        }
        return port;
    }

    /**
     * What a killed server left as signs of its life. They would be waited for until its sessions end, and those are long. All else that
     * ZooKeeper has stays: it would refuse clients that know more than it does.
     */
    private static void forgetTheDead(int port) throws Exception {
        ZooKeeper zooKeeper = new ZooKeeper("127.0.0.1:" + port, SESSION_MILLIS, event -> {});
        try {
            if (zooKeeper.exists(MASTER, false) != null) {
                zooKeeper.delete(MASTER, ANY_VERSION);
            }
            if (zooKeeper.exists(REGION_SERVERS, false) != null) {
                for (String name : zooKeeper.getChildren(REGION_SERVERS, false)) {
                    zooKeeper.delete(REGION_SERVERS + "/" + name, ANY_VERSION);
                }
            }
        } finally {
            zooKeeper.close();
        }
    }
}
