package tidelock;

import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.thrift.ThriftServer;
import org.apache.hadoop.util.ToolRunner;

/** A Thrift 1 gateway. */
public final class Gateway {
    private Gateway() {}

    public static void main(String[] args) throws Exception {
        Configuration conf = Settings.read();
        System.exit(ToolRunner.run(conf, new ThriftServer(conf), new String[] {"start"}));
    }
}
