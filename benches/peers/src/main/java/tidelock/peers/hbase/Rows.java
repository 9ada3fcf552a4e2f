package tidelock.peers.hbase;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.client.Put;

/** A record of the load as a row: its number as the key, and two columns. */
final class Rows {
    private static final byte[] FAMILY = {'f'};
    private static final byte[] DUE = {'d', 'u', 'e'};
    private static final byte[] FILLER = {'f', 'i', 'l', 'l', 'e', 'r'};

    private Rows() {}

    /** The server of hbase://GATEWAY?zookeeper=HOST:PORT. The gateway is for those who have no client of their own. */
    static Configuration server(String url) {
        String zookeeper = URI.create(url).getQuery().substring("zookeeper=".length());
        int colon = zookeeper.lastIndexOf(':');
        Configuration server = HBaseConfiguration.create();
        server.set("hbase.zookeeper.quorum", zookeeper.substring(0, colon));
        server.set("hbase.zookeeper.property.clientPort", zookeeper.substring(colon + 1));
        return server;
    }

    static Put of(byte[] value) {
        ByteBuffer bytes = ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN);
        byte[] key = ByteBuffer.allocate(8).putLong(bytes.getLong()).array();
        byte[] due = new byte[8];
        bytes.get(due);
        byte[] filler = new byte[bytes.remaining()];
        bytes.get(filler);
        return new Put(key).addColumn(FAMILY, DUE, due).addColumn(FAMILY, FILLER, filler);
    }
}
